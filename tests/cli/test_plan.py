"""``llmos plan``: a plan as text, boxes and Mermaid."""

from __future__ import annotations

from llmos_cli.plan_render import drawing, mermaid, plan_lines
from llmos_workers.contracts.plan import PlanView


def row(id, goal, layer, **fields):  # noqa: A002 - the plan's name
    empty = {"agent": None, "inputs": [], "after": [], "outputs": [], "expects": ""}
    return empty | {"id": id, "goal": goal, "layer": layer} | fields


VIEW = PlanView(
    source="planner",
    steps=(
        row("draft", 'Write "a & b" into draft.md', 1, agent="writer", outputs=["draft.md"]),
        row("data", "Collect the figures", 1),
        row("end", "Join draft.md and the figures", 2, inputs=["draft"], after=["data"]),
    ),
)


def test_the_text_says_who_does_what_and_what_it_needs():
    said = "\n".join(plan_lines(VIEW))
    assert "3 steps, made by the planner" in said
    assert "agent: writer" in said
    assert "leaves: draft.md" in said
    assert "reads from: draft" in said
    assert "after: data" in said


def test_the_drawing_has_a_line_of_boxes_for_each_layer():
    drawn = drawing(VIEW.steps)
    heads = [n for n, line in enumerate(drawn) if line.startswith("| draft") or "| end" in line]
    assert "data" in drawn[heads[0]]
    assert drawn[heads[0] + 3].strip() == "|" or "v" in "".join(drawn[heads[0] : heads[1]])
    assert any("<- draft, data" in line for line in drawn)
    widths = {len(line) for line in drawn if line.startswith("+")}
    assert widths == {26, 54}


def test_mermaid_joins_files_by_lines_and_order_by_dots_and_quotes_nothing_raw():
    lines = mermaid(VIEW.steps)
    assert lines[0] == "flowchart TD"
    assert "    n_draft --> n_end" in lines
    assert "    n_data -.-> n_end" in lines
    assert any("#quot;a #amp; b#quot;" in line for line in lines)


def test_what_came_of_a_step_is_told():
    done = row("one", "Do it", 1, status="FAILED", mode="LEARNER", llm_calls=2, error="no disk")
    view = PlanView(source="abc", steps=(done,), missing=("one.txt is not there",))
    said = "\n".join(plan_lines(view))
    assert "known, trace abc" in said
    assert "came out: FAILED (LEARNER, 2 model calls): no disk" in said
    assert "missing: one.txt is not there" in said
