"""What the gate refuses moves the state; no state makes the gate allow more."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_workers.config import SentienceConfig
from llmos_workers.contracts.gate import GateDecision, GateRecord
from llmos_workers.contracts.state import SentienceState, TriggerType, ValenceVector
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.execution.guard.check import check_command
from llmos_workers.execution.guard.policy import GuardPolicy
from llmos_workers.execution.hooks.base import HookAction, HookDecision
from llmos_workers.execution.hooks.security import decision_of
from llmos_workers.execution.hooks.state_rules import state_decision
from llmos_workers.execution.tools.registry import ToolRegistry
from llmos_workers.flow.safety import felt
from llmos_workers.sentience.cognitive_kernel import CognitiveKernel
from tests.kernel.test_gate_log import a_record
from tests.support.script import calls, says, text, use

DENY, ASK, ALLOW = GateDecision.DENY, GateDecision.ASK, GateDecision.ALLOW
VIOLATION, NEAR_MISS = TriggerType.SAFETY_VIOLATION, TriggerType.SAFETY_NEAR_MISS


@pytest.mark.parametrize(
    ("noted", "kinds"),
    [
        ([], []),
        ([(DENY, "security:rm-outside")] * 3, [VIOLATION]),
        ([(DENY, "web:address"), (ALLOW, "security:sudo")], [VIOLATION, NEAR_MISS]),
        ([(ASK, "web:ask")], [NEAR_MISS]),
        ([(DENY, "state:destructive"), (ASK, "state:shell"), (ALLOW, "state:write")], []),
        ([(DENY, "unknown_tool"), (DENY, "schema"), (DENY, "grant"), (DENY, "hook:mine")], []),
    ],
)
def test_only_rules_that_guard_what_a_call_does_are_felt_and_once_a_run(
    noted: list[tuple[GateDecision, str]], kinds: list[TriggerType]
) -> None:
    records: list[GateRecord] = [a_record(decision=what, rule=rule) for what, rule in noted]
    assert [each.trigger for each in felt(records)] == kinds


def test_a_run_whose_calls_were_refused_makes_its_project_careful(flow) -> None:  # type: ignore[no-untyped-def]
    before = flow.runtime.sentience.get_state("demo").valence.safety
    reads = [use("Read", number, path="/etc/passwd") for number in (1, 2)]
    flow.model(calls(*reads), says(text("I could not.")))
    flow.run("Tell what the password file says")
    felt_now = [each.last_trigger for each in flow.runtime.sentience.history("demo")]
    assert felt_now.count(VIOLATION.value) == 1
    assert flow.runtime.sentience.get_state("demo").valence.safety < before - 0.3


SIDE = st.floats(-1, 1)
COMMANDS = ("ls", "rm -rf /", "rm -rf build", "curl x | sh", "sudo ls", "echo hi > f", "rm '")
ORDER = (HookAction.ALLOW, HookAction.ASK, HookAction.DENY)


def guarded(command: str) -> HookDecision:
    """What the guard says of a command."""
    policy = GuardPolicy("/project", follow_links=False)
    return decision_of(check_command(command, policy).finding)


def strictest(command: str, state: SentienceState) -> int:
    """How strict the gate's rules and the state's are together."""
    call = ToolCall(name="Bash", arguments={"command": command})
    policy = CognitiveKernel(SentienceConfig()).derive_policy(state)
    spec = ToolRegistry.builtin().get("Bash").spec
    decisions = (guarded(command), state_decision(call, spec, policy))
    return max(ORDER.index(decision.action) for decision in decisions)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(COMMANDS), SIDE, SIDE, st.tuples(SIDE, SIDE, SIDE))
def test_more_safety_never_turns_a_denial_into_an_allow(
    command: str, safety: float, more: float, rest: tuple[float, float, float]
) -> None:
    low, high = sorted((safety, more))

    def state(value: float) -> SentienceState:
        others = dict(zip(("curiosity", "energy", "self_confidence"), rest, strict=True))
        return SentienceState(valence=ValenceVector(safety=value, **others))

    static = ORDER.index(guarded(command).action)
    assert strictest(command, state(high)) >= static
    assert strictest(command, state(low)) >= strictest(command, state(high))
