"""Publish: what a run did in its stage becomes the project's, in one commit under the fence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llmos_workers.contracts.commits import CommitFacts, Writer
from llmos_workers.contracts.errors import PublishConflict
from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.contracts.trace import TraceStep
from llmos_workers.execution.taint import RunTaint
from llmos_workers.flow.run import Run
from llmos_workers.learning.dependence import inputs_of


def publish(
    run: Run, steps: Sequence[TraceStep], inputs: Iterable[FileDigest] = (), *, taint: RunTaint
) -> None:
    """Publish the run's stage, once everything in it is as it should be.

    ``inputs``: files that it depends on besides those that its steps say they read. ``taint``: what
    the run holds goes with its files.

    Raises PublishConflict when a file that the run changed or read was changed by somebody else
    meanwhile; Cancelled, LeaseLost, WorkspaceUnwritable. Nothing is published then.
    """
    decision = run.decision
    writers = {
        written.path: Writer(step=number)
        for number, step in enumerate(steps)
        for written in step.writes
    }
    facts = CommitFacts(
        mode=decision.mode,
        trace_id=decision.trace_id or "",
        trace_version=decision.trace_version,
        writers=writers,
        tainted=taint.outside,
        commands=taint.opaque,
    )
    publisher, lease = run.runtime.publisher, run.guards.keeper.lease
    known = {file.path: file for file in inputs}
    reads = tuple((known | {file.path: file for file in inputs_of(steps)}).values())
    if (member := run.record.options.member) is not None:
        run.runtime.children.note_reads(member.parent_id, reads)
        if taint.outside:
            run.runtime.children.mark_tainted(member.parent_id, taint.outside)
    try:
        publisher.publish(run.stage, lease=lease, facts=facts, reads=reads)
    except PublishConflict:
        # One that came at the same moment may have made the very same files.
        publisher.publish(run.stage, lease=lease, facts=facts, reads=reads)
