"""Whether a goal is several is told from its structure: how often rightly, on labelled goals."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmos_workers.config import DispatcherConfig
from llmos_workers.learning.complexity import complexity

DATA = Path(__file__).parent / "data"
MANY = DispatcherConfig().complexity_threshold


def labelled(name: str) -> list[tuple[bool, str]]:
    """(complex, goal) of each line."""
    lines = (DATA / name).read_text().splitlines()
    pairs = (line.split(" | ", 1) for line in lines if line and not line.startswith("#"))
    return [(label == "complex", goal.replace("\\n", "\n")) for label, goal in pairs]


@pytest.mark.parametrize(
    ("name", "at_least", "least_right"),
    [("complexity.txt", 80, 0.95), ("complexity_held_out.txt", 30, 0.85)],
)
def test_the_rule_is_right_on_labelled_goals(name, at_least, least_right, capsys) -> None:
    goals = labelled(name)
    wrong = [goal for is_complex, goal in goals if (complexity(goal) >= MANY) != is_complex]
    right = 1 - len(wrong) / len(goals)
    with capsys.disabled():
        print(f"\n{name}: {right:.1%} of {len(goals)} goals right; wrong: {wrong}")
    assert len(goals) >= at_least
    assert right >= least_right


def test_goals_that_speak_of_large_things_are_not_large(capsys) -> None:
    assert complexity("Understand the research brand") < MANY
    assert complexity("Refactor A; migrate DB; deploy; notify team") >= MANY
    # A goal taken for several costs a plan; one that is not, a long run: no label leans one way.
    goals = labelled("complexity.txt")
    assert 0.4 < sum(is_complex for is_complex, _ in goals) / len(goals) < 0.6
