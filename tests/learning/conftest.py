"""Traces to test with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis

from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep
from llmos_workers.kernel.workspace import Workspace
from llmos_workers.learning.signature import goal_signature
from llmos_workers.learning.traces import TraceManager


def make_trace(goal: str = "Write hello.py", **changes: Any) -> ExecutionTrace:
    """A small trace with one Write, learned from ``goal``."""
    step = TraceStep(call=ToolCall(name="Write", arguments={"path": "hello.py", "content": "1\n"}))
    fields: dict[str, Any] = {
        "trace_id": goal_signature(goal),
        "goal_signature": goal_signature(goal),
        "goal_text": goal,
        "steps": (step,),
        "answer": "Done.",
        "learn_cost_micro": 450_000,
    }
    return ExecutionTrace(**(fields | changes))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace with its folders."""
    return Workspace(tmp_path / "workspace").ensure()


@pytest.fixture
def manager(state: redis.Redis, workspace: Workspace) -> TraceManager:
    """A TraceManager over a clean server and workspace."""
    return TraceManager(state, workspace)
