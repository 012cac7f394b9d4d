"""A planner, a summary's writer and a reviewer, scripted: a goal is split where it is written as
several jobs that scripts know; files that one job makes and another names join them.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from llmos_workers.contracts.rehearsal import (
    PLAN_MARKER,
    REVIEW_MARKER,
    SIGNATURE,
    SUMMARY_MARKER,
)
from llmos_workers.rehearsal.goal_text import GoalText
from llmos_workers.rehearsal.protocol import blocks_of
from llmos_workers.rehearsal.reply import Reply
from llmos_workers.rehearsal.skills import Extractor, Family, FileValue
from llmos_workers.rehearsal.templates import TemplateFailure
from llmos_workers.rehearsal.values import find

Recognise = Callable[[str], tuple[Family, dict[str, str]] | None]

Render = Callable[[str, dict[str, Any]], str]

_BREAK = re.compile(
    r"\s*(?:;|\n+(?:[-*•]|\d+[.)])?|\.(?=\s)|,)\s*(?:(?:and\s+)?then\s+|and\s+|finally\s+)?"
    r"|\s+(?:and\s+)?then\s+|\s+and\s+",
    re.IGNORECASE,
)
_LEAD = re.compile(r"^(?:(?:[-*•]|\d+[.)])\s*|first,?\s+)", re.IGNORECASE)
_TARGET = Extractor(file=FileValue(role="target"))


def planning_reply(
    request: dict[str, Any], goal: str, recognise: Recognise, render: Render
) -> Reply | None:
    """The answer to whoever plans, sums up or reviews; None for any other request."""
    system = request.get("system") or ""
    text = system if isinstance(system, str) else "".join(b.get("text", "") for b in system)
    if PLAN_MARKER in text:
        return _said(json.dumps({"steps": plan(goal, recognise, render)}), "planner")
    if SUMMARY_MARKER in text:
        done = sum(result["status"] == "SUCCEEDED" for result in _results(request))
        words = f"{done} of {len(_results(request))} parts are done."
        return _said(f"{words}\n\n{SIGNATURE}", "summary")
    if REVIEW_MARKER in text:
        return _said(json.dumps(_review(_results(request))), "review")
    return None


def plan(goal: str, recognise: Recognise, render: Render) -> list[dict[str, Any]]:
    """The steps of a goal; one, the goal as it stands, unless it is made of known jobs."""
    parts = jobs(goal, recognise)
    targets: dict[str, str] = {}
    steps = []
    for number, job in enumerate(parts, 1):
        step_id, files = f"s{number}", GoalText.parse(job).files
        target = _target(job, recognise(job), render)
        inputs = [targets[file] for file in files if file in targets and file != target]
        step = {
            "id": step_id,
            "goal": job,
            "agent": None,
            "inputs": list(dict.fromkeys(inputs)),
            "after": [],
            "outputs": [target] if target else [],
            "expects": f"{target} is there." if target else "",
        }
        steps.append(step)
        if target:
            targets[target] = step_id
    return steps


def _target(job: str, known: tuple[Family, dict[str, str]] | None, render: Render) -> str | None:
    """The file that a job leaves: the one it is said to go to, or that its script writes."""
    if known is None:
        return None
    family, values = known
    writes = (c.args.get("path") for turn in family.turns for c in turn.calls if c.tool == "Write")
    for path in writes:
        with suppress(TemplateFailure, LookupError, ValueError, TypeError):
            return render(str(path), {**values, "r": {}})
    return find(_TARGET, GoalText.parse(job), {})


def jobs(goal: str, recognise: Recognise) -> list[str]:
    """The known jobs that a goal is made of; the goal as it stands, when it is not."""
    text = _LEAD.sub("", goal.strip().rstrip("."))
    cuts = [(found.start(), found.end()) for found in _BREAK.finditer(text)]
    found: list[str] = []
    start = 0
    for stop, onward in [*cuts, (len(text), len(text))]:
        job = text[start:stop].strip()
        rest_begins = text[onward:].lstrip()
        # A cut counts where a known job ends and another one begins.
        if job and recognise(job) and (not rest_begins or _begins(rest_begins, cuts, recognise)):
            found.append(job[0].upper() + job[1:])
            start = onward
    whole = start >= len(text) and len(found) > 1
    return found if whole else [goal]


def _begins(rest: str, cuts: list[tuple[int, int]], recognise: Recognise) -> bool:
    """Whether a known job stands at the beginning of the text."""
    ends = [found.start() for found in _BREAK.finditer(rest)][: len(cuts)]
    return any(recognise(rest[:end].strip()) for end in [*ends, len(rest)] if end)


def _results(request: dict[str, Any]) -> list[dict[str, Any]]:
    text = "".join(str(block.get("text", "")) for block in blocks_of(request["messages"][0]))
    found = re.search(r"<results>\n(.*?)\n</results>", text, re.S)
    return [json.loads(html.unescape(line)) for line in found[1].splitlines()] if found else []


def _review(results: list[dict[str, Any]]) -> dict[str, Any]:
    missing = [f"{path} is not there" for result in results for path in result["absent"]]
    bad = [result["id"] for result in results if result["status"] != "SUCCEEDED"]
    missing += [f"step {step} was not done" for step in bad]
    return {"complete": not missing, "missing": missing, "repairs": []}


def _said(text: str, what: str) -> Reply:
    return Reply([{"type": "text", "text": text}], "end_turn", what)
