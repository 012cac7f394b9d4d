"""A model proposes one tool for several traces; what it proposes counts when it is proved."""

import json

import pytest

from llmos_workers.contracts.modes import Mode
from llmos_workers.flow.toolsmith import generalize_due, submit, submit_family
from llmos_workers.tasks.goals import _model_work
from llmos_workers.tasks.hops import leased_run
from tests.flow.conftest import PROJECT, Hop
from tests.support.script import calls, says, text, use

DONE = says(text("Done."))
FAMILY = {"drafts": 2, "notes": 3, "books": 5}
TEMPLATE = "Create {count} chapters in {folder}/ now"
SOURCE = '''"""Chapters in a folder."""


def create_chapters(*, count: int, folder: str) -> str:
    """Create chapters."""
    for number in range(1, count + 1):
        if number == 1:
            title = "Start"
        else:
            title = f"Chapter {number}"
        tools.call("Write", path=f"{folder}/{number}.md", content=f"# {title}\\n")
    return f"{count} chapters in {folder}"
'''


def goal(folder, count):
    return TEMPLATE.format(folder=folder, count=count)


def content(number):
    return "# Start\n" if number == 1 else f"# Chapter {number}\n"


def proposal(source=SOURCE, template=TEMPLATE, parameters=(("count", "int"), ("folder", "str"))):
    named = [{"name": name, "type": kind} for name, kind in parameters]
    answer = {"template": template, "parameters": named, "source": source}
    return says(text(json.dumps(answer)))


@pytest.fixture
def family(flow):
    """Three traces of one kind of goal, each with as many calls as its goal says."""
    for folder, count in FAMILY.items():
        writes = [
            use("Write", number, path=f"{folder}/{number}.md", content=content(number))
            for number in range(1, count + 1)
        ]
        flow.model(calls(*writes), DONE)
        assert flow.run(goal(folder, count), mode="LEARNER").ok
    yield [flow.trace(goal(folder, count)) for folder, count in FAMILY.items()]
    flow.runtime.runners.close()


def smith(flow, family, *replies):
    """The toolsmith's goal for a family, with a model that gives these replies."""
    script = flow.model(*replies)
    record = submit(flow.runtime, family)
    flow.receive(record)
    return leased_run(Hop(record.goal_id), flow.runtime, _model_work), script


def test_a_tool_with_a_loop_a_branch_and_two_typed_slots_is_proved_and_used(flow, family):
    outcome, script = smith(flow, family, proposal())
    assert outcome["status"] == "SUCCEEDED", outcome["error"]
    assert outcome["cost_micro"] > 0
    shown = json.dumps(script.requests[0]["messages"])
    held_out = family[-1].goal_text
    assert held_out not in shown, "the model does not see the case that it is tried with"
    tool = flow.runtime.generated.load("create_chapters_1")
    assert {p.name: p.type for p in tool.record.parameters} == {"count": "int", "folder": "str"}
    assert (tool.record.recorded, tool.record.unused) == (3, 5)
    listed = flow.runtime.components.find("create_chapters_1", PROJECT)
    assert (listed.kind, listed.uses) == ("tool", ("Write",))
    assert flow.runtime.components.tools("another-project") == []
    known = flow.run(goal("notes", 3))
    assert (known.mode, known.tool) == (Mode.CRYSTALLIZED, "create_chapters_1"), known.reason
    preview = flow.run(goal("poems", 7), dry_run=True).dry_run
    assert (preview["mode"], preview["files_known"], preview["files"]) == (
        "CRYSTALLIZED",
        False,
        [],
    )
    new = flow.run(goal("poems", 7))
    assert (new.mode, new.llm_calls) == (Mode.CRYSTALLIZED, 0), new.reason
    made = sorted(path.name for path in (flow.area / "poems").iterdir())
    assert made == [f"{number}.md" for number in range(1, 8)]
    assert (flow.area / "poems" / "1.md").read_text() == "# Start\n"
    assert (flow.area / "poems" / "7.md").read_text() == "# Chapter 7\n"


