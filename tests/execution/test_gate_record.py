"""One record of each call, before it runs; what cannot be recorded does not run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llmos_workers.contracts.errors import (
    ApprovalNeeded,
    BrokerUnavailable,
    InfrastructureError,
    LLMOSError,
)
from llmos_workers.contracts.gate import GateDecision, GateRecord
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.execution.gate import GateContext, ToolGate
from llmos_workers.execution.hooks.base import Hook, HookAction, HookDecision, HookEvent, ask
from llmos_workers.execution.hooks.chain import HookChain
from llmos_workers.execution.hooks.security import SecurityHook
from llmos_workers.execution.tools.registry import ToolRegistry
from llmos_workers.kernel.clock import SystemClock

Ctx = Callable[..., GateContext]
WRITE = ToolCall(name="Write", arguments={"path": "f", "content": "x"})


class Says(Hook):
    """Answers the same to every call; raises what is an error."""

    def __init__(self, answer: HookDecision | Exception) -> None:
        self.answer = answer

    def pre_tool(self, event: HookEvent) -> HookDecision:
        del event
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def seen() -> list[GateRecord]:
    return []


@pytest.fixture
def gate(registry: ToolRegistry, seen: list[GateRecord]) -> Callable[..., ToolGate]:
    def make(*hooks: Hook, record: Callable[[GateRecord], object] = seen.append) -> ToolGate:
        chain = HookChain.of([SecurityHook(), *hooks])
        return ToolGate(registry, chain, SystemClock(), record=record)

    return make


def test_a_call_is_on_record_before_it_runs(
    gate: Callable[..., ToolGate], gate_context: Ctx, area: Path
) -> None:
    there: list[bool] = []
    assert gate(record=lambda _: there.append((area / "f").exists())).call(WRITE, gate_context()).ok
    assert there == [False]


def test_each_way_out_leaves_exactly_one_record(
    gate: Callable[..., ToolGate], gate_context: Ctx, seen: list[GateRecord]
) -> None:
    def waits(_call: ToolCall, _decision: HookDecision) -> None:
        raise ApprovalNeeded("a person has to say yes", approval_id="a1")

    other = HookDecision(HookAction.MODIFY, arguments={"path": "g", "content": "y"})
    sure = Says(ask("mine", "sure?"))
    gate().call(WRITE, gate_context())
    gate(Says(other)).call(WRITE, gate_context())
    gate().call(WRITE, gate_context(grants=frozenset()))
    gate().call(ToolCall(name="No\u202esuch" + "h" * 500), gate_context(source="trace"))
    gate(Says(RuntimeError("boom"))).call(WRITE, gate_context())
    gate(sure).call(WRITE, gate_context())
    gate(sure).call(WRITE, gate_context(ask=lambda _call, _decision: None))
    with pytest.raises(ApprovalNeeded):
        gate(sure).call(WRITE, gate_context(ask=waits))
    gate().call(ToolCall(name="Read", arguments={"path": "none"}), gate_context())
    assert [(each.decision.value, each.rule) for each in seen] == [
        ("allow", ""),
        ("modify", ""),
        ("deny", "grant"),
        ("deny", "unknown_tool"),
        ("deny", "hook:Says"),
        ("deny", "approval"),
        ("allow", "mine"),
        ("ask", "mine"),
        ("allow", ""),
    ]
    assert {each.digest for each in seen[:3]} == {WRITE.digest()}
    assert seen[1].ran == WRITE.model_copy(update={"arguments": other.arguments}).digest()
    assert (seen[3].source, len(seen[3].tool)) == ("trace", 100)
    assert "\u202e" not in seen[3].tool
    assert seen[0].goal_id == "g1"


def test_a_fault_in_the_gate_itself_is_on_record_as_a_denial(
    gate: Callable[..., ToolGate], gate_context: Ctx, seen: list[GateRecord]
) -> None:
    def breaks(_call: ToolCall, _decision: HookDecision) -> None:
        raise KeyError("x")

    result = gate(Says(ask("mine", "sure?"))).call(WRITE, gate_context(ask=breaks))
    assert result.denied_by == "gate"
    assert [(each.decision, each.rule) for each in seen] == [(GateDecision.DENY, "gate")]


@pytest.mark.parametrize("error", [InfrastructureError("the disk is full."), RuntimeError("odd")])
def test_what_cannot_be_recorded_does_not_run(
    gate: Callable[..., ToolGate], gate_context: Ctx, area: Path, error: Exception
) -> None:
    def fails(_record: GateRecord) -> None:
        raise error

    result = gate(record=fails).call(WRITE, gate_context())
    assert result.denied_by == ("unrecorded" if isinstance(error, LLMOSError) else "gate")
    refused = gate(record=fails).call(WRITE, gate_context(grants=frozenset()))
    assert (refused.ok, (area / "f").exists()) == (False, False)


def test_without_redis_the_goal_waits_for_it(
    gate: Callable[..., ToolGate], gate_context: Ctx, area: Path
) -> None:
    """A model is not told that a call was denied because a server was restarted."""

    def away(_record: GateRecord) -> None:
        raise BrokerUnavailable("Redis does not answer.")

    for grants in (frozenset({"Write"}), frozenset[str]()):
        with pytest.raises(BrokerUnavailable):
            gate(record=away).call(WRITE, gate_context(grants=grants))
    assert not (area / "f").exists()
