"""What the gate asks hooks, and what it makes of their answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from llmos_workers.contracts.errors import ToolDenied
from llmos_workers.contracts.hooks import HookKind
from llmos_workers.contracts.tools import ToolCall, ToolResult, ToolSpec
from llmos_workers.execution.hooks.base import HookAction, HookDecision, HookEvent
from llmos_workers.execution.hooks.chain import Told, Verdict
from llmos_workers.kernel.redact import redact

if TYPE_CHECKING:
    from llmos_workers.execution.gate import GateContext

APPROVAL = "approval"
"""``denied_by`` of calls that a person has to confirm and did not."""


def premises_of(told: Iterable[Told]) -> tuple[str, ...]:
    """What a trace remembers of what hooks told."""
    found: set[str] = set()
    for each in told:
        found.update(each.premises if each.advice else (each.digest,))
    return tuple(sorted(found))


def unless_denied(verdict: Verdict, ctx: GateContext) -> HookDecision | None:
    """What a person is to be asked. Raises ToolDenied."""
    refusal = verdict.refusal
    if refusal is not None and refusal.action is HookAction.DENY:
        say_loudly(verdict, ctx)
        raise denial(refusal)
    return refusal


def say_loudly(verdict: Verdict, ctx: GateContext) -> None:
    """A hook that failed is for people to see to."""
    if verdict.fault and verdict.refusal is not None:
        ctx.notice(redact(f"{verdict.refusal.reason}."))


def tell(told: Iterable[Told], ctx: GateContext) -> None:
    """Give whoever talks to the model what hooks of a call want it to be told."""
    told = tuple(told)
    ctx.told_later.extend(take_note(told, ctx))
    ctx.injected.extend(each.marked() for each in told)


def take_note(told: Iterable[Told], ctx: GateContext) -> tuple[str, ...]:
    """Mark what taints; gives the digests of what traces depend on."""
    told = tuple(told)
    for each in told:
        if each.tainted:
            ctx.taint.mark(f"hook {each.source}")
    return premises_of(told)


def event_of(
    kind: HookKind,
    ctx: GateContext,
    *,
    call: ToolCall | None = None,
    spec: ToolSpec | None = None,
    result: ToolResult | None = None,
    prompt: str = "",
    turn: int = 0,
) -> HookEvent:
    """What hooks get to see."""
    return HookEvent(
        kind=kind,
        project=ctx.project,
        goal_id=ctx.goal_id,
        agent=ctx.agent,
        mode=ctx.mode,
        source=ctx.source,
        policy=ctx.policy,
        call=call,
        spec=spec,
        result=result,
        prompt=prompt,
        turn=turn,
        area=str(ctx.tool.area),
        bounds=tuple(each[call.name] for each in ctx.bounds if call and call.name in each),
    )


def denial(decision: HookDecision) -> ToolDenied:
    """A refusal as an error. Where nobody can be asked, what needs a yes is denied."""
    if decision.action is HookAction.ASK:
        return ToolDenied(
            f"{decision.reason} (rule {decision.rule}); nobody can be asked here", rule=APPROVAL
        )
    return ToolDenied(f"{decision.reason} (rule {decision.rule})", rule=decision.rule)


def refused(denied: ToolDenied) -> ToolResult:
    """The result of a call that the gate refused."""
    return ToolResult(
        ok=False, error=redact(f"denied: {denied}"), error_kind="ToolDenied", denied_by=denied.rule
    )
