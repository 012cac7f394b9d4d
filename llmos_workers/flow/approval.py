"""Asking a person: the gate's question becomes a request, and the goal waits for the answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from llmos_workers.contracts.approvals import RAISE_LIMIT, Approval, ApprovalState, LimitRaise
from llmos_workers.contracts.errors import (
    ApprovalNeeded,
    BudgetExceeded,
    CallInDoubt,
    GoalFinished,
    LLMOSError,
    NotThere,
    ToolDenied,
)
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.execution.gate import Ask
from llmos_workers.execution.gate_steps import APPROVAL
from llmos_workers.execution.hooks.base import HookDecision
from llmos_workers.execution.once import Doubt
from llmos_workers.flow.run import Run
from llmos_workers.kernel.approvals import Approvals, call_digest
from llmos_workers.kernel.economy import TokenEconomy


def asker(approvals: Approvals, run: Run) -> Ask:
    """What the gate of this run calls when a call needs a yes.

    It returns when a person said yes to exactly this call, which uses the yes up. It raises
    ToolDenied after a no or after silence, ApprovalNeeded when nobody has answered yet,
    LeaseLost when another run has taken over.
    """

    def ask(call: ToolCall, decision: HookDecision) -> None:
        ask_person(approvals, run, call, decision.rule, decision.reason)

    return ask


def doubter(approvals: Approvals, run: Run, setting: str) -> Doubt:
    """What decides about calls that may have happened already; ``setting``: execution.on_doubt.

    A yes to running one again is bound to that call and to this question: no yes to the call
    itself counts for it, and it counts for none.
    """

    def doubt(call: ToolCall) -> None:
        if setting == "retry":
            return
        if setting == "fail":
            raise CallInDoubt(
                f"{call.name} was begun by a run that was interrupted: it may have happened.",
                fix="Look at what is there before you submit the goal again; "
                'execution.on_doubt = "ask" asks you instead.',
            )
        again = call.model_copy(update={"name": f"{call.name} (again)"})
        ask_person(approvals, run, again, "in_doubt", "it may have happened already: run it again?")

    return doubt


def ask_person(approvals: Approvals, run: Run, call: ToolCall, rule: str, reason: str) -> None:
    """Return when a person allowed exactly this call, which uses the yes up. Raises as ``asker``
    says.
    """
    goal_id = run.record.goal_id
    digest, fence = call_digest(call), run.guards.keeper.lease.fence
    if approvals.consume(goal_id, digest, fence=fence):
        return
    asked = approvals.request(
        goal_id, call, project=run.project, rule=rule, reason=reason, fence=fence
    )
    if asked.state is ApprovalState.APPROVED and approvals.consume(goal_id, digest, fence=fence):
        return
    if asked.state in (ApprovalState.PENDING, ApprovalState.APPROVED):
        raise ApprovalNeeded(
            f"{call.name} needs a person's yes ({reason}).",
            approval_id=asked.approval_id,
            fix=f"llmos approvals shows it; llmos approve {asked.approval_id} allows it.",
        )
    raise ToolDenied(_no(asked), rule=APPROVAL)


def budget_asker(
    approvals: Approvals, run: Run, *, asks: bool
) -> Callable[[BudgetExceeded], LLMOSError]:
    """What the agent loop does when the money is spent in mid-run: ask a person to raise the
    limit by what is missing, and wait (ApprovalNeeded); end with the numbers where nobody is to
    be asked (``asks`` False), somebody said no, or nobody answered in time.

    A yes has raised the limit before the goal goes on, see Approvals.
    """
    goal_id = run.record.goal_id

    def breach(error: BudgetExceeded) -> LLMOSError:
        if not asks:
            return error
        asked = _refused(approvals, goal_id) or _ask_to_raise(approvals, run, error)
        if asked.state is ApprovalState.PENDING:
            raise ApprovalNeeded(
                f"{error.message} Raise {asked.raise_scope} by ${asked.raise_micro / 1e6:.6f}?",
                approval_id=asked.approval_id,
                fix=f"llmos approvals shows it; llmos approve {asked.approval_id} raises it.",
            )
        error.message = f"{error.message} It was not raised: {_no(asked)}."
        return error

    return breach


def end_funded(approvals: Approvals, economy: TokenEconomy) -> int:
    """End the open requests for money whose call fits by now: a limit was raised by hand, a
    window is over, other goals released what they held. Their goals go on; how many.
    """
    asked = [one for one in approvals.pending() if one.raise_scope and one.raise_needed_micro]
    states = economy.states([one.raise_scope for one in asked]) if asked else []
    count = 0
    for one, state in zip(asked, states, strict=True):
        left = next((s.left_micro for s in state.all_sums if s.window == one.raise_window), 0)
        if left is None or left >= one.raise_needed_micro:
            with suppress(GoalFinished, NotThere):  # it ended since the list was read
                count += approvals.funded(one.approval_id)
    return count


def _refused(approvals: Approvals, goal_id: str) -> Approval | None:
    """The no to an earlier request for money. It holds for the goal, whatever it lacks now."""
    for asked in approvals.of_goal(goal_id):
        denied = asked.state is ApprovalState.DENIED or asked.unanswered
        if asked.tool == RAISE_LIMIT and denied:
            return asked
    return None


def _ask_to_raise(approvals: Approvals, run: Run, error: BudgetExceeded) -> Approval:
    raises = LimitRaise(
        scope=error.scope,
        window=error.window,
        micro=error.needed - error.available,
        needed_micro=error.needed,
    )
    limit = f"{error.scope} for each {error.window}" if error.window else error.scope
    shown = {
        "limit of": limit,
        "raise by": _dollars(raises.micro),
        "from": _dollars(error.limit),
        "to": _dollars(error.limit + raises.micro),
        "left": _dollars(error.available),
        "the next call needs up to": _dollars(error.needed),
    }
    return approvals.request(
        run.record.goal_id,
        ToolCall(name=RAISE_LIMIT, arguments=shown),
        project=run.project,
        rule="budget",
        reason=f"the budget of {limit} is spent in mid-goal",
        raises=raises,
        fence=run.guards.keeper.lease.fence,
    )


def _dollars(micro: int) -> str:
    return f"${micro / 1e6:.6f}"


def _no(asked: Approval) -> str:
    if asked.state is ApprovalState.DENIED:
        why = f": {asked.why}" if asked.why else ""
        return f"{asked.decided_by or 'a person'} said no{why}"
    return "nobody allowed it in time"
