"""The sandbox: the boundary around every command, whatever the checks before it thought.

Own code on three kernel interfaces. The sandlock package (0.9) was tried first, with about nine
probes, not with the full list of attacks: it kept 600 MB of output in memory, forks inside the
worker, needs Landlock ABI 6 or later for its full set, ignores the group id, and brings 13 MB.
"""

from __future__ import annotations

import logging

from llmos_workers.config import SandboxDemand, SecurityConfig
from llmos_workers.execution.sandbox.base import Limits, Sandbox, SandboxReport, SandboxResult
from llmos_workers.execution.sandbox.level1 import ConfinedSandbox, probe
from llmos_workers.execution.sandbox.unconfined import RefusingSandbox, UnconfinedSandbox

__all__ = ["Limits", "Sandbox", "SandboxReport", "SandboxResult", "make_sandbox", "probe"]

logger = logging.getLogger(__name__)


def make_sandbox(security: SecurityConfig, *, report: SandboxReport | None = None) -> Sandbox:
    """The best sandbox this host has; one that refuses when there is none.

    Only with ``sandbox = "prefer"`` and ``allow_unconfined`` do commands run without one.
    """
    limits = Limits(
        memory=security.tool_memory_mb << 20,
        cpu=security.tool_cpu_secs,
        file_size=security.tool_file_mb << 20,
        disk=security.tool_disk_mb << 20,
    )
    report = report or probe()
    if report.level >= 1:
        required = security.sandbox is SandboxDemand.REQUIRE
        return ConfinedSandbox(limits, network_required=required)
    reasons = report.reasons or ("unknown",)
    if security.sandbox is SandboxDemand.PREFER and security.allow_unconfined:
        logger.error("commands run UNCONFINED on this host: %s", "; ".join(reasons))
        return UnconfinedSandbox(limits)
    return RefusingSandbox(reasons)
