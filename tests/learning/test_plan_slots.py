"""What of a plan may be another value: what its steps merely carry."""

from __future__ import annotations

from llmos_workers.contracts.plan import Plan, PlanStep
from llmos_workers.learning.plan_trace import plan_of_trace, trace_of_plan


def trace(goal: str, *steps: PlanStep):
    return trace_of_plan(
        Plan(steps=steps), goal, project="p", goal_id="g", agent="a", model="m",
        created_at="2026-01-01T00:00:00Z", cost_micro=1, duration_s=1.0, tainted=False, answer="",
    )  # fmt: skip


def values(of) -> set[str]:
    return {slot.value for slot in of.slots}


def step(name: str, goal: str, *outputs: str, **fields) -> PlanStep:
    return PlanStep(id=name, goal=goal, outputs=outputs, **fields)


def test_names_that_the_steps_carry_may_vary_and_reach_goals_outputs_and_expectations() -> None:
    made = trace(
        "Write a poem into a.md; copy a.md to b.md",
        step("a", "Write a poem into a.md", "a.md", expects="a.md is there."),
        step("b", "Copy a.md to b.md", "b.md", inputs=("a",)),
    )
    assert values(made) == {"a.md", "b.md"}
    named = {slot.value: slot.name for slot in made.slots}
    plan = plan_of_trace(made, {named["a.md"]: "x.md", named["b.md"]: "y.md"})
    assert [each.goal for each in plan.steps] == ["Write a poem into x.md", "Copy x.md to y.md"]
    assert [each.outputs for each in plan.steps] == [("x.md",), ("y.md",)]
    assert plan.steps[0].expects == "x.md is there."
    assert [each.id for each in plan.steps] == ["a", "b"]
    assert plan_of_trace(made) == Plan(
        steps=(
            step("a", "Write a poem into a.md", "a.md", expects="a.md is there."),
            step("b", "Copy a.md to b.md", "b.md", inputs=("a",)),
        )
    )


def test_a_name_that_other_names_were_made_from_may_not_vary() -> None:
    made = trace(
        "Summarize sales.csv; plot sales.csv into plot.png",
        step("a", "Summarize sales.csv into sales_summary.md", "sales_summary.md"),
        step("b", "Plot sales.csv into plot.png", "plot.png"),
    )
    assert values(made) == {"plot.png"}


def test_what_the_goal_says_itself_with_that_stem_is_no_obstacle() -> None:
    made = trace(
        "Write a haiku about rain into rain.md; copy rain.md to wet.md",
        step("a", "Write a haiku about rain into rain.md", "rain.md"),
        step("b", "Copy rain.md to wet.md", "wet.md"),
    )
    assert values(made) == {"rain.md", "wet.md"}


def test_numbers_and_dates_never_vary_for_they_may_be_the_plan_s_form() -> None:
    made = trace(
        "Write 3 chapters of a book by Monday; review all 3 into review.md",
        step("a", "Write chapter 1 of 3 by Monday"),
        step("b", "Review the 3 chapters into review.md", "review.md"),
    )
    assert values(made) == {"review.md"}


def test_a_value_that_no_step_has_as_the_goal_has_it_may_not_vary() -> None:
    made = trace(
        "Copy a.md to b.md; report to c.md",
        step("a", "Copy ./a.md.bak to b.md", "b.md"),
        step("b", "Report"),
    )
    assert values(made) == {"b.md"}


def test_a_plan_with_long_texts_of_its_own_has_no_slots() -> None:
    made = trace("Copy a.md to b.md; report", step("a", "Copy a.md to b.md " + "and look " * 60))
    assert made.slots == ()
