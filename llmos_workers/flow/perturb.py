"""Perturb: what a proved trace depends on, found by changing it in scratch and looking.

Files that its commands read without naming them become inputs; files whose content changes
nothing stop being ones; values that do not reach all that depends on them stop being slots.
What a command opened and what cannot be tried, for want of time or for any other reason, stays a
dependency.

What a kept command reads is checked again by running it: its output and its files are compared
at each replay. What a command read that is *not* kept (it failed, say, and the model went on
from what it said) is checked by nobody: so all of that is an input, whatever perturbing shows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from llmos_workers.contracts.commits import FileKind
from llmos_workers.contracts.errors import LLMOSError, ToolError
from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep
from llmos_workers.execution.recording import output_digest
from llmos_workers.flow.slot_trials import try_slots
from llmos_workers.flow.trial import Trial, Trials
from llmos_workers.kernel import tree
from llmos_workers.kernel.scratch import Scratch
from llmos_workers.kernel.workspace import digest_file
from llmos_workers.learning.dependence import (
    OPAQUE_TOOLS,
    dropped_steps,
    inputs_of,
    is_volatile,
    listing_digest,
    without_reads,
)
from llmos_workers.learning.perturbation import altered, new_names, words_of

MAX_READ_BYTES = 4 << 20
"""A larger file is not altered; it stays a dependency."""
SMALL_BYTES = 1 << 16
"""Files that no command opened are altered only up to this size: for a size that matters."""
MAX_BESIDE = 500
"""Files that nobody seems to read are tried together when they are no more than this."""

Alter = Callable[[Scratch, str], None]


def perturb(
    trials: Trials,
    trace: ExecutionTrace,
    transcript: Sequence[TraceStep],
    replayed: Trial,
) -> ExecutionTrace:
    """The trace with the inputs and slots that perturbing it showed.

    ``transcript`` is the whole run, ``replayed`` the trial that proved the trace.
    """
    found = _Search(trials, trace, transcript, replayed)
    inputs = {file.path: file for file in trace.inputs}
    try:
        of_dropped = found.of_dropped()
        inputs |= of_dropped
        inputs |= found.unnamed()
        ignored = found.ignorable(path for path in inputs if path not in of_dropped)
    except LLMOSError as error:
        return trace.model_copy(
            update={
                "proved": False,
                "proved_by": "",
                "error_notes": f"what it depends on could not be found: {error.message}",
            }
        )
    kept = tuple(inputs[path] for path in sorted(inputs) if path not in ignored)
    steps = tuple(without_reads(step, ignored) for step in trace.steps)
    trace = trace.model_copy(
        update={"inputs": kept, "ignored_inputs": tuple(sorted(ignored)), "steps": steps}
    )
    return try_slots(trials, trace, replayed)


class _Search:
    """Looks for one trace's dependencies."""

    def __init__(
        self,
        trials: Trials,
        trace: ExecutionTrace,
        transcript: Sequence[TraceStep],
        replayed: Trial,
    ) -> None:
        self.trials, self.trace, self.replayed = trials, trace, replayed
        self.transcript = transcript
        self.dropped = [
            at
            for at in dropped_steps(transcript, trace.steps)
            if transcript[at].call.name in OPAQUE_TOOLS
        ]
        self.area = trials.before.area
        base = trials.before.base.items()
        self.files = [p for p, entry in base if entry.kind is FileKind.FILE and not is_volatile(p)]
        self.words = words_of(transcript)

    # -- calls that are not replayed ------------------------------------------------------------

    def of_dropped(self) -> dict[str, FileDigest]:
        """What commands read that the trace does not hold any more."""
        if not self.dropped:
            return {}
        seen = self.trials.run_all(self.transcript)
        if seen.fault:
            raise ToolError(seen.fault)
        files, folders = set[str](), set[str]()
        for at in self.dropped:
            reads = seen.reads[at]
            if reads is None:
                raise ToolError("what commands read cannot be told on this file system.")
            files |= {path for path in reads if not path.endswith("/")}
            folders |= {path for path in reads if path.endswith("/")}
        found = {p: digest_file(self.area, p) for p in self._named(files)}
        if folders and self._would_see_new(folders, seen):
            own = [file.path for file in self.trace.outputs]
            there = [f for f in sorted(folders) if (self.area / f).is_dir() and not is_volatile(f)]
            found |= {folder: listing_digest(self.area, folder, own) for folder in there}
        return found

    def _would_see_new(self, folders: Iterable[str], seen: Trial) -> bool:
        """Whether a dropped command would have said something else beside new files."""

        def come(scratch: Scratch) -> None:
            for folder in folders:
                there = scratch.area / folder
                if not there.is_dir() or is_volatile(folder):
                    continue
                names = [e.name for e in os.scandir(there) if e.is_file(follow_symlinks=False)]
                for path, like in new_names(folder, names, self.words).items():
                    data = (there / like).read_bytes()[:MAX_READ_BYTES] if like else b""
                    _put(scratch.area / path, altered(data, path, self.words))

        again = self.trials.run_all(self.transcript, come)
        if again.fault:
            return True
        pairs = [(seen.results[at], again.results[at]) for at in self.dropped]
        return any(
            (one.exit_code, output_digest(one.output))
            != (other.exit_code, output_digest(other.output))
            for one, other in pairs
        )

    # -- calls that are -------------------------------------------------------------------------

    def unnamed(self) -> dict[str, FileDigest]:
        """Files that the trace's commands read without naming them, and that matter."""
        known = {file.path for file in self.trace.inputs}
        read: set[str] = set()
        for reads in self.replayed.reads:
            read |= {p for p in reads or () if not p.endswith("/")}
        opened = [path for path in self._named(read) if path not in known]
        found = self._that_matter(opened, strict=True)
        if any(step.call.name in OPAQUE_TOOLS for step in self.trace.steps):
            blind = None in self._command_reads()
            beside = [p for p in self.files if p not in known and p not in opened]
            if not blind:
                beside = self._small(beside)
            if len(beside) <= MAX_BESIDE or blind:
                found |= self._that_matter(beside, strict=blind)
        return {path: digest_file(self.area, path) for path in found}

    def ignorable(self, inputs: Iterable[str]) -> set[str]:
        """Inputs that only the trace's own commands read or name, and that change nothing."""
        others = [
            step
            for at, step in enumerate(self.transcript)
            if step.call.name not in OPAQUE_TOOLS or at in self.dropped
        ]
        told = {file.path for file in inputs_of(others)}
        asked = [p for p in self._named(inputs) if p not in told]
        asked = [p for p in asked if self._is_read_by_commands(p)]
        opened = {path for reads in self.replayed.reads for path in reads or ()}
        first = [path for path in asked if path in opened]
        then = [path for path in asked if path not in opened]
        blind = None in self._command_reads()
        matter = self._that_matter(first, strict=True)
        return set(asked) - matter - self._that_matter(then, strict=blind, untried=True)

    def _command_reads(self) -> list[frozenset[str] | None]:
        steps = zip(self.trace.steps, self.replayed.reads, strict=True)
        return [reads for step, reads in steps if step.call.name in OPAQUE_TOOLS]

    def _is_read_by_commands(self, path: str) -> bool:
        return any(
            file.path == path
            for step in self.trace.steps
            if step.call.name in OPAQUE_TOOLS
            for file in step.reads
        )

    def _named(self, paths: Iterable[str]) -> list[str]:
        """Of some paths, the files that were there before the run."""
        there = set(self.files)
        return sorted(path for path in paths if path in there)

    def _small(self, paths: Iterable[str]) -> list[str]:
        """Those that are quickly altered."""
        base = self.trials.before.base
        return [path for path in paths if base[path].size <= SMALL_BYTES]

    def _that_matter(
        self, paths: Sequence[str], *, strict: bool, untried: bool | None = None
    ) -> set[str]:
        """Those with another content of which the trace would do otherwise.

        ``strict``: and those without which it would. ``untried``: whether what there was no time
        to try counts; by default where it is strict.
        """
        untried = strict if untried is None else untried
        found = self._bisect(list(paths), self._alter, untried=untried)
        if strict:
            rest = [path for path in paths if path not in found]
            found |= self._bisect(rest, _remove, untried=untried)
        return found

    def _bisect(self, paths: list[str], change: Alter, *, untried: bool) -> set[str]:
        """All at once, and in halves where that made a difference."""
        if not paths:
            return set()
        if self.trials.time_left <= 0:
            return set(paths) if untried else set()
        if not self._differs(paths, change):
            return set()
        if len(paths) == 1:
            return set(paths)
        middle = len(paths) // 2
        first = self._bisect(paths[:middle], change, untried=untried)
        return first | self._bisect(paths[middle:], change, untried=untried)

    def _differs(self, paths: Sequence[str], change: Alter) -> bool:
        touched = {}

        def make(scratch: Scratch) -> None:
            for path in paths:
                change(scratch, path)
                touched[path] = tree.state_at(scratch.area, path)

        trial = self.trials.run_all(self.trace.steps, make)
        if trial.fault or not same_results(self.trace.steps, self.replayed, trial):
            return True
        expected = touched | self.replayed.effects
        return any(
            trial.effects.get(path) != expected.get(path)
            for path in trial.effects.keys() | expected.keys()
            if not is_volatile(path)
        )

    def _alter(self, scratch: Scratch, path: str) -> None:
        place = scratch.area / path
        if place.stat().st_size > MAX_READ_BYTES:
            raise ToolError(f"{path} is too large to be altered.")
        _put(place, altered(place.read_bytes(), path, self.words))


def same_results(steps: Sequence[TraceStep], one: Trial, other: Trial) -> bool:
    """Whether two trials' calls ended alike. Output that was another already when the trace was
    proved is left out: it is never the same twice.
    """
    for step, first, second in zip(steps, one.results, other.results, strict=True):
        if (first.ok, first.exit_code) != (second.ok, second.exit_code):
            return False
        told = output_digest(first.output)
        if told == step.output_digest and told != output_digest(second.output):
            return False
    return True


def _put(place: Path, data: bytes) -> None:
    """Put a new file in a place, never into a published file under a second name."""
    mode = place.stat().st_mode & 0o777 if place.exists() else 0o644
    place.unlink(missing_ok=True)
    place.write_bytes(data)
    place.chmod(mode)


def _remove(scratch: Scratch, path: str) -> None:
    (scratch.area / path).unlink()
