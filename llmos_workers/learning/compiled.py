"""The compiler: a trace as the source of a Python function. Pure.

Slots become typed parameters, steps become calls of the bridge, what an earlier step said and a
later one needs is taken from its result. The same substitution that fills a trace's slots finds
where they stand, so that the function makes the very calls of a replay; what cannot be said that
way is not compiled.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmos_workers.contracts.base import Json
from llmos_workers.contracts.errors import PolicyDenied
from llmos_workers.contracts.generated import ToolParameter
from llmos_workers.contracts.trace import ExecutionTrace, Slot, SlotType, TraceStep
from llmos_workers.execution.crystal.policy import RESERVED, plain_name
from llmos_workers.execution.references import alone
from llmos_workers.learning.matching.arguments import delimited, leaves, substitute
from llmos_workers.learning.matching.values import forms_of

_INT = re.compile(r"0|[1-9]\d{0,11}")
_MARK = re.compile("\0(.)([0-9]+)[.]([0-9]+)\0")
_WORD = re.compile(r"[A-Za-z0-9]+")
_STOP_WORDS = """
a an and as at by for from in into it its of on or that the then this to up with
"""
_STOP = frozenset(_STOP_WORDS.split())
NAME_WORDS = 4
_LINE = 88


@dataclass(frozen=True)
class Compiled:
    """A function that makes a trace's calls."""

    name: str
    source: str
    parameters: tuple[ToolParameter, ...]


def tool_name(trace: ExecutionTrace) -> str:
    """A name for the trace's tool: the first words of its goal that are no values."""
    text = trace.goal_text
    for slot in trace.slots:
        text = delimited(slot.value).sub(" ", text)
    words = [word.lower() for word in _WORD.findall(text)]
    chosen = [word for word in words if word.isascii() and word not in _STOP][:NAME_WORDS]
    name = "_".join(chosen)[:60].strip("_")
    if not name[:1].isalpha():
        name = f"tool_{name}".rstrip("_")
    return name if plain_name(name) and name not in RESERVED else f"{name}_tool"


def goal_template(trace: ExecutionTrace) -> str:
    """The goal with ``{slot}`` for its values; "" when nothing may vary."""
    text = trace.goal_text
    for slot in trace.slots:
        found = delimited(slot.value).search(text)
        if found is not None:
            text = f"{text[: found.start()]}{{{slot.name}}}{text[found.end() :]}"
    return text if trace.slots else ""


def trace_digest(trace: ExecutionTrace) -> str:
    """sha256 of what decides which calls a replay makes, and where they may be made."""
    facts = trace.model_dump(
        mode="json",
        include={"trace_id", "project", "version", "slots", "steps", "inputs", "hidden", "agent"},
        exclude={"steps": {"__all__": {"duration_ms"}}},
    )
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def compile_trace(trace: ExecutionTrace, name: str) -> Compiled:
    """The trace as a function called ``name``. Raises PolicyDenied for what cannot be said so."""
    if not trace.steps:
        raise PolicyDenied("the trace makes no calls.")
    writer = _Writer(trace)
    lines = list(writer.body())
    parameters = tuple(writer.parameters.values())
    signature = "".join(f", {p.name}: {p.type}" for p in parameters)
    head = f"def {name}(*{signature}) -> str:" if parameters else f"def {name}() -> str:"
    source = "\n".join([*_docstring(trace, parameters), "", "", head, *_summary(trace), *lines])
    try:
        source.encode()
    except UnicodeEncodeError:
        raise PolicyDenied("a call holds what is no text.") from None
    return Compiled(name, source + "\n", parameters)


def arguments_for(
    parameters: Sequence[ToolParameter], values: Mapping[str, str]
) -> dict[str, str | int] | None:
    """What the function is called with for these slot values (unnamed ones keep theirs); None
    when a value is not of its parameter's type.
    """
    found: dict[str, str | int] = {}
    for parameter in parameters:
        value = values.get(parameter.slot)
        text = parameter.value
        if value is not None:
            forms = forms_of(value)
            # As matching.slots.fill chooses them.
            text = forms[parameter.form] if parameter.form < len(forms) else value
        if parameter.type == "int":
            if not _INT.fullmatch(text):
                return None
            found[parameter.name] = int(text)
        else:
            found[parameter.name] = text
    return found


