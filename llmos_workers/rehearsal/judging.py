"""A judge's question, answered from the scripts: two goals are the same job when they are of one
family and have the same values. What no family knows gets no verdict.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from typing import Any
from zlib import crc32

from llmos_workers.contracts.rehearsal import JUDGE_MARKER
from llmos_workers.rehearsal.planning import jobs
from llmos_workers.rehearsal.protocol import blocks_of
from llmos_workers.rehearsal.reply import Reply
from llmos_workers.rehearsal.skills import Family

Recognise = Callable[[str], tuple[Family, dict[str, str]] | None]
FAMILY = "judge"


def is_question(request: dict[str, Any]) -> bool:
    """Whether the request asks a judge."""
    system = request.get("system") or []
    if isinstance(system, str):
        return JUDGE_MARKER in system
    return any(JUDGE_MARKER in str(block.get("text", "")) for block in system)


def judge_reply(request: dict[str, Any], recognise: Recognise, *, error: float = 0.0) -> Reply:
    """The verdict, as the request's schema wants it; the opposite for that share of pairs."""
    text = "".join(str(block.get("text", "")) for block in blocks_of(request["messages"][0]))
    goals = [_tagged(text, tag) for tag in ("recorded_goal", "new_goal")]
    answer, why = _verdict(goals, _tagged(text, "recorded_calls"), recognise)
    if answer != "unsure" and _mistaken(goals, error):
        answer, why = ("no", "it looks like another job") if answer == "yes" else ("yes", "")
    harmless = answer == "yes"
    numbers = [int(n) for n in re.findall(r"^(\d+)\. ", _tagged(text, "differences"), re.M)]
    verdict = {
        "differences": [{"number": n, "harmless": harmless, "why": why} for n in numbers],
        "missing_or_extra": why,
        "verdict": answer,
    }
    return Reply([{"type": "text", "text": json.dumps(verdict)}], "end_turn", FAMILY)


def _verdict(goals: list[str], calls: str, recognise: Recognise) -> tuple[str, str]:
    """Job by job: what stands in another place is another goal."""
    known, asked = (jobs(goal, recognise) for goal in goals)
    if len(known) != len(asked):
        return "no", f"{len(known)} jobs are not {len(asked)}"
    for one, two in zip(map(recognise, known), map(recognise, asked), strict=True):
        if one is None or two is None:
            return "unsure", "no script knows this kind of job"
        if one[0].name != two[0].name:
            return "no", f"{one[0].short} is not {two[0].short}"
        if other := _other_values(one[1], two[1], calls):
            return "no", f"another {other}"
    return "yes", ""


def _mistaken(goals: list[str], error: float) -> bool:
    return crc32("\n".join(goals).encode()) < error * 2**32


def _other_values(known: dict[str, str], asked: dict[str, str], calls: str) -> str:
    """Name of a value that the goals do not share and the calls do not hold as the new goal has
    it; empty when there is none.
    """
    names = (known.keys() | asked.keys()) - {"goal"}
    differing = (n for n in sorted(names) if known.get(n) != asked.get(n))
    return next((n for n in differing if not _filled(known.get(n), asked.get(n), calls)), "")


def _filled(old: str | None, new: str | None, calls: str) -> bool:
    """Whether the calls shown have the new value where the recorded ones had the old one."""
    return bool(old and new) and _stands(new, calls) and not _stands(old, calls)


def _stands(value: str | None, calls: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(str(value))}(?!\w)", calls) is not None


def _tagged(text: str, tag: str) -> str:
    found = re.search(rf"<{tag}>\n(.*?)\n</{tag}>", text, re.S)
    return html.unescape(found[1]) if found else ""
