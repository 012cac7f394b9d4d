"""What a plan asks of whoever makes agents: a specialist that is not there yet."""

from __future__ import annotations

from typing import Protocol

from llmos_workers.contracts.plan import PlanStep


class SpecialistMaker(Protocol):
    """Makes an agent for one step of a plan, under the rules for agents made by agents."""

    def make(self, name: str, step: PlanStep, project: str) -> bool:
        """Make the agent ``name``, fit for ``step``; whether it is there now. Its grants are never
        wider than the plan's. False where a policy forbids it.
        """
        ...
