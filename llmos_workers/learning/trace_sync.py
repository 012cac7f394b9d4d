"""Traces in two places: how Redis and the folder of Markdown files stay in line.

How a trace is stored, and why no crash loses or tears it:

1. The Markdown is *staged*: written and synced beside its place under a name nobody reads.
   A read-only or full workspace ends here, with nothing done.
2. One script in Redis checks the run's fence and writes the record, its wordings and the order
   to the index together. The record already carries the stamp of the staged file.
3. The staged file gets its name (rename keeps the stamp).

After a crash behind 1 an unnamed file is left, which ``scan`` sweeps; behind 2 the record points
to its staged file, and whoever reads the trace next finishes step 3. So a run that lost its
lease publishes nothing, and Redis and the folder never disagree for good.

Reading compares the file's stamp with the record's. Equal: the record is served. Changed: a
person edited the file, it is read again and the index told. Gone: the trace is forgotten. Only a
file *older* than the record loses against it (a slow writer that was overtaken).

What llmos writes is signed. A change of a trace that is not signed as it stands leaves it so:
nobody's edit is approved by a wording that is added later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from llmos_workers.contracts.errors import DataError, LeaseLost, MalformedFile, WorkspaceUnwritable
from llmos_workers.contracts.trace import TRACE_FORMAT, ExecutionTrace, Standing
from llmos_workers.contracts.watch import Watch, unwatched
from llmos_workers.kernel.lease import Lease
from llmos_workers.kernel.signing import KeyRing
from llmos_workers.learning.signature import goal_signature
from llmos_workers.learning.trace_counters import CounterFiles
from llmos_workers.learning.trace_fields import COUNTERS, without_counters
from llmos_workers.learning.trace_file import to_markdown, with_front_matter
from llmos_workers.learning.trace_folder import TraceFolder, is_older
from llmos_workers.learning.trace_history import TraceHistory
from llmos_workers.learning.trace_seal import judged, sealed
from llmos_workers.learning.trace_store import Conflict, TraceRecord, TraceStore

log = logging.getLogger(__name__)

ATTEMPTS = 20
"""Tries of a change that others keep overtaking."""

Edit = Callable[[ExecutionTrace], ExecutionTrace | None]
"""What to make of a trace; None: nothing."""


@dataclass(frozen=True, slots=True)
class ScanReport:
    """What a scan found."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    problems: int = 0


