"""A sandbox whose area is a stage: the published files are cut off before a command runs."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from llmos_workers.execution.sandbox.base import Limits, Network, Sandbox, SandboxResult
from llmos_workers.execution.sandbox.identity import UNUSED_IDS, can_change_user
from llmos_workers.kernel.stage import Stage
from llmos_workers.kernel.stages import Stages


class StagedSandbox:
    """Runs commands in a stage's area, by way of another sandbox. For one run only."""

    def __init__(self, inner: Sandbox, stages: Stages, stage: Stage) -> None:
        self._inner, self._stages, self._stage = inner, stages, stage

    @property
    def level(self) -> int:
        """Level of the sandbox behind this one."""
        return self._inner.level

    def prepare(self, area: Path) -> None:
        """Settle who commands run as, then make all that they may write the stage's own.

        Raises SandboxUnavailable when the project is too large for it on this file system.
        """
        self._choose_user()
        self._inner.prepare(area)
        self._stages.isolate(self._stage)

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        timeout_s: float,
        limits: Limits | None = None,
        env: Mapping[str, str] | None = None,
        cancelled: Callable[[], bool] | None = None,
        network: Network | None = None,
    ) -> SandboxResult:
        """See Sandbox.run; never before the area is prepared."""
        if not self._stage.isolated:
            self.prepare(self._stage.area)
        return self._inner.run(
            argv,
            cwd=cwd,
            timeout_s=timeout_s,
            limits=limits,
            env=env,
            cancelled=cancelled,
            network=network,
        )

    def _choose_user(self) -> None:
        """As root, give a new area to an unused user id that owns nothing published.

        Files too large to copy are kept from commands by their owner being another one.
        """
        area = self._stage.area
        if not can_change_user() or area.stat().st_uid != 0:
            return
        published = {self._stage.project.output.stat().st_uid}
        published |= {entry.uid for entry in self._stage.base.values()}
        published |= {entry.gid for entry in self._stage.base.values()}
        free = [number for number in UNUSED_IDS if number not in published]
        chosen = free[zlib.crc32(os.fsencode(area)) % len(free)]
        os.chown(area, chosen, chosen)
