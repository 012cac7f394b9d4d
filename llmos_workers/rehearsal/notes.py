"""What the scripted model says of a run that one of its scripts made: from the script itself.

The values that the script took from the goal's own words are the slots. What a script makes of
them (the name of its output, say) is a hidden parameter: that is found by reading the goal once
more with another value in the slot's place, and looking what else is another one then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from llmos_workers.rehearsal.skills import Family

Recognise = Callable[[str], "tuple[Family, dict[str, str]] | None"]

_FILE = re.compile(r"[\w./-]+\.[A-Za-z]\w{0,7}")
_OTHER = "quux"


def asks_for_notes(request: dict[str, Any]) -> bool:
    """Whether a request wants a learner's notes: by the structured output that it asks for."""
    wanted = (request.get("output_config") or {}).get("format") or {}
    return "hidden_parameters" in (wanted.get("schema") or {}).get("properties", {})


def notes_on(goal: str, calls: str, recognise: Recognise, render: Callable[..., str]) -> str:
    """The notes on a goal, as JSON. ``calls`` is the text that shows them."""
    known = recognise(goal)
    if known is None:
        return _as_json(goal, {}, [], [], destructive=False)
    family, values = known
    said = {n: v for n, v in values.items() if n != "goal" and _is_slot(v, goal, calls)}
    chosen = {name: value for name, value in said.items() if not _inside(value, said)}
    hidden = _hidden(goal, calls, chosen, values, recognise)
    paraphrases = [render(each, values).strip() for each in family.paraphrases]
    return _as_json(goal, chosen, paraphrases, hidden, destructive=family.destructive)


def _is_slot(value: str, goal: str, calls: str) -> bool:
    return len(value) > 1 and goal.count(value) == 1 and value in calls


def _inside(value: str, others: dict[str, str]) -> bool:
    """Whether a value is only a part of another one, or stands twice."""
    return any(value != other and value in other for other in others.values())


def _hidden(
    goal: str, calls: str, chosen: dict[str, str], values: dict[str, str], recognise: Recognise
) -> list[str]:
    found: list[str] = []
    for value in chosen.values():
        again = recognise(goal.replace(value, _another(value)))
        if again is None:
            continue
        moved = [old for name, old in values.items() if again[1].get(name, old) != old]
        found += [old for old in moved if old != value and old not in goal and old in calls]
    return list(dict.fromkeys(found))


def _another(value: str) -> str:
    if value.isdigit():
        return str(int(value) + 1)
    stem, dot, extension = value.rpartition(".")
    if dot and _FILE.fullmatch(value):
        return f"{stem.rpartition('/')[0]}{'/' if '/' in stem else ''}{_OTHER}.{extension}"
    return _OTHER.capitalize() if value[:1].isupper() else _OTHER


def _type(value: str) -> str:
    if value.isdigit():
        return "number"
    if _FILE.fullmatch(value):
        return "path"
    return "name" if value.istitle() else "text"


def _as_json(
    goal: str,
    chosen: dict[str, str],
    paraphrases: list[str],
    hidden: list[str],
    *,
    destructive: bool,
) -> str:
    template, slots = goal, []
    seen: set[str] = set()
    for name, value in chosen.items():
        if value in seen:
            continue
        seen.add(value)
        template = template.replace(value, f"{{{name}}}")
        slots.append({"name": name, "type": _type(value), "value": value})
    return json.dumps(
        {
            "template": template,
            "slots": slots,
            "paraphrases": paraphrases,
            "hidden_parameters": hidden,
            "destructive": destructive,
        },
        ensure_ascii=False,
    )
