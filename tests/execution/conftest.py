"""A project's area, its sandbox, and contexts to call tools and the gate with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmos_workers.config import SecurityConfig
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.state import CognitivePolicy
from llmos_workers.execution.gate import GateContext, ToolGate
from llmos_workers.execution.gate_record import unrecorded
from llmos_workers.execution.hooks.chain import HookChain
from llmos_workers.execution.hooks.security import SecurityHook
from llmos_workers.execution.sandbox import Sandbox, make_sandbox, probe
from llmos_workers.execution.tools.base import ToolContext
from llmos_workers.execution.tools.registry import ToolRegistry
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.workspace import Workspace
from tests.execution.agent_bench import bench, http, served, tools

__all__ = ["bench", "http", "served", "tools"]

ALL_TOOLS = frozenset({"Read", "Write", "Edit", "Glob", "Grep", "Bash"})


@pytest.fixture
def area(tmp_path: Path) -> Path:
    return Workspace(tmp_path / "workspace").ensure().project("demo").output


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    if probe().level < 1:
        pytest.skip(f"this host cannot confine commands: {probe().reasons}")
    return make_sandbox(SecurityConfig())


@pytest.fixture
def tool_context(area: Path, sandbox: Sandbox) -> ToolContext:
    return ToolContext(project="demo", area=area, goal_id="g1", sandbox=sandbox)


@pytest.fixture
def registry() -> ToolRegistry:
    return ToolRegistry.builtin()


@pytest.fixture
def make_gate(registry: ToolRegistry) -> Callable[..., ToolGate]:
    def make(*hooks: Any) -> ToolGate:
        chain = HookChain.of([SecurityHook(), *hooks])
        return ToolGate(registry, chain, SystemClock(), record=unrecorded)

    return make


@pytest.fixture
def gate_context(tool_context: ToolContext) -> Callable[..., GateContext]:
    def make(**changes: Any) -> GateContext:
        context = GateContext(
            grants=ALL_TOOLS,
            mode=Mode.LEARNER,
            project="demo",
            goal_id="g1",
            agent="system-agent",
            policy=CognitivePolicy(),
            tool=tool_context,
        )
        return replace(context, **changes)

    return make
