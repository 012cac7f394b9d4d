"""Asking a person: the gate's question becomes a request, and the goal waits for the answer."""

from __future__ import annotations

from llmos_workers.contracts.approvals import Approval, ApprovalState
from llmos_workers.contracts.errors import ApprovalNeeded, ToolDenied
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.execution.gate import APPROVAL, Ask
from llmos_workers.execution.hooks.base import HookDecision
from llmos_workers.flow.run import Run
from llmos_workers.kernel.approvals import Approvals, call_digest


def asker(approvals: Approvals, run: Run) -> Ask:
    """What the gate of this run calls when a call needs a yes.

    It returns when a person said yes to exactly this call, which uses the yes up. It raises
    ToolDenied after a no or after silence, ApprovalNeeded when nobody has answered yet,
    LeaseLost when another run has taken over.
    """
    goal_id = run.record.goal_id

    def ask(call: ToolCall, decision: HookDecision) -> None:
        digest, fence = call_digest(call), run.guards.keeper.lease.fence
        if approvals.consume(goal_id, digest, fence=fence):
            return
        asked = approvals.request(
            goal_id,
            call,
            project=run.project,
            rule=decision.rule,
            reason=decision.reason,
            fence=fence,
        )
        if asked.state is ApprovalState.APPROVED and approvals.consume(
            goal_id, digest, fence=fence
        ):
            return
        if asked.state in (ApprovalState.PENDING, ApprovalState.APPROVED):
            raise ApprovalNeeded(
                f"{call.name} needs a person's yes ({decision.reason}).",
                approval_id=asked.approval_id,
                fix=f"llmos approvals shows it; llmos approve {asked.approval_id} allows it.",
            )
        raise ToolDenied(_no(asked), rule=APPROVAL)

    return ask


def _no(asked: Approval) -> str:
    if asked.state is ApprovalState.DENIED:
        why = f": {asked.why}" if asked.why else ""
        return f"{asked.decided_by or 'a person'} said no to this call{why}"
    return "nobody allowed this call in time"
