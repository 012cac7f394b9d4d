"""The goals of a chaos run, what each has to leave behind, and the scripts that do them.

What is expected follows from the goal's own values, never from what llmos recorded.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROJECTS = ("chaos-a", "chaos-b", "chaos-c", "chaos-d")
POOR = "chaos-poor"
"""A project whose limit is below what its goals would cost."""

POOR_LIMIT_MICRO = 250_000
BELL_AGENT = "bell-ringer"
SHARES = {"new": 24, "report": 12, "repeat": 26, "template": 20, "bell": 14, "poor": 4}
"""Goals of each kind, of a hundred."""

FAMILIES = {
    "note": """
name: chaos-note
short: write a note
example: Write the note "a b" to a.txt
all: [[note]]
values:
  text: {take: [{quote: 0}], required: true}
  file: {take: [{file: {ext: [txt]}}], required: true}
turns:
  - say: "I write {{ file }}."
    calls: [{id: write, tool: Write, args: {path: "{{ file }}", content: "{{ text }}\\n"}}]
answer: "The note is in {{ file }}."
""",
    "report": """
name: chaos-report
short: write a report and copy it
example: Draw up the report "a b" in a.txt and copy it
all: [[report]]
values:
  text: {take: [{quote: 0}], required: true}
  file: {take: [{file: {ext: [txt]}}], required: true}
turns:
  - calls: [{id: write, tool: Write, args: {path: "{{ file }}", content: "{{ text }}\\n"}}]
  - calls:
      - {id: copy, tool: Bash, args: {command: "sleep 0.2; cp {{ file }} copy-{{ file }}"}}
answer: "The report is in {{ file }}, its copy beside it."
""",
    "bell": """
name: chaos-bell
short: ring a bell outside, and write it down
example: Ring the bell "a b" and put a receipt into a.txt
all: [[bell]]
values:
  text: {take: [{quote: 0}], required: true}
  file: {take: [{file: {ext: [txt]}}], required: true}
turns:
  - calls: [{id: ring, tool: Ring, args: {bell: "{{ text }}"}}]
  - calls: [{id: write, tool: Write, args: {path: "{{ file }}", content: "{{ text }}\\n"}}]
answer: "The bell was rung; the receipt is in {{ file }}."
""",
}

AGENT = f"""\
---
name: {BELL_AGENT}
description: Rings bells outside of the project and writes receipts.
tools: [Ring, Write]
version: 1
---

You ring the bell that the goal names, once, and write its receipt.
"""


@dataclass(frozen=True)
class Planned:
    """A goal to submit, and what it has to leave."""

    number: int
    kind: str
    text: str
    project: str
    files: Mapping[str, str] = field(default_factory=dict)
    """Path in the project -> content, once the goal succeeded."""
    bell: str = ""
    """Name of the bell that it rings outside, once; empty: none."""
    mode: str | None = None
    agent: str | None = None


def plan(count: int, rng: random.Random) -> list[Planned]:
    """``count`` goals of all kinds, mixed."""
    kinds = [kind for kind, share in SHARES.items() for _ in range(share)]
    drawn = [kinds[number * len(kinds) // count] for number in range(count)]
    rng.shuffle(drawn)
    return [_goal(number, kind, rng) for number, kind in enumerate(drawn)]


def _goal(number: int, kind: str, rng: random.Random) -> Planned:
    project = PROJECTS[number % len(PROJECTS)]
    words = f"item {number} of {rng.randrange(10**6)}"
    if kind == "repeat":
        which = rng.randrange(3)
        words, file = f"standing order {which}", f"standing-{which}.txt"
        return Planned(number, kind, _note(words, file), project, {file: f"{words}\n"})
    file = f"{kind}-{number}.txt"
    files = {file: f"{words}\n"}
    if kind == "report":
        files[f"copy-{file}"] = files[file]
        text = f'Draw up the report "{words}" in {file} and copy it'
        # Every other one may follow what the first ones taught.
        return Planned(number, kind, text, project, files, mode=rng.choice(["LEARNER", None]))
    if kind == "bell":
        text = f'Ring the bell "{words}" and put a receipt into {file}'
        return Planned(number, kind, text, project, files, bell=words, agent=BELL_AGENT)
    mode = None if kind == "template" else "LEARNER"
    where = POOR if kind == "poor" else project
    return Planned(number, kind, _note(words, file), where, files, mode=mode)


def _note(words: str, file: str) -> str:
    return f'Write the note "{words}" to {file}'


def allowed_files(goals: Sequence[Planned]) -> dict[str, dict[str, str]]:
    """Project -> path -> the only content that may ever stand there."""
    allowed: dict[str, dict[str, str]] = {}
    for goal in goals:
        allowed.setdefault(goal.project, {}).update(goal.files)
    return allowed


def write_families(folder: Path) -> Path:
    """The scripts as files; returns their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in FAMILIES.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder
