"""How verdicts come out: what a model did where a judge had spoken."""

from __future__ import annotations

from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.flow.run import Run
from llmos_workers.learning.answers import answers_alike
from llmos_workers.learning.signature import goal_signature
from llmos_workers.learning.trace_store import same_calls


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
    same = same_calls(known, done)
    if same and not answers_alike(known, done):
        return  # the same reading, told otherwise: it may be taste, or another question
    same = same or bool(known.outputs and known.outputs == done.outputs)
    signature, lease = goal_signature(run.record.text), run.guards.keeper.lease
    run.runtime.verdicts.label(known, signature, right=same, lease=lease)
