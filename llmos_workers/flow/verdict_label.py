"""How verdicts come out: what a model did where a judge had spoken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmos_workers.contracts.decision import MatchCandidate, ModeDecision
from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.flow.run import Run
from llmos_workers.kernel.lease import Lease
from llmos_workers.learning.answers import answers_alike
from llmos_workers.learning.followable import changed_slots
from llmos_workers.learning.judge import YES
from llmos_workers.learning.matching.slots import fill
from llmos_workers.learning.signature import goal_signature
from llmos_workers.learning.trace_store import same_calls

if TYPE_CHECKING:
    from llmos_workers.runtime import Runtime


def label(run: Run, done: ExecutionTrace) -> None:
    """Tell the judge's record what a model did where the judge had spoken: the same calls (or
    the very same files) as the judged trace, or others.
    """
    judged = run.decision.judged
    if judged is None or judged.trusted:
        return
    known = run.runtime.traces.get(run.project, judged.trace_id)
    if known is None:
        return
    candidate = judged_candidate(run.decision)
    slots = candidate.slots if candidate else {}
    steps = tuple(fill(known.steps, known.slots, slots))
    same = same_calls(known.model_copy(update={"steps": steps}), done)
    varied = bool(changed_slots(known, slots))
    if same and not varied and not answers_alike(known, done):
        return  # the same reading, told otherwise: it may be taste, or another question
    same = same or bool(not varied and known.outputs and known.outputs == done.outputs)
    signature, lease = goal_signature(run.record.text), run.guards.keeper.lease
    run.runtime.verdicts.label(known, signature, right=same, lease=lease)
    if same and varied and judged.answer == YES:
        keep_wording(run.runtime, run.record, run.decision, known, lease=lease)


def keep_wording(
    runtime: Runtime,
    record: GoalRecord,
    decision: ModeDecision,
    trace: ExecutionTrace,
    *,
    lease: Lease | None = None,
) -> None:
    """Make a wording that is vouched for an alias: as it stands, or, where its values are its
    own, with the recorded ones put back. So it is known for all values from now on.
    """
    candidate = judged_candidate(decision, trace.trace_id)
    text = candidate.wording if candidate else ""
    if candidate is not None and not text and changed_slots(trace, candidate.slots):
        return
    runtime.traces.add_alias(record.project, trace.trace_id, text or record.text, lease=lease)


def judged_candidate(decision: ModeDecision, trace_id: str = "") -> MatchCandidate | None:
    """The candidate that the judge was asked about."""
    wanted = trace_id or (decision.judged.trace_id if decision.judged else "")
    return next((c for c in decision.match.candidates if c.trace_id == wanted), None)
