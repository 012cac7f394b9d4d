"""Secrets do not enter a trace: where one stood, a trace says where it came from. Pure.

Known are the secrets of this process (by value), and what kernel.secrets finds in what the run's
calls were told or told. In its place comes a reference, ``«secret:API_KEY»``. A call whose
arguments held one cannot be made again from the trace: such a trace only helps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from llmos_workers.contracts.base import Json
from llmos_workers.contracts.trace import ExecutionTrace, Slot, TraceStep
from llmos_workers.kernel.secrets import MIN_SECRET_CHARS, find_secrets, replace
from llmos_workers.learning.matching.arguments import leaves

HELD = "its calls hold a secret"
"""How the note begins on a trace that cannot be made again for that."""

Clean = Callable[[str], str]


def without_secrets(
    trace: ExecutionTrace, named: Mapping[str, str], redact: Clean = lambda text: text
) -> ExecutionTrace:
    """The trace with a reference to its origin in the place of each secret.

    ``named`` are secret values with their names, ``redact`` blanks what else is known to be one.
    """
    values = {value: name for value, name in named.items() if len(value) >= MIN_SECRET_CHARS}
    for text in _texts(trace):
        values = find_secrets(text) | values
    clean = _cleaner(values, redact)
    steps = tuple(_step(step, clean) for step in trace.steps)
    checks = tuple(
        check.model_copy(update={"step": _step(check.step, clean)}) for check in trace.checks
    )
    before = [*trace.steps, *(check.step for check in trace.checks)]
    after = [*steps, *(check.step for check in checks)]
    changed = [
        was.call.name for was, now in zip(before, after, strict=True) if was.call != now.call
    ]
    update: dict[str, Any] = {
        "goal_text": clean(trace.goal_text),
        "aliases": _kept(trace.aliases, clean),
        "hidden": _kept(trace.hidden, clean),
        "slots": _open(trace.slots, clean),
        "fixed": _open(trace.fixed, clean),
        "steps": steps,
        "checks": checks,
        "answer": clean(trace.answer),
        "output_summary": clean(trace.output_summary),
        "error_notes": clean(trace.error_notes),
    }
    if changed:
        note = f"{HELD}, in {', '.join(dict.fromkeys(changed))}"
        notes = "; ".join(filter(None, (update["error_notes"], note)))
        update |= {"proved": False, "proved_by": "", "error_notes": notes}
    same = all(getattr(trace, name) == value for name, value in update.items())
    return trace if same else trace.model_copy(update=update)


def _texts(trace: ExecutionTrace) -> Iterable[str]:
    yield trace.goal_text
    for step in (*trace.steps, *(check.step for check in trace.checks)):
        yield step.output
        for _, leaf in leaves(step.call.arguments):
            if isinstance(leaf, str):
                yield leaf


def _cleaner(values: Mapping[str, str], redact: Clean) -> Clean:
    if not values:
        return redact
    return lambda text: redact(replace(text, values))


def _kept(texts: Iterable[str], clean: Clean) -> tuple[str, ...]:
    """Those without a secret: a wording with a hole is no wording."""
    return tuple(text for text in texts if clean(text) == text)


def _open(slots: Iterable[Slot], clean: Clean) -> tuple[Slot, ...]:
    return tuple(slot for slot in slots if clean(slot.value) == slot.value)


def _step(step: TraceStep, clean: Clean) -> TraceStep:
    arguments: Any = _value(step.call.arguments, clean)
    output = clean(step.output)
    if arguments == step.call.arguments and output == step.output:
        return step
    call = step.call.model_copy(update={"arguments": arguments})
    return step.model_copy(update={"call": call, "output": output})


def _value(value: Json, clean: Clean) -> Json:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: _value(item, clean) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_value(item, clean) for item in value]
    return value
