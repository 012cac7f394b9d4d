"""A plan is checked before anything of it runs; as a trace it comes back as it was."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.contracts.plan import Plan, PlanStep
from llmos_workers.contracts.trace import Standing
from llmos_workers.learning.plan_trace import plan_blockers, plan_of_trace, trace_of_plan
from llmos_workers.learning.planning import BadPlan, PlanLimits, check_plan, layers, read_plan

GOAL = "Do all of it"
AGENTS = {"writer", "coder"}


def step(id: str, goal: str | None = None, **fields) -> PlanStep:  # noqa: A002 - the plan's name
    return PlanStep(id=id, goal=goal or f"Do {id}", **fields)


def faults_of(*steps: PlanStep, **limits) -> str:
    with pytest.raises(BadPlan) as bad:
        check_plan(Plan(steps=steps), PlanLimits(**limits), AGENTS, goal=GOAL)
    return "; ".join(bad.value.faults)


def sound(*steps: PlanStep, **limits) -> None:
    check_plan(Plan(steps=steps), PlanLimits(**limits), AGENTS, goal=GOAL)


def test_a_sound_plan_goes_in_layers_each_step_as_early_as_it_can() -> None:
    steps = (
        step("c", "Join a.md and b.md", inputs=("a", "b")),
        step("a", outputs=("a.md",)),
        step("b", outputs=("b.md",), agent="writer"),
        step("d", after=("a",)),
    )
    sound(*steps)
    assert [[s.id for s in row] for row in layers(Plan(steps=steps))] == [["a", "b"], ["c", "d"]]


@pytest.mark.parametrize(
    ("steps", "limits", "said"),
    [
        ((step("a"), step("a")), {}, "used twice"),
        ((step("a", inputs=("x",)), step("b")), {}, "needs 'x', which is no step"),
        ((step("a", after=("b",)), step("b", after=("a",))), {}, "wait for each other: a, b"),
        ((step("a", after=("a",)), step("b")), {}, "wait for each other: a"),
        ((), {}, "no steps"),
        ((step("a", agent="ghost"), step("b")), {}, "agent 'ghost', which is not there"),
        ((step("a", GOAL.upper()), step("b")), {}, "the whole goal again"),
        ((step("a", outputs=("../x",)), step("b")), {}, "no path in the project"),
        ((step("a", outputs=("/etc/x",)), step("b")), {}, "no path in the project"),
        (
            (step("a", outputs=("a.md",)), step("b", inputs=("a",))), {},
            "reads from a, and its goal names none of a.md",
        ),
        (tuple(step(f"s{n}") for n in range(5)), {"max_steps": 4}, "5 steps; at most 4"),
        (tuple(step(f"s{n}") for n in range(5)), {"max_width": 4}, "5 steps go at once"),
        (
            (step("a"), step("b", after=("a",)), step("c", after=("b",))), {"max_layers": 2},
            "3 steps wait for each other in a row",
        ),
        (
            (step("a"), step("b")), {"left_micro": 100, "step_micro": 60},
            "at most 1 steps fit",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_plan_is_said(steps, limits, said) -> None:
    assert said in faults_of(*steps, **limits)


def test_order_alone_needs_no_file() -> None:
    sound(step("a", outputs=("a.md",)), step("b", after=("a",)))
    sound(step("a"), step("b", inputs=("a",)))


@pytest.mark.parametrize(
    "text",
    ["", "no JSON", "[]", "{}", '{"steps": 3}', '{"steps": [{"id": "A!", "goal": "x"}]}',
     '{"steps": [{"id": "a", "goal": "  "}]}', json.dumps({"steps": [{"id": "a"}] * 300})],
)  # fmt: skip
def test_what_is_no_plan_is_refused_in_words(text) -> None:
    with pytest.raises(BadPlan) as bad:
        read_plan(text)
    assert bad.value.faults


IDS = st.sampled_from("abcdef")


@given(
    st.lists(
        st.tuples(IDS, st.sets(IDS, max_size=3)), min_size=1, max_size=6, unique_by=lambda p: p[0]
    )
)
def test_layers_hold_every_step_once_and_behind_what_it_needs(parts) -> None:
    plan = Plan(steps=tuple(step(each, after=tuple(sorted(needs))) for each, needs in parts))
    try:
        check_plan(plan, PlanLimits(), AGENTS, goal=GOAL)
    except BadPlan:
        return
    rows = layers(plan)
    at = {s.id: n for n, row in enumerate(rows) for s in row}
    assert sorted(at) == sorted(each for each, _ in parts)
    assert all(at[need] < at[s.id] for s in plan.steps for need in s.needs)


def a_trace(plan: Plan, **changes):
    trace = trace_of_plan(
        plan, GOAL, project="demo", goal_id="g", agent="system-agent", model="m",
        created_at="2026-01-01T00:00:00Z", cost_micro=5, duration_s=1.0, tainted=False, answer="ok",
    )  # fmt: skip
    return trace.model_copy(update={"standing": Standing.SIGNED} | changes)


def test_a_plan_comes_back_from_its_trace_as_it_was() -> None:
    plan = Plan(
        steps=(
            step("a", outputs=("a.md",), expects="a.md is there", agent="writer"),
            step("b", "Read a.md", inputs=("a",)),
        )
    )
    trace = a_trace(plan)
    assert plan_of_trace(trace) == plan
    assert trace.is_plan
    assert (trace.slots, trace.tools_used) == ((), ("delegate",))
    assert plan_blockers(trace, AGENTS) == ()


def test_a_known_plan_is_not_carried_out_blindly() -> None:
    plan = Plan(steps=(step("a", agent="writer"), step("b")))
    assert "its agent writer is gone" in plan_blockers(a_trace(plan), {"coder"})
    assert plan_blockers(a_trace(plan, standing=Standing.EDITED), AGENTS)
    assert plan_blockers(a_trace(plan, tainted=True), AGENTS)
    assert plan_blockers(a_trace(plan, failure_streak=2), AGENTS)
