"""What the gate's refusals do to a project's internal state. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from llmos_workers.contracts.gate import GateDecision, GateRecord
from llmos_workers.contracts.state import TriggerType
from llmos_workers.sentience.manager import Felt

SAFETY_RULES = ("security:", "web:", "taint:")
"""How the rules are named that guard what a call would do. A wrong name, a missing grant or a
spent budget is no danger; a rule of the state itself must not feed the state."""


def felt(noted: Iterable[GateRecord]) -> list[Felt]:
    """One SAFETY_VIOLATION when a rule denied something, one SAFETY_NEAR_MISS when one asked.

    Once a run each, however often a model tried: the state moves for the run, and what one kind
    of trigger may move it an hour is bounded besides.
    """
    guarded = [each for each in noted if each.rule.startswith(SAFETY_RULES)]
    events = []
    for kind, denied in (
        (TriggerType.SAFETY_VIOLATION, True),
        (TriggerType.SAFETY_NEAR_MISS, False),
    ):
        rules = [each.rule for each in guarded if (each.decision is GateDecision.DENY) is denied]
        if rules:
            events.append(Felt(kind, rules[0]))
    return events
