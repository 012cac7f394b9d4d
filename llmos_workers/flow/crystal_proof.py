"""The proof of a generated tool: it does what the trace's replay does, call by call and file by
file, in scratch copies of the project: for the values on record and for values that no run used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from llmos_workers.contracts.errors import PolicyDenied, ToolError
from llmos_workers.contracts.generated import ToolParameter
from llmos_workers.contracts.tools import ToolCall, ToolResult
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep
from llmos_workers.execution.crystal.runners import Program
from llmos_workers.execution.recording import output_digest
from llmos_workers.flow.slot_trials import renamer
from llmos_workers.flow.trial import Change, Trial, Trials
from llmos_workers.kernel.scratch import Scratch
from llmos_workers.learning.compiled import arguments_for
from llmos_workers.learning.dependence import is_volatile
from llmos_workers.learning.followable import path_with_slots
from llmos_workers.learning.matching.slots import fill
from llmos_workers.learning.perturbation import OTHER_NAME, another_value

ODD = (
    "two words", "quo'te", 'dou"ble', "brace{0}s", "per%cent", "dollar$HOME", "back\\slash", "Ünï",
)  # fmt: skip
"""Texts with which only the calls are compared: nothing runs."""
RECENT = 200
"""So many of a project's newest goals are looked at for values on record."""
MOST_RECORDED = 5

Values = Mapping[str, str]
Arguments = Mapping[str, str | int]


@dataclass(frozen=True)
class Proof:
    """How much was tried, all with the same result."""

    recorded: int
    unused: int


def prove_tool(
    trials: Trials, trace: ExecutionTrace, program: Program, parameters: Sequence[ToolParameter]
) -> Proof:
    """Raises PolicyDenied naming the first difference, ToolError when it could not be tried."""
    for values in _odd(trace):
        arguments = arguments_for(parameters, values)
        if arguments is not None:
            same_calls(trials, fill(trace.steps, trace.slots, values), program, arguments)
    recorded = [
        each for each in _recorded(trials, trace) if arguments_for(parameters, each) is not None
    ]
    for values in recorded:
        same_effects(trials, trace, program, arguments_for(parameters, values) or {}, values)
    others = 0
    for values in _unused(trace, recorded):
        arguments = arguments_for(parameters, values)
        if arguments is not None:
            others += same_effects(trials, trace, program, arguments, values, unused=True)
    if trace.slots and not others:
        raise PolicyDenied("it could not be tried with values that no run used.")
    return Proof(len(recorded), others)


def _recorded(trials: Trials, trace: ExecutionTrace) -> Iterator[Values]:
    """Values of the learning run, and of the last goals that followed the trace with success."""
    own = {slot.name: slot.value for slot in trace.slots}
    yield own
    seen, runtime = [own], trials.run.runtime
    if not trace.slots:
        return
    for record in runtime.goals.list(project=trace.project, limit=RECENT):
        decision, outcome = record.decision, record.outcome
        if decision is None or outcome is None or not outcome.ok:
            continue
        if (decision.trace_id, decision.trace_version) != (trace.trace_id, trace.version):
            continue
        values = own | {n: v for n, v in decision.slots.items() if n in own}
        if decision.mode.calls_model or values in seen:
            continue
        seen.append(values)
        if len(seen) > MOST_RECORDED:
            return
        yield values


def _unused(trace: ExecutionTrace, recorded: Sequence[Values]) -> Iterator[Values]:
    """Two sets in which every value is another one than on record."""
    for word in (OTHER_NAME, "blorp-7"):
        values = {}
        for at, slot in enumerate(trace.slots):
            other = another_value(slot)
            if other is not None:  # two files of one kind must not come to the same name
                values[slot.name] = other.replace(OTHER_NAME, f"{word}{at or ''}")
        if values and values not in recorded:
            yield values


def _odd(trace: ExecutionTrace) -> Iterator[Values]:
    for text in ODD if trace.slots else ():
        yield {slot.name: f"{text}{at}" for at, slot in enumerate(trace.slots)}


def same_calls(
    trials: Trials, steps: Sequence[TraceStep], program: Program, arguments: Arguments
) -> None:
    """Compare what it asks for, answered with what was recorded. Raises PolicyDenied."""
    with trials.run.runtime.runners.session(program, arguments) as session:
        for step in steps:
            _expect(step.call, session.next_call())
            session.told(ToolResult(ok=step.ok, output=step.output, exit_code=step.exit_code))
        _expect(None, session.next_call())


def same_effects(
    trials: Trials,
    trace: ExecutionTrace,
    program: Program,
    arguments: Arguments,
    values: Values,
    *,
    unused: bool = False,
) -> bool:
    """Whether the replay worked with these values; the tool must have done the same then.

    Raises PolicyDenied where it did not, ToolError when it could not be tried.
    """
    steps = fill(trace.steps, trace.slots, values)
    change = _fresh(trials, trace, values, unused=unused)
    replayed = trials.run_all(steps, change)
    if replayed.fault or not all(result.ok for result in replayed.results):
        if unused:
            return False
        why = replayed.fault or "its trace does not work any more on the project as it is."
        raise ToolError(why)
    done = trials.run_program(program, arguments, len(steps), change)
    if done.fault:
        raise PolicyDenied(f"the generated tool {done.fault}")
    _compare(trace.steps, replayed, done)
    return True


def _compare(steps: Sequence[TraceStep], replayed: Trial, done: Trial) -> None:
    if [call.digest() for call in done.calls] != [call.digest() for call in replayed.calls]:
        raise PolicyDenied("the generated tool makes other calls than the replay.")
    for step, one, other in zip(steps, replayed.results, done.results, strict=True):
        if (one.ok, one.exit_code) != (other.ok, other.exit_code):
            raise PolicyDenied(f"{step.call.name} of the generated tool ends otherwise.")
        if step.output_digest == output_digest(one.output) != output_digest(other.output):
            raise PolicyDenied(f"{step.call.name} of the generated tool says something else.")
    for path in sorted(replayed.effects.keys() | done.effects.keys()):
        if not is_volatile(path) and replayed.effects.get(path) != done.effects.get(path):
            raise PolicyDenied(f"the generated tool leaves {path} in another state.")


def _expect(call: ToolCall | None, asked: ToolCall | None) -> None:
    if (call and call.digest()) != (asked and asked.digest()):
        raise PolicyDenied("the generated tool makes other calls than the replay.")


def _fresh(trials: Trials, trace: ExecutionTrace, values: Values, *, unused: bool) -> Change:
    """Take away what the trace makes, so that it shows whether it is made again; and give what
    it reads the names of unused values.
    """
    rename = renamer(trials, trace, values) if unused else _nothing
    needed = {file.path for file in trace.inputs if file.digest is not None}
    made = [file.path for file in trace.outputs if file.digest and file.path not in needed]

    def change(scratch: Scratch) -> None:
        for path in {path_with_slots(trace, values, path) for path in made} | set(made):
            place = scratch.area / path
            if place.is_file() and not place.is_symlink():
                place.unlink()
        rename(scratch)

    return change


def _nothing(_scratch: Scratch) -> None:
    """The project as it is."""
