"""What refusals and early ends do to a project's internal state."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from llmos_workers.contracts.errors import (
    Cancelled,
    DeadlineExceeded,
    LeaseLost,
    LLMOSError,
    Refused,
    UsageError,
)
from llmos_workers.contracts.gate import GateDecision, GateRecord
from llmos_workers.contracts.state import TriggerType
from llmos_workers.sentience.manager import Felt

if TYPE_CHECKING:
    from llmos_workers.contracts.goal import GoalRecord
    from llmos_workers.kernel.lease import Lease
    from llmos_workers.runtime import Runtime

log = logging.getLogger(__name__)

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


def felt_end(error: LLMOSError) -> Felt | None:
    """What a run feels that ends by an error; None: nothing. A request that was wrong, a rule or a
    budget that forbade it say nothing of how well the system works.
    """
    if isinstance(error, Refused | UsageError):
        return None
    if isinstance(error, Cancelled):
        return Felt(TriggerType.EXTERNAL_INTERRUPTION, "cancelled")
    if isinstance(error, DeadlineExceeded):
        return Felt(TriggerType.TIMEOUT, "past its deadline")
    return Felt(TriggerType.TASK_FAILURE, type(error).__name__)


def feel_end(runtime: Runtime, record: GoalRecord, error: LLMOSError, lease: Lease) -> None:
    """Move the project's state for a run that an error ended, under its lease. A run that lost its
    lease moves nothing, and neither stands in the way of the goal's end.
    """
    event = felt_end(error)
    if event is None:
        return
    try:
        runtime.sentience.trigger_all([event], project=record.project, lease=lease)
    except LeaseLost:
        log.info("goal %s: its end moved no state, the lease is gone", record.goal_id)