class TraceSync:
    """Reads through Redis, checks against the folder, writes both. Thread-safe."""

    def __init__(
        self,
        store: TraceStore,
        folder: TraceFolder,
        history: TraceHistory,
        keys: KeyRing,
        counters: CounterFiles,
    ) -> None:
        self._store, self._folder, self._history, self._keys = store, folder, history, keys
        self._counters = counters
        self._problems: dict[str, tuple[str, MalformedFile]] = {}

    def problems(self) -> Sequence[MalformedFile]:
        """Files that this process could not read, by path."""
        return [fault for _, (_, fault) in sorted(self._problems.items())]

    def drop_files(self, record: TraceRecord) -> None:
        """Remove a trace's file, and a staged one. Raises WorkspaceUnwritable."""
        if record.staged:
            self._folder.drop(record.staged)
        self._folder.drop(record.path)

    def scan(self, watch: Watch = unwatched) -> ScanReport:
        """Bring Redis in line with the folder: new, edited and deleted files, broken-off saves.

        Files that do not parse are skipped and listed by ``problems``.
        """
        if not self._folder.there:
            return ScanReport(problems=len(self._problems))
        added = changed = removed = 0
        known = {record.path for record in self._all_records()}
        # Unknown files first: one that was only renamed takes its record, counters and all.
        for path in watch("looking for new traces", list(self._folder.files())):
            if path not in known and self._adopt_new(path):
                added += 1
        records = self._all_records()
        for record in watch("looking at the traces", records):
            trace = self.fresh(record)
            if trace is None and record.path not in self._problems:
                removed += 1
            elif trace is not None and record.stamp != self._folder.stamp(record.path):
                changed += 1
        for path in [p for p in self._problems if self._folder.stamp(p) is None]:
            del self._problems[path]
        self._folder.sweep({record.staged for record in records})
        return ScanReport(added, changed, removed, len(self._problems))

    def _all_records(self) -> list[TraceRecord]:
        return [
            record
            for project in self._store.projects()
            for record in self._store.many(project, self._store.ids(project))
        ]

    def fresh(self, record: TraceRecord | None) -> ExecutionTrace | None:
        """The record's trace, after making sure that its file is still the one it knows."""
        if record is None:
            return None
        if self._folder.stamp(record.path) == record.stamp:
            return record.trace
        settled = self._settle(record)
        return settled.trace if settled else None

    def settled(self, project: str, trace_id: str) -> TraceRecord | None:
        """The record of a trace that is in line with its file, readable or not."""
        record = self._store.get(project, trace_id)
        if record is None or self._folder.stamp(record.path) == record.stamp:
            return record
        # A file that does not parse must not stop a new version from replacing it.
        return self._settle(record) or self._store.get(project, trace_id)

    def _settle(self, record: TraceRecord) -> TraceRecord | None:
        """Record and file differ: finish a broken-off save, read an edit, or forget."""
        project, trace_id = record.trace.project, record.trace.trace_id
        for _ in range(ATTEMPTS):
            try:
                if record.staged:
                    self._folder.publish(record.staged, record.path)
            except WorkspaceUnwritable as error:
                log.warning("a broken-off save of %s waits: %s", record.path, error)
                return record
            stamp = self._folder.stamp(record.path)
            if stamp == record.stamp:
                return record
            try:
                return self._follow_file(record, stamp)
            except Conflict:
                again = self._store.get(project, trace_id)
                if again is None:
                    return None
                record = again
        raise DataError(f"trace {trace_id} is being written by too many at once.")

    def _follow_file(self, record: TraceRecord, stamp: str | None) -> TraceRecord | None:
        if stamp is None:
            if self._folder.there:
                self._store.forget(record)
                log.info("trace %s is gone: its file was deleted", record.trace.trace_id)
            else:
                log.warning("the folder of traces %s is not there", self._folder.root)
            return None
        if is_older(stamp, record.stamp):
            return self._write_again(record)
        trace = self._read(record.path, stamp)
        if trace is None:
            return None
        if trace.trace_id != record.trace.trace_id:
            self._store.forget(record)
            self._adopt_new(record.path)
            return None
        return self._adopt(trace, record.path, stamp, record)

    def _read(self, path: str, stamp: str) -> ExecutionTrace | None:
        """Parse a file; what does not parse is remembered and not parsed again until edited."""
        known = self._problems.get(path)
        if known is not None and known[0] == stamp:
            return None
        try:
            trace = self._folder.parse(path)
        except MalformedFile as fault:
            log.warning("a trace file is skipped: %s", fault)
            self._problems[path] = (stamp, fault)
            return None
        self._problems.pop(path, None)
        return trace

    def _adopt_new(self, path: str) -> bool:
        """Take up a file that no record knows; True when it became a trace."""
        stamp = self._folder.stamp(path)
        trace = self._read(path, stamp or "")
        if stamp is None or trace is None:
            return False
        other = self._store.get(trace.project, trace.trace_id)
        if other is not None and other.path != path and self._folder.stamp(other.path):
            fault = MalformedFile(
                path,
                f"trace {trace.trace_id} is already in {other.path}.",
                fix="Delete one of the two, or give this one a trace_id of its own.",
            )
            self._problems[path] = (stamp, fault)
            return False
        try:
            self._adopt(trace, path, stamp, other)
        except Conflict:
            return False  # somebody else is at it; the next look settles it
        return True

    def renew(self, record: TraceRecord) -> bool:
        """Write the file of a record anew when it is of an older format; whether it was. What is
        signed of it is the same in both, so its signature is neither checked nor made here: it is
        worth what it was worth. Raises WorkspaceUnwritable.
        """
        if self.fresh(record) is None:
            return False
        now = self._store.get(record.trace.project, record.trace.trace_id)
        if now is None or self._folder.parse(now.path).format == TRACE_FORMAT:
            return False
        try:
            self.write(now.trace, now, index=False, fresh_file=False, seal=False)
        except Conflict:
            return False  # somebody else writes it, in the new format
        return True

    def _adopt(
        self, trace: ExecutionTrace, path: str, stamp: str, before: TraceRecord | None
    ) -> TraceRecord:
        """Make the file's content the record's. Raises Conflict."""
        revision = max(trace.revision, before.revision + 1 if before else 0)
        trace = trace.model_copy(
            update={"goal_signature": goal_signature(trace.goal_text), "revision": revision}
        )
        trace = judged(trace, self._keys)
        if before is not None and _taken_back(trace, before.trace):
            trace = trace.model_copy(update={"signature": "", "standing": Standing.UNSIGNED})
        same = before is not None and without_counters(trace) == without_counters(before.trace)
        if before is not None and not same:
            self._keep(before.trace)
        if before is None and trace.format == TRACE_FORMAT:
            trace = self._counters.of(trace)
        record = TraceRecord(trace, revision, path, stamp, "", trace.usage_count)
        self._store.commit(record, before=before, index=not same, counters=before is None)
        counters = before.trace if before else trace
        counted = trace.model_copy(update={name: getattr(counters, name) for name in COUNTERS})
        record = replace(record, trace=counted)
        return record if trace.format == TRACE_FORMAT else self._in_new_format(record)

    def _in_new_format(self, record: TraceRecord) -> TraceRecord:
        """A file of an older format that was just read: written anew. Raises Conflict."""
        try:
            self.write(record.trace, record, index=False, fresh_file=False, seal=False)
        except WorkspaceUnwritable as error:
            log.warning("%s stays in its old format: %s", record.path, error)
            return record
        return self._store.get(record.trace.project, record.trace.trace_id) or record

    def _keep(self, trace: ExecutionTrace) -> None:
        """Put aside what a hand edit replaced, where that can be written."""
        try:
            self._history.keep(trace)
        except (WorkspaceUnwritable, MalformedFile) as error:
            log.warning("what trace %s was before is not kept: %s", trace.trace_id, error)

    def _write_again(self, record: TraceRecord) -> TraceRecord:
        """The file is older than the record: write the record's content once more."""
        try:
            self.write(record.trace, record, index=False, seal=False)
        except WorkspaceUnwritable as error:
            log.warning("%s is older than its record: %s", record.path, error)
        return record

    def change(
        self,
        project: str,
        trace_id: str,
        edit: Edit,
        *,
        index: bool = True,
        approve: bool = False,
        lease: Lease | None = None,
    ) -> bool:
        """Change a trace in place: no new version, and edited prose in its file stays. Signed
        stays signed; ``approve`` signs it whatever it was. Raises LeaseLost for a run that lost
        its ``lease``.
        """
        for _ in range(ATTEMPTS):
            record = self._store.get(project, trace_id)
            if record is None or self.fresh(record) is None:
                return False
            before = self._store.get(project, trace_id)
            after = edit(before.trace) if before else None
            if before is None or after is None:
                return False
            seal = approve or before.trace.standing in (Standing.SIGNED, Standing.NEWER)
            try:
                self.write(after, before, lease=lease, index=index, fresh_file=False, seal=seal)
            except Conflict:
                continue
            return True
        raise DataError(f"trace {trace_id} is being written by too many at once.")

    def write(
        self,
        trace: ExecutionTrace,
        before: TraceRecord | None,
        *,
        lease: Lease | None = None,
        index: bool = True,
        fresh_file: bool = True,
        seal: bool = True,
    ) -> ExecutionTrace:
        """The three steps of the module's head, with a signature unless ``seal`` says no.

        Raises Conflict, LeaseLost, WorkspaceUnwritable.
        """
        revision = before.revision + 1 if before else trace.revision + 1
        trace = trace.model_copy(update={"revision": revision, "format": TRACE_FORMAT})
        if seal:
            trace = sealed(trace, self._keys)
        path = before.path if before else self._folder.path_of(trace)
        text = to_markdown(trace)
        if before and not fresh_file:
            text = with_front_matter(self._folder.read(path), trace)
        if before and trace.version > before.trace.version:
            self._history.keep(before.trace)
        staged, stamp = self._folder.stage(path, text)
        record = TraceRecord(trace, revision, path, stamp, staged, trace.usage_count)
        try:
            self._store.commit(
                record,
                before=before,
                lease=lease,
                index=index,
                counters=before is None,
                healed=before is not None and trace.version > before.trace.version,
            )
        except (Conflict, LeaseLost):
            self._folder.drop(staged)
            raise
        self._folder.publish(staged, path)
        return trace


def _taken_back(trace: ExecutionTrace, before: ExecutionTrace) -> bool:
    """Whether a signed file is one that llmos had replaced: an older version, or one from before
    a veto. It counts like an edit by hand.
    """
    return trace.version < before.version or not set(before.vetoes) <= set(trace.vetoes)