@pytest.mark.parametrize(
    "asked",
    [
        "Create 7 chapters in poems/ now, without headings",
        "Create 7 chapters in /etc/ now",
        "Create 7 chapters in ../poems/ now",
        "Create seven chapters in poems/ now",
        "Create 1 chapters in poems/ now",
        "Create 100000 chapters in poems/ now",
        "Create 7 chapters in a/poems/ now",
        "Create 7 sections in poems/ now",
    ],
)
def test_what_is_not_the_template_word_for_word_is_not_bound(flow, family, asked):
    outcome, _ = smith(flow, family, proposal())
    assert outcome["status"] == "SUCCEEDED", outcome["error"]
    decision = flow.dispatcher.decide(flow.submit(asked))
    assert decision.mode is not Mode.CRYSTALLIZED, decision.reason


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("range(1, count + 1)", "range(1, count)"), "other calls"),
        (("range(1, count + 1)", "range(1, min(count, 3) + 1)"), "other calls"),
        (('f"{folder}/{number}.md"', 'f"drafts/{number}.md"'), "other calls"),
        (('"Start"', '"Begin"'), "other calls"),
        (
            ("range(1, count + 1)", "range(1, count + 1 if count in [2, 3, 5] else 2)"),
            "it makes 1 calls, not 4",
        ),
        (("    for number", '    open("/etc/passwd")\n    for number'), "call of 'open'"),
    ],
    ids=["one short", "held out", "frozen", "other text", "unused number", "open"],
)
def test_a_proposal_that_errs_is_refused(flow, family, change, told):
    wrong = proposal(SOURCE.replace(*change))
    outcome, script = smith(flow, family, wrong)
    assert outcome["status"] == "FAILED"
    assert told in outcome["error"]["message"]
    assert len(script.requests) == 3
    assert told in json.dumps(script.requests[1]["messages"]), "it is told what was wrong"
    assert flow.runtime.generated.refs() == []


def test_a_second_answer_may_put_the_first_right(flow, family):
    wrong = proposal(SOURCE.replace("count + 1", "count"))
    outcome, script = smith(flow, family, wrong, proposal())
    assert outcome["status"] == "SUCCEEDED"
    assert outcome["llm_calls"] == len(script.requests) == 2


def test_a_call_that_fails_with_new_values_goes_to_a_model(flow, family):
    smith(flow, family, proposal())
    (flow.area / "poems").write_text("a file where a folder has to be")
    flow.model(DONE)
    outcome = flow.run(goal("poems", 7))
    assert outcome.mode is Mode.MIXED
    assert "its tool failed" in outcome.reason
    assert all(flow.trace(goal(*each)).crystallized_into_tool is None for each in FAMILY.items())


def test_feedback_against_a_wording_keeps_it_from_the_tool(flow, family):
    smith(flow, family, proposal())
    outcome = flow.run(goal("poems", 7))
    assert outcome.mode is Mode.CRYSTALLIZED
    flow.runtime.traces.add_veto(PROJECT, outcome.trace_id, goal("poems", 7))
    again = flow.dispatcher.decide(flow.submit(goal("poems", 7)))
    assert again.mode is not Mode.CRYSTALLIZED


def test_a_family_of_two_is_none(flow, family):
    outcome, script = smith(flow, family[:2], proposal())
    assert outcome["status"] == "FAILED"
    assert script.requests == []


@pytest.mark.parametrize("flow", [{"dispatcher": {"auto_crystallization": True}}], indirect=True)
def test_upkeep_submits_a_family_once(flow, family):
    assert generalize_due(flow.runtime) == "none due", "nobody has used them yet"
    assert generalize_due(flow.runtime) == "not now"
    for each in FAMILY.items():
        flow.run(goal(*each), mode="FOLLOWER")
    record = flow.runtime.goals.get(submit_family(flow.runtime))
    assert set(record.options.generalize) == {trace.trace_id for trace in family}
    assert record.options.budget_micro is not None
    assert submit_family(flow.runtime) == "none due"
