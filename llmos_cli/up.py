"""``llmos up``: the embedded stack in the foreground, and a screen that says what runs where."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.base import format_usd
from llmos_workers.contracts.errors import ConfigError, InfrastructureError, WorkspaceUnwritable
from llmos_workers.embedded import discovery
from llmos_workers.kernel.redis import safe_url

if TYPE_CHECKING:
    from llmos_workers.embedded.local import LocalSystem

REHEARSAL = "REHEARSAL MODEL: scripted answers from data files, NOT an LLM"
STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def run(config: LLMOSConfig, roles: dict[str, int | None]) -> int:
    """Run the system until Ctrl-C or TERM. Raises InfrastructureError, ConfigError."""
    from llmos_workers.embedded.local import LocalSystem

    _refuse_second(config)
    state = _state_folder(config)
    print(f"starting the embedded stack on {config.workspace.absolute()} …", flush=True)
    with _stoppable():
        try:
            with LocalSystem(
                config, roles=roles, rehearsal_log=state / "rehearsal.jsonl"
            ) as system:
                print("\n".join(screen(system)), flush=True)
                while not system.stack.wait(3_600):
                    pass
        except KeyboardInterrupt:
            print("\nstopped: server and workers are down; goals and traces are kept.")
    return 0


def _refuse_second(config: LLMOSConfig) -> None:
    if config.redis.url:
        raise ConfigError(
            f"redis.url names a server already ({safe_url(config.redis.url)}); up brings its own.",
            fix="Start workers for that server with llmos worker ROLE, or unset redis.url.",
        )
    if running := discovery.read(config.workspace):
        raise InfrastructureError(
            f"the embedded stack of {config.workspace} is up already (process {running.pid}).",
            fix="Use it as it is, or stop it with Ctrl-C where it runs.",
        )


def _state_folder(config: LLMOSConfig) -> Path:
    """The workspace's folder for the stack's files. Raises WorkspaceUnwritable."""
    folder = config.workspace / "state"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise WorkspaceUnwritable(
            f"the workspace {config.workspace} cannot be written: {error.strerror}.",
            fix="Choose another with --workspace.",
        ) from error
    return folder


def model_of(system: LocalSystem) -> str:
    """What answers the goals of this system."""
    sdk = system.config.sdk
    if system.rehearsal is not None:
        return REHEARSAL
    return f"{sdk.model} at {sdk.base_url or 'Anthropic'}"


def screen(system: LocalSystem) -> list[str]:
    """What runs where, and what to do next."""
    stack, config, model = system.stack, system.config, model_of(system)
    lines = [
        "llmos is up.",
        f"  workspace  {stack.workspace}",
        f"  redis      {safe_url(stack.redis_url)} (process {stack.server_pid}, private)",
    ]
    lines += [f"  worker     {name} (process {pid})" for name, pid in stack.workers.items()]
    lines += [
        f"  logs       {stack.log_folder}",
        f"  budget     {format_usd(config.kernel.budget_micro)} in all",
        f"  model      {model}",
    ]
    if model == REHEARSAL:
        lines += [
            "",
            "  !! No ANTHROPIC_API_KEY and no base_url are set, so goals are answered by the",
            "  !! rehearsal model: it is scripted, it knows a few job families only, and the",
            "  !! costs it reports are what they would be, not money you pay.",
        ]
    where = "" if config.workspace.name == "workspace" else f" --workspace {stack.workspace}"
    return [
        *lines,
        "",
        "In another terminal, from this folder:",
        f'  llmos{where} submit "Create a Python calculator"',
        f"  llmos{where} doctor",
        "Ctrl-C stops all of it.",
    ]


@contextmanager
def _stoppable() -> Iterator[None]:
    """TERM and HUP end the stack as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        sys.stdout.flush()
        for number, handler in before.items():
            signal.signal(number, handler)