class _Writer:
    """Writes one trace's function."""

    def __init__(self, trace: ExecutionTrace) -> None:
        self._trace = trace
        self.parameters: dict[tuple[int, int], ToolParameter] = {}
        self._words: set[int] = set()

    def body(self) -> Iterator[str]:
        """Lines of the function's body."""
        steps = self._marked()
        calls = [self._call(at, step) for at, step in enumerate(steps)]
        last = len(calls) - 1
        for at, call in enumerate(calls):
            kept = at in self._words or at == last
            lead = f"    r{at + 1} = " if kept else "    "
            yield from _indented(lead, call)
        yield f"    return r{last + 1}.output"

    def _marked(self) -> list[TraceStep]:
        """The steps with a mark in the place of each value."""
        plain: dict[str, str] = {}
        everywhere: dict[str, str] = {}
        for at, slot in enumerate(self._trace.slots):
            target = everywhere if slot.declared else plain
            for form, text in enumerate(forms_of(slot.value)):
                target.setdefault(text, f"\0s{at}.{form}\0")
        if not plain and not everywhere:
            return list(self._trace.steps)
        return substitute(self._trace.steps, plain, everywhere)

    def _call(self, at: int, step: TraceStep) -> str:
        recorded = dict(leaves(self._trace.steps[at].call.arguments))
        parts = [json.dumps(step.call.name)]
        for key, value in step.call.arguments.items():
            if not plain_name(key):
                raise PolicyDenied(f"the argument {key!r} has no plain name.")
            parts.append(f"{key}={self._value(value, (key,), step, recorded)}")
        flat = f"tools.call({', '.join(parts)})"
        if len(flat) <= _LINE and "\n" not in flat:
            return flat
        return "tools.call(\n" + "".join(f"    {part},\n" for part in parts) + ")"

    def _value(
        self, value: Json, path: tuple[str | int, ...], step: TraceStep, recorded: dict[Any, Json]
    ) -> str:
        if isinstance(value, dict):
            items = (
                f"{json.dumps(key, ensure_ascii=False)}: "
                f"{self._value(item, (*path, str(key)), step, recorded)}"
                for key, item in value.items()
            )
            return "{" + ", ".join(items) + "}"
        if isinstance(value, list | tuple):
            items = (self._value(v, (*path, n), step, recorded) for n, v in enumerate(value))
            return "[" + ", ".join(items) + "]"
        if isinstance(value, str):
            return self._text(value, path, step, str(recorded.get(path, value)))
        return self._scalar(value)

    def _scalar(self, value: Json) -> str:
        """A number that is a slot's value, or what is written as it stands."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            for at, slot in enumerate(self._trace.slots):
                if str(value) == slot.value:
                    parameter = self._parameter(at, 0)
                    if parameter.type != "int":
                        raise PolicyDenied(f"the number {value} is no plain integer.")
                    return parameter.name
        return repr(value)

    def _text(self, value: str, path: tuple[str | int, ...], step: TraceStep, recorded: str) -> str:
        for ref in step.references:
            if ref.argument == path:
                value = alone(ref.value).sub(f"\0w{ref.source}.0\0", value)
        pieces: list[str | tuple[str, str]] = []
        end, said = 0, ""
        for mark in _MARK.finditer(value):
            text, expression, then = value[end : mark.start()], "", ""
            if mark[1] == "s":
                parameter = self._parameter(int(mark[2]), int(mark[3]))
                expression, then = parameter.name, parameter.value
            else:
                source = int(mark[2])
                self._words.add(source)
                expression = f"r{source + 1}.word"
                then = next(ref.value for ref in step.references if ref.source == source)
            pieces += [text, ("", expression)]
            said += text + then
            end = mark.end()
        pieces.append(value[end:])
        if said + value[end:] != recorded:
            # A value in other letters than the goal has it: a replay leaves it as it is.
            raise PolicyDenied("a value stands in the calls in another spelling than in the goal.")
        return _literal(pieces)

    def _parameter(self, slot_at: int, form: int) -> ToolParameter:
        key = (slot_at, form)
        if key not in self.parameters:
            slot = self._trace.slots[slot_at]
            texts = forms_of(slot.value)
            self.parameters[key] = ToolParameter(
                name=self._name(slot, form),
                type="int" if form == 0 and _is_int(slot) else "str",
                slot=slot.name,
                form=form,
                value=texts[form],
            )
        return self.parameters[key]

    def _name(self, slot: Slot, form: int) -> str:
        name = slot.name if plain_name(slot.name) else f"value_{slot.name.strip('_')}"
        if not plain_name(name) or name in RESERVED or re.fullmatch(r"r\d+", name):
            name = f"the_{name}" if plain_name(f"the_{name}") else "value"
        name = f"{name}_form{form}" if form else name
        if any(p.name == name for p in self.parameters.values()):
            raise PolicyDenied(f"two values are called {name!r}.")
        return name


def _is_int(slot: Slot) -> bool:
    return slot.type is SlotType.NUMBER and _INT.fullmatch(slot.value) is not None


def _literal(pieces: Sequence[str | tuple[str, str]]) -> str:
    """A text as Python: one line, or a line of source for each of its own."""
    inserted = any(isinstance(piece, tuple) for piece in pieces)
    rows, row = list[str](), ""
    for piece in pieces:
        if isinstance(piece, tuple):
            row += f"{{{piece[1]}}}"
            continue
        lines = piece.split("\n")
        for at, line in enumerate(lines):
            row += _escaped(line + "\n" * (at < len(lines) - 1), braces=inserted)
            if at < len(lines) - 1:
                rows.append(row)
                row = ""
    rows += [row] if row or not rows else []
    mark = "f" if inserted else ""
    if len(rows) == 1:
        return f'{mark}"{rows[0]}"'
    return "(\n" + "".join(f'        {mark}"{each}"\n' for each in rows) + "    )"


def _escaped(text: str, *, braces: bool) -> str:
    """JSON's escapes are Python's too."""
    inner = json.dumps(text, ensure_ascii=False)[1:-1]
    return inner.replace("{", "{{").replace("}", "}}") if braces else inner


def _indented(lead: str, call: str) -> Iterator[str]:
    first, *rest = call.split("\n")
    yield lead + first
    yield from (f"    {line}" for line in rest)


def _docstring(trace: ExecutionTrace, parameters: Sequence[ToolParameter]) -> Iterator[str]:
    yield f'"""{_quoted(goal_template(trace) or trace.goal_text)}'
    yield ""
    yield (
        f"Compiled from trace {trace.trace_id}, version {trace.version}, of the project "
        f"{_quoted(trace.project)}."
    )
    yield f"Used {trace.usage_count} times until then, {trace.success_rating:.0%} with success."
    for parameter in parameters:
        yield f"{parameter.name}: such as {_quoted(parameter.value)}"
    yield '"""'


def _summary(trace: ExecutionTrace) -> Iterator[str]:
    yield f'    """{_quoted(trace.goal_text)}."""'


def _quoted(text: str) -> str:
    """Text of a goal inside of a docstring: one line, nothing that ends it."""
    line = " ".join(text.split())[:200]
    return "".join(
        c if c.isprintable() and c not in '"\\' else "'" if c == '"' else "?" for c in line
    )
