"""The stream: who asks for what, in which words, and what changed meanwhile. Seeded."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from bench.workload import world
from bench.workload.kinds import Task, tasks

ZIPF = 1.1
"""Exponent of the popularity of tasks: few are asked for all the time, many now and then."""
REWORDED = 0.25
"""Share of goals that are not asked in the usual words."""
CHANGED = 0.06
"""Share of goals before which an input of theirs has changed."""


@dataclass(frozen=True)
class Ask:
    """One goal of the stream."""

    task: Task
    goal: str
    generations: Mapping[str, int]
    """How often each input had changed when it was asked."""

    @property
    def identity(self) -> tuple[str, ...]:
        """The task and the state of its inputs: what has to be paid for at least once."""
        state = [f"{name}@{self.generations.get(name, 0)}" for name in self.task.inputs]
        values = [f"{k}={v}" for k, v in sorted(self.task.values.items())]
        return (self.task.kind.name, *values, *state)

    def inputs(self) -> dict[str, bytes]:
        """The input files as they were."""
        return world.files(self.generations)


def stream(goals: int, seed: int) -> list[Ask]:
    """That many goals; the same for the same seed."""
    dice = random.Random(seed)
    population = list(tasks())
    dice.shuffle(population)
    weights = [1 / rank**ZIPF for rank in range(1, len(population) + 1)]
    generations: dict[str, int] = {}
    asks = []
    for task in dice.choices(population, weights, k=goals):
        wording = 0
        if dice.random() < REWORDED:
            wording = dice.randrange(1, len(task.kind.wordings))
        if task.inputs and dice.random() < CHANGED:
            name = dice.choice(task.inputs)
            generations[name] = generations.get(name, 0) + 1
        asks.append(Ask(task, task.goal(wording), dict(generations)))
    return asks
