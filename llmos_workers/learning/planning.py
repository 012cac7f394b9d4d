"""Whether a plan is sound, and in which order its steps go. Pure.

The parts of a plan meet in files only, which their goals name: what a step depends on is in its
text and in files with digests, so that each part is learned and replayed like any other goal.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pydantic import ValidationError

from llmos_workers.contracts.errors import DataError
from llmos_workers.contracts.plan import Plan, PlanStep
from llmos_workers.learning.signature import goal_signature


class BadPlan(DataError):
    """A plan that cannot be carried out; ``faults`` says why, for whoever repairs it."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(f"the plan is not sound: {'; '.join(faults)}.")
        self.faults = tuple(faults)


@dataclass(frozen=True)
class PlanLimits:
    """What a plan must keep to."""

    max_steps: int = 20
    max_width: int = 8
    max_layers: int = 6
    left_micro: int | None = None
    """Money for all steps; None: without limit."""
    step_micro: int = 0
    """Least that a step has to have."""


def read_plan(text: str) -> Plan:
    """The plan in a planner's answer. Raises BadPlan when it is none."""
    try:
        return Plan.model_validate(json.loads(text))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[:5]
        faults = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in found]
        raise BadPlan(faults) from None
    except ValueError as error:
        raise BadPlan([f"it is not JSON ({error})"]) from None


def check_plan(
    plan: Plan, limits: PlanLimits, agents: Collection[str], *, goal: str, done: int = 0
) -> None:
    """Raise BadPlan unless the plan can be carried out. ``goal`` is the one it is for; ``done``:
    how many of its first steps are done already and cost nothing more.
    """
    faults = [
        *_of_ids(plan),
        *_of_steps(plan, agents, goal),
        *_of_files(plan),
        *_of_limits(plan, limits, done),
    ]
    if faults:
        raise BadPlan(faults)


def layers(plan: Plan) -> list[list[PlanStep]]:
    """The steps, each as early as it can go. Raises BadPlan for a cycle."""
    placed: dict[str, int] = {}
    left = list(plan.steps)
    found: list[list[PlanStep]] = []
    while left:
        ready = [step for step in left if all(need in placed for need in step.needs)]
        if not ready:
            raise BadPlan([f"steps wait for each other: {', '.join(step.id for step in left)}"])
        found.append(ready)
        placed |= {step.id: len(found) for step in ready}
        left = [step for step in left if step.id not in placed]
    return found


def _of_ids(plan: Plan) -> list[str]:
    ids = [step.id for step in plan.steps]
    faults = [f"step id {each!r} is used twice" for each in sorted(set(ids)) if ids.count(each) > 1]
    for step in plan.steps:
        faults += [
            f"step {step.id} needs {need!r}, which is no step"
            for need in step.needs
            if need not in ids
        ]
    if not plan.steps:
        faults.append("it has no steps")
    return faults


def _of_steps(plan: Plan, agents: Collection[str], goal: str) -> list[str]:
    faults = []
    whole, single = goal_signature(goal), len(plan.steps) == 1
    for step in plan.steps:
        if step.agent is not None and step.agent not in agents:
            faults.append(
                f"step {step.id} wants agent {step.agent!r}, which is not there "
                f"(there are: {', '.join(sorted(agents))})"
            )
        if not single and goal_signature(step.goal) == whole:
            faults.append(f"step {step.id} is the whole goal again")
    return faults


def _of_files(plan: Plan) -> list[str]:
    """Whether the steps meet in files that their goals name."""
    faults, makers = [], {step.id: step.outputs for step in plan.steps}
    for step in plan.steps:
        faults += [
            f"step {step.id} leaves {path!r}, which is no path in the project"
            for path in step.outputs
            if _leads_out(path)
        ]
        for need in step.inputs:
            files = makers.get(need, ())
            if files and not any(path in step.goal for path in files):
                faults.append(
                    f"step {step.id} reads from {need}, and its goal names none of "
                    f"{', '.join(files)}"
                )
    return faults


def _leads_out(path: str) -> bool:
    pure = PurePosixPath(path)
    return not path or pure.is_absolute() or ".." in pure.parts or "\\" in path


def _of_limits(plan: Plan, limits: PlanLimits, done: int) -> list[str]:
    faults = []
    count = len(plan.steps)
    if count > limits.max_steps:
        faults.append(f"it has {count} steps; at most {limits.max_steps} are allowed")
    try:
        found = layers(plan)
    except BadPlan as error:
        return [*faults, *error.faults] if not _of_ids(plan) else faults
    if len(found) > limits.max_layers:
        faults.append(
            f"{len(found)} steps wait for each other in a row; at most {limits.max_layers} may"
        )
    widest = max(map(len, found), default=0)
    if widest > limits.max_width:
        faults.append(f"{widest} steps go at once; at most {limits.max_width} may")
    if limits.left_micro is not None and (count - done) * limits.step_micro > limits.left_micro:
        room = limits.left_micro // limits.step_micro if limits.step_micro else count
        faults.append(
            f"{count - done} steps cost at least ${limits.step_micro / 1e6:.4f} each, and "
            f"${limits.left_micro / 1e6:.4f} is left: at most {room} steps fit"
        )
    return faults
