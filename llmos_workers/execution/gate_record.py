"""What the gate writes down about a call before it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from llmos_workers.contracts.errors import BrokerUnavailable, InfrastructureError, ToolDenied
from llmos_workers.contracts.gate import GateDecision, GateRecord
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.kernel.shorten import short_text

if TYPE_CHECKING:
    from llmos_workers.execution.gate import GateContext

logger = logging.getLogger(__name__)

Record = Callable[[GateRecord], object]
"""Writes a decision down, or raises: BrokerUnavailable while Redis is away, InfrastructureError."""

UNRECORDED = "unrecorded"
"""``denied_by`` of calls that would have run, had it been possible to write that down."""

MAX_NAME = 100
MAX_REASON = 300
"""Characters kept: names and reasons may be a model's words."""


def unrecorded(_record: GateRecord) -> None:
    """For calls outside of any system: fixtures that are replayed without servers."""


def decided(
    decision: GateDecision,
    call: ToolCall,
    ctx: GateContext,
    *,
    ran: ToolCall | None = None,
    rule: str = "",
    reason: str = "",
) -> GateRecord:
    """A record without secrets and without bulk. ``ran``: the call as hooks made it."""
    changed = ran is not None and ran.arguments != call.arguments
    return GateRecord(
        decision=decision,
        rule=short_text(rule, MAX_NAME),
        reason=short_text(reason, MAX_REASON),
        tool=short_text(call.name, MAX_NAME),
        digest=call.digest(),
        ran=ran.digest() if ran is not None and changed else "",
        goal_id=ctx.goal_id,
        project=ctx.project,
        agent=ctx.agent,
        mode=ctx.mode.value,
        source=ctx.source,
    )


def record_allowed(
    record: Record, call: ToolCall, ran: ToolCall, ctx: GateContext, *, rule: str, reason: str
) -> None:
    """Write that a call may run.

    Raises ToolDenied when that cannot be written: what is not on record does not run. While
    Redis is away, BrokerUnavailable goes to whoever waits for it to come back.
    """
    decision = GateDecision.ALLOW if ran.arguments == call.arguments else GateDecision.MODIFY
    made = decided(decision, call, ctx, ran=ran, rule=rule, reason=reason)
    if made.rule:
        ctx.noted.append(made)
    try:
        record(made)
    except BrokerUnavailable:
        raise
    except InfrastructureError as error:
        raise ToolDenied(
            f"{call.name} is not run: {error.message}", rule=UNRECORDED, fix=error.fix
        ) from error


def record_refused(
    record: Record, call: ToolCall, ctx: GateContext, why: ToolDenied, *, asked: bool = False
) -> None:
    """Write that a call did not run. It stays refused when that cannot be written."""
    decision = GateDecision.ASK if asked else GateDecision.DENY
    made = decided(decision, call, ctx, rule=why.rule, reason=why.message)
    ctx.noted.append(made)
    try:
        record(made)
    except BrokerUnavailable:
        raise
    except InfrastructureError:
        logger.exception("a refused call of goal %s is on no record", ctx.goal_id)
