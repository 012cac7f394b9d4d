"""The proof of a tool that a model generalized from several traces.

It must make the very calls and leave the very files of each trace, also of the one that the model
was not shown. For values that nobody used there is no replay to compare with, so what can be known
is: another name in a recorded value's place changes the calls in that place and nowhere else; and
with another number the calls are of the same forms, as many as the recorded ones let expect, and
succeed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmos_workers.contracts.errors import PolicyDenied
from llmos_workers.contracts.generated import ToolParameter
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import ExecutionTrace, Slot, SlotType
from llmos_workers.execution.crystal.runners import MAX_CALLS, Program, ProgramFault
from llmos_workers.flow.crystal_proof import Arguments, Proof, same_calls, same_effects
from llmos_workers.flow.trial import Trials
from llmos_workers.learning.compiled import arguments_for
from llmos_workers.learning.matching.arguments import substitute
from llmos_workers.learning.perturbation import another_value

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Member:
    """A trace with the values that make it this one of its family."""

    trace: ExecutionTrace
    values: dict[str, str]


def prove_general(
    trials: Trials, family: Sequence[Member], program: Program, parameters: Sequence[ToolParameter]
) -> Proof:
    """Raises PolicyDenied naming the first difference, ToolError when it could not be tried."""
    for member in family:
        arguments = _arguments(parameters, member.values)
        try:
            same_calls(trials, member.trace.steps, program, arguments)
        except (PolicyDenied, ProgramFault) as error:
            told = json.dumps(member.values)
            raise PolicyDenied(f"for {told}: {error.message}") from None
    for member in family:
        arguments = _arguments(parameters, member.values)
        same_effects(trials, member.trace, program, arguments, {})
    unused = 0
    for member in family:
        unused += _other_names(trials, member, program, parameters)
    for values in _other_numbers(family, parameters):
        _same_forms(trials, family, program, parameters, values)
        unused += 1
    return Proof(len(family), unused)


def _other_names(
    trials: Trials, member: Member, program: Program, parameters: Sequence[ToolParameter]
) -> int:
    """Another name for each text, in the calls alone; how many were tried."""
    tried = 0
    for parameter in parameters:
        old = member.values[parameter.name]
        kind = SlotType.PATH if "/" in old or "." in old else SlotType.NAME
        new = another_value(Slot(name=parameter.name, type=kind, value=old))
        if parameter.type != "str" or new is None:
            continue
        steps = substitute(member.trace.steps, {}, {old: new})
        if steps == list(member.trace.steps):
            raise PolicyDenied(f"{parameter.name} ({old}) stands in no call.")
        values = member.values | {parameter.name: new}
        same_calls(trials, steps, program, _arguments(parameters, values))
        tried += 1
    return tried


def _other_numbers(
    family: Sequence[Member], parameters: Sequence[ToolParameter]
) -> Iterator[dict[str, str]]:
    """For each number: one that lies between, where there is one, and one beyond."""
    for parameter in parameters:
        if parameter.type != "int":
            continue
        seen = sorted({int(member.values[parameter.name]) for member in family})
        between = next((n for n in range(seen[0], seen[-1]) if n not in seen), None)
        for number in (between, seen[-1] + 1):
            if number is not None:
                yield family[0].values | {parameter.name: str(number)}


def _same_forms(
    trials: Trials,
    family: Sequence[Member],
    program: Program,
    parameters: Sequence[ToolParameter],
    values: dict[str, str],
) -> None:
    """Run it in scratch with a number that no run used."""
    told = json.dumps(values)
    done = trials.run_program(program, _arguments(parameters, values), MAX_CALLS)
    if done.fault:
        raise PolicyDenied(f"with {told} the tool {done.fault}")
    if not all(result.ok for result in done.results):
        raise PolicyDenied(f"with {told} a call of the tool fails.")
    forms = {_form(step.call, member.values) for member in family for step in member.trace.steps}
    for call in done.calls:
        if _form(call, values) not in forms:
            raise PolicyDenied(f"with {told} it makes a call unlike all on record: {call.name}.")
    expected = _expected(family, parameters, values)
    if expected is not None and len(done.calls) != expected:
        raise PolicyDenied(f"with {told} it makes {len(done.calls)} calls, not {expected}.")


def _expected(
    family: Sequence[Member], parameters: Sequence[ToolParameter], values: dict[str, str]
) -> int | None:
    """How many calls the recorded ones let expect, when their number grows evenly with the one
    number among the parameters.
    """
    numbers = [p.name for p in parameters if p.type == "int"]
    if len(numbers) != 1:
        return None
    points = sorted({(int(m.values[numbers[0]]), len(m.trace.steps)) for m in family})
    (x0, y0), (x1, y1) = points[0], points[-1]
    if x0 == x1 or (y1 - y0) % (x1 - x0):
        return None
    slope = (y1 - y0) // (x1 - x0)
    if any(y != y0 + slope * (x - x0) for x, y in points):
        return None
    return y0 + slope * (int(values[numbers[0]]) - x0)


def _form(call: ToolCall, values: dict[str, str]) -> str:
    """A call with its values and numbers blanked."""
    text = json.dumps([call.name, call.arguments], sort_keys=True)
    for value in sorted(values.values(), key=len, reverse=True):
        if not value.isdigit():
            text = text.replace(value, "*")
    return _NUMBER.sub("#", text)


def _arguments(parameters: Sequence[ToolParameter], values: dict[str, str]) -> Arguments:
    found = arguments_for(parameters, values)
    if found is None:
        raise PolicyDenied(f"{json.dumps(values)} are no arguments of the tool.")
    return found
