"""Whether a trace's slots may vary: each gets another value in scratch, and what comes of it
must hold the old one nowhere. A slot that fails is fixed: the trace then holds something that
the new value should have changed, and it stays for goals with the old value.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from llmos_workers.contracts.errors import LLMOSError, ToolError
from llmos_workers.contracts.trace import ExecutionTrace, Slot
from llmos_workers.flow.trial import Change, Trial, Trials
from llmos_workers.kernel.scratch import Scratch
from llmos_workers.learning.followable import path_with_slots
from llmos_workers.learning.matching.slots import fill
from llmos_workers.learning.perturbation import another_value, forms_of, lingering

MAX_TEXT = 1 << 18
"""Bytes of a file that are searched for an old value."""


def try_slots(trials: Trials, trace: ExecutionTrace, replayed: Trial) -> ExecutionTrace:
    """The trace with only those slots that may vary; the others are fixed."""
    others = {slot.name: another_value(slot) for slot in trace.slots}
    values = {name: value for name, value in others.items() if value is not None}
    tried = [slot for slot in trace.slots if slot.name in values]
    good = set[str]()
    if tried and _holds(trials, trace, replayed, values):
        good = set(values)
    elif len(tried) > 1:
        good = {
            slot.name
            for slot in tried
            if _holds(trials, trace, replayed, {slot.name: values[slot.name]})
        }
    return trace.model_copy(
        update={
            "slots": tuple(slot for slot in trace.slots if slot.name in good),
            "fixed": tuple(slot for slot in trace.slots if slot.name not in good),
        }
    )


def _holds(
    trials: Trials, trace: ExecutionTrace, replayed: Trial, values: Mapping[str, str]
) -> bool:
    """Whether the trace works with these values, and nothing of the old ones is left."""
    if trials.time_left <= 0:
        return False
    steps = fill(trace.steps, trace.slots, values)
    try:
        trial = trials.run_all(steps, renamer(trials, trace, values))
    except LLMOSError:
        return False
    if trial.fault or not _ended_alike(replayed, trial):
        return False
    texts = _Texts(trials.before.area, trace)
    before, after = (texts.of(each) for each in (replayed, trial))
    return not any(
        texts.keep(slot, values[slot.name], before, after)
        for slot in trace.slots
        if slot.name in values
    )


def _ended_alike(one: Trial, other: Trial) -> bool:
    pairs = zip(one.results, other.results, strict=True)
    return all((a.ok, a.exit_code) == (b.ok, b.exit_code) for a, b in pairs)


def renamer(trials: Trials, trace: ExecutionTrace, values: Mapping[str, str]) -> Change:
    """Gives what the project held under the old names the new ones."""
    there = trials.before.base

    def rename(scratch: Scratch) -> None:
        for path in sorted(there):
            new = path_with_slots(trace, values, path)
            place = scratch.area / new
            if new == path or not (scratch.area / path).exists():
                continue
            if place.exists() or ".." in new.split("/"):
                raise ToolError(f"{new} is there already.")
            place.parent.mkdir(parents=True, exist_ok=True)
            (scratch.area / path).rename(place)

    return rename


class _Texts:
    """All texts of a trial: names of files, contents, what the calls said."""

    def __init__(self, area: Path, trace: ExecutionTrace) -> None:
        self._steps = trace.steps
        files = (file.path for file in trace.inputs if file.digest and file.path[-1:] != "/")
        places = (area / path for path in files)
        self._brought = "\n".join(
            place.read_bytes()[:MAX_TEXT].decode("utf-8", "replace").lower()
            for place in places
            if place.is_file()
        )

    def of(self, trial: Trial) -> tuple[str, str]:
        """Names of the files that were made or changed, and all the rest."""
        names = "\n".join(path for path, state in trial.effects.items() if state is not None)
        pairs = zip(self._steps, trial.results, strict=True)
        said = [result.output for step, result in pairs if step.informative]
        return names, "\n".join([*said, *trial.texts.values()])

    def keep(self, slot: Slot, new: str, before: tuple[str, str], after: tuple[str, str]) -> bool:
        """Whether what was made still holds the slot's old value, though no input brings it."""
        if lingering(slot.value, new, before[0], after[0]):
            return True
        brought = any(form.lower() in self._brought for form in forms_of(slot.value))
        return not brought and lingering(slot.value, new, before[1], after[1])
