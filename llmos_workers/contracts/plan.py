"""A plan: the sub-goals of one goal, what each needs, and what it must leave behind."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints

from llmos_workers.contracts.base import Contract, Record

MAX_STEPS_READ = 200
"""More than any limit in force: a longer plan is not even looked at."""

StepId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2_000)]


class PlanStep(Contract):
    """One sub-goal; it becomes a goal of its own."""

    id: StepId
    goal: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8_000)]
    """What is to be done, whole in itself: nothing else of the plan is told to its agent."""
    agent: str | None = None
    """Who does it; None: whoever is the default."""
    inputs: tuple[StepId, ...] = ()
    """Steps whose files this one reads; it names at least one file of each."""
    after: tuple[StepId, ...] = ()
    """Steps that must be done before, though this one reads nothing of theirs."""
    outputs: tuple[Line, ...] = ()
    """Files that must be there when it is done."""
    expects: Line = ""
    """What must be true of the result, in a sentence."""

    @property
    def needs(self) -> tuple[str, ...]:
        """All steps that must be done before, each once."""
        return tuple(dict.fromkeys((*self.inputs, *self.after)))


class Plan(Contract):
    """The steps of a goal. That they are sound is said by learning.planning."""

    steps: tuple[PlanStep, ...] = Field(max_length=MAX_STEPS_READ)

    def step(self, step_id: str) -> PlanStep:
        """The step of that id. Raises KeyError."""
        for step in self.steps:
            if step.id == step_id:
                return step
        raise KeyError(step_id)


class PlanView(Record):
    """A plan as an outcome and the command line show it."""

    steps: tuple[dict[str, Any], ...] = ()
    """The steps' fields, with layer (from 1), and for what was begun goal_id, status, mode,
    llm_calls and error."""
    source: str = ""
    """planner, or the id of the trace that holds the plan."""
    repaired: int = 0
    """Steps that the reviewer added."""
    missing: tuple[str, ...] = ()
    """What is not there that should be."""
    review: str = ""
    """Who said that it is: reviewer, known parts, or why nobody did."""
