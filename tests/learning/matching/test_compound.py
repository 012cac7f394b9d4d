"""Goals of several parts, held against each other part by part."""

from __future__ import annotations

import pytest

from llmos_workers.contracts.plan import Plan, PlanStep
from llmos_workers.learning.matching.compare import compare
from llmos_workers.learning.matching.compound import Compound, hold_parts, parts_of
from llmos_workers.learning.matching.embedder import bundled_embedder
from llmos_workers.learning.plan_trace import trace_of_plan

GOAL = (
    "Write a haiku about rain into rain.md; write a haiku about snow into snow.md; "
    "copy rain.md to wet.md"
)
STEPS = tuple(
    PlanStep(id=f"s{n}", goal=text, outputs=(text.split()[-1],))
    for n, text in enumerate(GOAL.split("; "))
)
TRACE = trace_of_plan(
    Plan(steps=STEPS), GOAL, project="p", goal_id="g", agent="a", model="m", created_at="",
    cost_micro=1, duration_s=1.0, tainted=False, answer="",
)  # fmt: skip


def held(goal: str, reference: str = GOAL) -> Compound | None:
    embed = bundled_embedder().embed

    def compared(one: str, two: str):
        return compare(one, two, embed)

    return hold_parts(TRACE, reference, goal, compared, embed, threshold=0.92)


def bound(goal: str) -> dict[str, str] | None:
    """Changed values by what they stand for."""
    found = held(goal)
    if found is None:
        return None
    was = {slot.name: slot.value for slot in TRACE.slots}
    return {was[name]: new for name, new in found.slots.items() if new != was[name]}


@pytest.mark.parametrize(
    "goal",
    [
        GOAL.replace("; w", ". W").replace("; c", ". C"),
        "1. Write a haiku about rain into rain.md\n2. Write a haiku about snow into snow.md\n"
        "3. Copy rain.md to wet.md",
        "Please w" + GOAL[1:].replace("; copy", ", and copy"),
    ],
)
def test_the_same_parts_in_the_same_order_are_the_same_goal(goal: str) -> None:
    assert bound(goal) == {}


@pytest.mark.parametrize(
    "goal",
    [
        GOAL.replace("; copy", "; then copy"),
        "Copy rain.md to wet.md; write a haiku about rain into rain.md; "
        "write a haiku about snow into snow.md",
        GOAL + "; delete snow.md",
        GOAL.rsplit("; ", 1)[0],
        GOAL.replace("about rain", "about wind"),
        GOAL.replace("copy rain.md", "copy snow.md"),
        GOAL.replace("copy rain.md to wet.md", "copy wet.md to rain.md"),
        # What were two files is one.
        GOAL.replace("snow.md", "rain.md"),
        # One value, two values.
        GOAL.replace("copy rain.md", "copy storm.md"),
        GOAL.replace("rain.md", "../rain.md"),
        GOAL.replace("rain.md", "rain.py"),
    ],
)
def test_anything_else_is_not(goal: str) -> None:
    assert bound(goal) is None


def test_another_name_has_to_be_the_same_in_all_parts() -> None:
    assert bound(GOAL.replace("rain.md", "storm.md")) == {"rain.md": "storm.md"}
    both = GOAL.replace("rain.md", "storm.md").replace("wet.md", "w.md")
    assert bound(both) == {"rain.md": "storm.md", "wet.md": "w.md"}


def test_an_order_that_the_known_goal_asked_for_is_kept_for_those_who_do_not_ask() -> None:
    ordered = GOAL.replace("; copy", "; then copy")
    assert held(GOAL, reference=ordered) is not None
    assert held(ordered, reference=GOAL) is None


def test_names_that_trade_places_are_bound_as_they_stand() -> None:
    traded = GOAL.replace("rain.md", "X").replace("wet.md", "rain.md").replace("X", "wet.md")
    assert bound(traded) == {"rain.md": "wet.md", "wet.md": "rain.md"}


def test_parts_begin_with_their_verb() -> None:
    parts = parts_of("First, write x into a.md; then copy a.md to b.md, and convert b.csv to JSON.")
    assert [(part.text, part.after) for part in parts] == [
        ("write x into a.md", False),
        ("copy a.md to b.md", True),
        ("convert b.csv to JSON", False),
    ]
