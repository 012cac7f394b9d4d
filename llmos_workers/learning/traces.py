"""TraceManager: a project's execution traces, as Markdown files with a fast copy in Redis.

How saving survives a crash, and how an edit is noticed, is told in trace_sync.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

import redis

from llmos_workers.contracts.decision import MatchResult
from llmos_workers.contracts.errors import DataError, InvalidOption, MalformedFile
from llmos_workers.contracts.goal import check_project_name
from llmos_workers.contracts.trace import ExecutionTrace, Standing
from llmos_workers.contracts.watch import Watch, unwatched
from llmos_workers.kernel.clock import Clock, SystemClock, iso
from llmos_workers.kernel.lease import Lease
from llmos_workers.kernel.signing import KeyRing
from llmos_workers.kernel.workspace import Workspace
from llmos_workers.learning.posterior import evidence_field
from llmos_workers.learning.signature import goal_signature
from llmos_workers.learning.trace_counters import CounterFiles
from llmos_workers.learning.trace_folder import TRACE_ID, TraceFolder
from llmos_workers.learning.trace_history import TraceHistory
from llmos_workers.learning.trace_seal import judged, objection, taint_objection
from llmos_workers.learning.trace_store import Conflict, TraceStore
from llmos_workers.learning.trace_sync import ATTEMPTS, ScanReport, TraceSync
from llmos_workers.learning.trace_versions import next_version, vetoes_after


class Matcher(Protocol):
    """What find_trace_with_llm needs of the dispatcher's matcher."""

    def match(self, goal: str, project: str, *, top_k: int = 5) -> MatchResult:
        """Candidates for a goal, best first."""
        ...


class TraceManager:
    """Stores, finds and counts traces. Thread-safe; make one in each process.

    Methods raise redis errors as they come; ``broker_errors`` words them at the door. Nothing of
    one project is ever seen from another.
    """

    def __init__(
        self,
        client: redis.Redis,
        workspace: Workspace,
        clock: Clock | None = None,
        *,
        keys: KeyRing | None = None,
        matcher: Matcher | None = None,
        cache_size: int = 100,
    ) -> None:
        """``keys`` sign and judge the traces; by default those of the workspace."""
        self.keys = keys or KeyRing(workspace.keys, clock=clock)
        self._store = TraceStore(client, self.keys, cache_size=cache_size)
        self.history = TraceHistory(workspace)
        """Versions that were replaced."""
        self._counters = CounterFiles(workspace)
        folder = TraceFolder(workspace)
        self._sync = TraceSync(self._store, folder, self.history, self.keys, self._counters)
        self._clock = clock or SystemClock()
        self.matcher = matcher
        """What find_trace_with_llm asks; usually set after both exist."""

    # -- reading -------------------------------------------------------------------------------

    def find_exact(self, project: str, signature: str) -> ExecutionTrace | None:
        """The trace whose goal or alias has the signature, unless it vetoes that goal.

        The hot path: one round trip (two for an alias) and one stat.
        """
        trace = self._sync.fresh(self._store.by_signature(project, signature))
        if trace is None or signature in trace.vetoes:
            return None
        if trace.goal_signature != signature and signature not in {
            goal_signature(text) for text in trace.aliases
        }:
            return None  # the edit that was just read took this wording away
        return trace

    def get(self, project: str, trace_id: str) -> ExecutionTrace | None:
        """The newest version of a trace; None when there is none."""
        return self._sync.fresh(self._store.get(project, trace_id))

    def get_many(self, project: str, trace_ids: Sequence[str]) -> dict[str, ExecutionTrace]:
        """The newest versions of several traces by id, in one round trip; those there are."""
        records = self._store.many(project, trace_ids)
        fresh = {record.trace.trace_id: self._sync.fresh(record) for record in records}
        return {trace_id: trace for trace_id, trace in fresh.items() if trace is not None}

    def list(self, project: str) -> Sequence[ExecutionTrace]:
        """All readable traces of a project, sorted by id."""
        records = self._store.many(project, self._store.ids(project))
        fresh = (self._sync.fresh(record) for record in records)
        return [trace for trace in fresh if trace is not None]

    def ids(self, project: str) -> Sequence[str]:
        """Ids of a project's traces as Redis knows them, sorted; reads no trace."""
        return self._store.ids(project)

    def projects(self) -> Sequence[str]:
        """Projects that have, or had, traces."""
        return self._store.projects()

    def find_trace_with_llm(
        self, goal: str, min_confidence: float = 0.75, *, project: str = "default"
    ) -> tuple[ExecutionTrace, float] | None:
        """The best matching trace with its confidence, when that reaches ``min_confidence``.

        The upstream's name; the work is the matcher's (exact, template, vectors, structure).
        """
        if self.matcher is None:
            raise DataError("this TraceManager has no matcher; set .matcher first.")
        best = self.matcher.match(goal, project).best
        if best is None or best.confidence < min_confidence:
            return None
        trace = self.get(project, best.trace_id)
        return (trace, best.confidence) if trace else None

    def problems(self) -> Sequence[MalformedFile]:
        """Files that this process could not read, by path; ``scan`` looks at all of them."""
        return self._sync.problems()

    def scan(self, watch: Watch = unwatched) -> ScanReport:
        """Bring Redis in line with the folder: new, edited and deleted files, broken-off saves.

        Files that do not parse are skipped and listed by ``problems``.
        """
        return self._sync.scan(watch)

    # -- writing -------------------------------------------------------------------------------

    def save_trace(self, trace: ExecutionTrace, *, lease: Lease | None = None) -> ExecutionTrace:
        """Store a trace; returns it as stored.

        Where the project already has the trace id, this becomes the next version: aliases,
        vetoes and counters go on, a streak of failures ends. A trace with a failed step is
        stored unproved, so it is never followed. A pinned trace stays, and is what is returned.
        It is signed, unless what is given was read and found not to be.

        Raises WorkspaceUnwritable, LeaseLost (with a ``lease`` that no longer holds),
        InvalidOption for a project name that could be a path, and MalformedFile for what no
        file can hold.
        """
        check_project_name(trace.project)
        if not TRACE_ID.fullmatch(trace.trace_id):
            raise DataError(f"the trace id {trace.trace_id!r} is not allowed.")
        clean = trace.model_copy(
            update={
                "goal_signature": goal_signature(trace.goal_text),
                "created_at": trace.created_at or iso(self._clock.now()),
                "proved": trace.proved and all(step.ok for step in trace.steps),
            }
        )
        for _ in range(ATTEMPTS):
            before = self._sync.settled(trace.project, trace.trace_id)
            if before and _stays(before.trace):
                return before.trace
            after = next_version(clean, before.trace) if before else self._refused_before(clean)
            try:
                return self._sync.write(after, before, lease=lease, seal=_may_be_signed(trace))
            except Conflict:
                continue
        raise DataError(f"trace {trace.trace_id} is being written by too many at once.")

    def _refused_before(self, trace: ExecutionTrace) -> ExecutionTrace:
        """A new trace with the vetoes of the one of its goal that was removed: they are people's
        words, and removing the trace took none of them back.
        """
        old = self.history.newest(trace.project, trace.trace_id)
        if old is None:
            return trace
        return trace.model_copy(update={"vetoes": vetoes_after(trace, old)})

    def save_imported(self, trace: ExecutionTrace, *, vouched: bool) -> ExecutionTrace:
        """Store a trace that came from elsewhere. Unless its maker is trusted it stays unsigned,
        and waits for ``approve``. Raises as save_trace does.
        """
        standing = Standing.UNCHECKED if vouched else Standing.UNSIGNED
        return self.save_trace(
            trace.model_copy(update={"signature": "", "approved_by": "", "standing": standing})
        )

    def add_alias(
        self, project: str, trace_id: str, text: str, *, lease: Lease | None = None
    ) -> bool:
        """Remember another wording of the trace's goal. False: no such trace, or known. Raises
        LeaseLost for a run that lost its ``lease``.
        """

        def change(trace: ExecutionTrace) -> ExecutionTrace | None:
            known = {goal_signature(t) for t in (trace.goal_text, *trace.aliases)}
            signature = goal_signature(text)
            if signature in known or signature in trace.vetoes:
                return None
            return trace.model_copy(update={"aliases": (*trace.aliases, text)})

        return self._sync.change(project, trace_id, change, lease=lease)

    def add_veto(self, project: str, trace_id: str, goal: str) -> bool:
        """Never again let this goal follow the trace. False: no such trace, or known."""

        def change(trace: ExecutionTrace) -> ExecutionTrace | None:
            signature = goal_signature(goal)
            if signature in trace.vetoes:
                return None
            aliases = tuple(text for text in trace.aliases if goal_signature(text) != signature)
            return trace.model_copy(
                update={"vetoes": (*trace.vetoes, signature), "aliases": aliases}
            )

        return self._sync.change(project, trace_id, change)

    def approve(self, project: str, trace_id: str, *, by: str) -> bool:
        """Sign a trace as it stands, edited, imported or learned from content from outside: from
        now on it is followed as others are. False: there is none, or it does not wait for it.
        Raises InvalidOption without a name.
        """
        if not by.strip():
            raise InvalidOption("an approval needs the name of who gives it.")

        def change(trace: ExecutionTrace) -> ExecutionTrace | None:
            if trace.standing is Standing.NEWER:
                raise InvalidOption(f"trace {trace_id} cannot be approved here: {objection(trace)}")
            if trace.standing is Standing.SIGNED and not taint_objection(trace):
                return None
            return trace.model_copy(update={"approved_by": by})

        return self._sync.change(project, trace_id, change, approve=True)

    def set_tool(
        self,
        project: str,
        trace_id: str,
        tool: str | None,
        *,
        was: str | None = None,
        lease: Lease | None = None,
    ) -> bool:
        """Note which generated tool the trace was compiled into; None: none any more. With ``was``
        only where that is noted now. False: no such trace, not signed, or nothing to change.
        Raises LeaseLost.
        """

        def change(trace: ExecutionTrace) -> ExecutionTrace | None:
            now = trace.crystallized_into_tool
            if now == tool or (was is not None and now != was) or objection(trace):
                return None
            return trace.model_copy(update={"crystallized_into_tool": tool})

        return self._sync.change(project, trace_id, change, index=False, lease=lease)

    def pin(self, project: str, trace_id: str, pinned: bool = True) -> bool:
        """Keep a trace as it is, or no longer. False: there is none, or it is so already.

        No run replaces a pinned trace by a new version. It is no licence: what stands against
        following it still does. Raises InvalidOption for one that is not approved.
        """

        def change(trace: ExecutionTrace) -> ExecutionTrace | None:
            if trace.pinned == pinned:
                return None
            if pinned and (why := objection(trace)):
                raise InvalidOption(f"trace {trace_id} cannot be pinned: {why}")
            return trace.model_copy(update={"pinned": pinned})

        return self._sync.change(project, trace_id, change)

    def restore(self, project: str, trace_id: str, version: int) -> ExecutionTrace | None:
        """Make an old version the newest one again; None when it is not kept.

        What was not signed then is not now either. Raises MalformedFile and as save_trace does.
        """
        old = self.history.at(project, trace_id, version)
        return None if old is None else self.save_trace(judged(old, self.keys))

    def remove(self, project: str, trace_id: str, *, purge: bool = False) -> bool:
        """Delete a trace, its file first; ``restore`` brings it back, unless ``purge`` takes its
        history along. False: no such trace. Raises WorkspaceUnwritable.
        """
        record = self._store.get(project, trace_id)
        if record is None:
            return False
        if purge:
            self.history.drop(project, trace_id)
        else:
            self.history.keep(record.trace)
        self._sync.drop_files(record)
        return self._sync.fresh(record) is None

    def update_trace_stats(
        self,
        project: str,
        trace_id: str,
        *,
        success: bool,
        cost_micro: int = 0,
        saved_micro: int = 0,
        latency_ms: float = 0.0,
        outcome_id: str | None = None,
        lease: Lease | None = None,
    ) -> bool:
        """Count one use. Exact from any number of workers; amounts in micro-dollars.

        With ``outcome_id`` (a goal id) the same outcome is counted once, however often a run
        that was interrupted reports it. False: no such trace, or counted before. Raises
        LeaseLost when the run's ``lease`` is lost: nothing is counted then.
        """
        return self._store.count(
            project,
            trace_id,
            success=success,
            cost_micro=cost_micro,
            saved_micro=saved_micro,
            latency_ms=latency_ms,
            at=iso(self._clock.now()),
            outcome=outcome_id,
            lease=lease,
        )

    def add_evidence(
        self,
        project: str,
        trace_id: str,
        *,
        stage: str,
        confidence: float,
        right: bool,
        outcome_id: str,
        lease: Lease | None = None,
    ) -> bool:
        """Count one labelled outcome: a goal that followed the trace, found at ``stage`` with
        ``confidence``, was right or wrong to do so. Once for each ``outcome_id`` and verdict.
        False: no such trace, or counted before. Raises LeaseLost for a run that lost its lease.
        """
        field = evidence_field(stage, confidence, right=right)
        once = f"{outcome_id}:{'right' if right else 'wrong'}"
        return self._store.label(project, trace_id, field, once=once, lease=lease)

    def flush_counters(self) -> int:
        """Write counters that changed into their files; of how many traces they did.

        Raises WorkspaceUnwritable.
        """
        written = 0
        for project in self._store.projects():
            records = self._store.many(project, self._store.ids(project))
            traces = {record.trace.trace_id: record.trace for record in records}
            written += self._counters.write(project, traces)
        return written

    def renew_files(self, watch: Watch = unwatched) -> int:
        """Write files of an older format anew, after the counters that they held; how many. Those
        that cannot be read stay as they are. Raises WorkspaceUnwritable.
        """
        self.flush_counters()
        renewed = 0
        for project in self._store.projects():
            records = self._store.many(project, self._store.ids(project))
            for record in watch("renewing files of traces", records):
                with suppress(MalformedFile):
                    renewed += self._sync.renew(record)
        return renewed


def _stays(trace: ExecutionTrace) -> bool:
    """Whether no run replaces the trace. A pin that nobody signed pins nothing; what a newer
    release wrote is not for this one to replace.
    """
    if trace.standing is Standing.NEWER:
        return True
    return trace.pinned and trace.standing is Standing.SIGNED


def _may_be_signed(trace: ExecutionTrace) -> bool:
    """New content is; content that was read and found unsigned is for a person to approve."""
    return trace.standing in (Standing.UNCHECKED, Standing.SIGNED)
