"""Families of traces: the same job with other values, done by calls of another number or form.

Slots cannot say what a loop can: three chapters are three calls. A family is found by its goals
(word for word the same, but for a few values), and a goal is bound by one template with typed
holes. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from llmos_workers.contracts.errors import PolicyDenied
from llmos_workers.contracts.generated import ToolParameter
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.learning.dependence import reveals, written_after_seeing

LEAST_MEMBERS = 3
"""Two to learn from, and one that the proposal has not seen."""
MOST_MEMBERS = 8
MOST_HOLES = 4
MOST_COUNT = 200
"""Greatest number that a goal may give a generalized tool, whatever was seen."""

_HOLE = re.compile(r"\{([a-z][a-z0-9_]{0,30})\}")
_INT = re.compile(r"0|[1-9]\d{0,5}")
_VALUE = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_./-]{0,98}[A-Za-z0-9_])?")
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,10}$")


def families(traces: Iterable[ExecutionTrace]) -> list[list[ExecutionTrace]]:
    """Groups of at least three traces whose goals differ in numbers and in at most a few names."""
    groups: dict[tuple[str, ...], list[ExecutionTrace]] = {}
    for trace in traces:
        words = trace.goal_text.split()
        if any(_INT.fullmatch(word) for word in words) and not unfit_to_generalize(trace):
            key = tuple(map(_skeleton, words))
            groups.setdefault(key, []).append(trace)
    found = [sorted(group, key=lambda t: t.trace_id)[:MOST_MEMBERS] for group in groups.values()]
    return [group for group in found if len(group) >= LEAST_MEMBERS and _really_differ(group)]


def unfit_to_generalize(trace: ExecutionTrace) -> str:
    """Why a trace can be no member: its work rests on more than the words of its goal. "" when
    it can.
    """
    if trace.inputs or trace.hidden or trace.checks:
        return "its work depends on files, or on what its goal does not say"
    if not trace.outputs:
        return "nothing but an answer came of it"
    if trace.destructive:
        return "it destroys things"
    for at in range(len(trace.steps)):
        if trace.steps[at].references:
            return "its calls rest on each other's results"
        if reveals(trace.steps, at) and written_after_seeing(trace.steps, at):
            return "its calls were written with a result in view"
    return ""


def values_in(
    template: str, parameters: Sequence[ToolParameter], goal: str
) -> dict[str, str] | None:
    """The values with which the template is this goal, word for word; None when it is not, or
    when a value is not of its parameter's type.
    """
    kinds = {parameter.name: parameter.type for parameter in parameters}
    pattern, end, seen = "", 0, set[str]()
    for hole in _HOLE.finditer(template):
        pattern += re.escape(template[end : hole.start()])
        name, end = hole[1], hole.end()
        if name in seen or name not in kinds:
            return None
        seen.add(name)
        inner = _INT.pattern if kinds[name] == "int" else _VALUE.pattern
        pattern += f"(?P<{name}>{inner})"
    if seen != set(kinds):
        return None
    found = re.fullmatch(pattern + re.escape(template[end:]), " ".join(goal.split()))
    return None if found is None else dict(found.groupdict())


def of_their_kind(
    values: Mapping[str, str],
    parameters: Sequence[ToolParameter],
    known: Sequence[Mapping[str, str]],
) -> bool:
    """Whether new values are like those that were proved: numbers no smaller than the least that
    was seen and within bounds, names with the same extension and of as many folders.
    """
    for parameter in parameters:
        value, seen = values[parameter.name], [each[parameter.name] for each in known]
        if parameter.type == "int":
            if not min(map(int, seen)) <= int(value) <= MOST_COUNT:
                return False
        elif _form(value) not in {_form(each) for each in seen} or ".." in value:
            return False
    return True


def check_template(template: str, parameters: Sequence[ToolParameter]) -> None:
    """Raises PolicyDenied for a template that would bind too much."""
    holes = _HOLE.findall(template)
    words = [word for word in _HOLE.sub(" ", template).split() if word.isalpha()]
    if not 1 <= len(holes) <= MOST_HOLES or sorted(holes) != sorted(p.name for p in parameters):
        raise PolicyDenied("the template's holes are not the parameters.")
    if len(words) < len(holes) + 1:
        raise PolicyDenied("the template says too little of the job.")


def _form(value: str) -> tuple[int, str]:
    found = _EXTENSION.search(value)
    return value.count("/"), found[0] if found else ""


def _skeleton(word: str) -> str:
    """Numbers, paths and names of files may differ; other words may not."""
    if _INT.fullmatch(word):
        return "#"
    extension = _EXTENSION.search(word)
    return f"*{extension[0]}" if extension else "*/" if "/" in word else word


def _really_differ(group: Sequence[ExecutionTrace]) -> bool:
    """Whether slots could not say it: the calls are of other numbers or names of tools."""
    return len({tuple(step.call.name for step in trace.steps) for trace in group}) > 1
