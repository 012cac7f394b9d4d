"""One goal all the way: submitted by the real client, run by real worker processes."""

import json

import pytest

from llmos_workers.contracts.modes import Mode

TIMEOUT = 60


def run(llmos, goal, project, **options):
    return llmos.submit(goal, project=project, **options).result(TIMEOUT)


def test_a_new_goal_is_learned_and_its_file_is_there(llmos, project, output):
    outcome = run(llmos, "Create a Python calculator", project)
    assert (outcome.status, outcome.mode) == ("SUCCEEDED", Mode.LEARNER)
    assert outcome.llm_calls > 1
    assert outcome.cost_micro > 0
    assert "def multiply" in (output / "calculator.py").read_text()
    assert [f.path for f in outcome.files] == ["calculator.py"]


def test_true_replay_never_calls_a_model(llmos, project, output, served):
    learned = run(llmos, "Create a Python calculator", project)
    (output / "calculator.py").unlink()
    before = served()
    again = run(llmos, "Create a Python calculator", project)
    assert (again.mode, again.llm_calls, again.cost_micro) == (Mode.FOLLOWER, 0, 0)
    assert again.trace_id == learned.learned_trace_id
    assert again.saved_micro == learned.cost_micro
    assert again.replayed_from
    assert (output / "calculator.py").is_file()
    assert served() == before


def test_three_wordings_of_one_goal_follow_one_trace(llmos, project):
    learned = run(llmos, "Create a Python calculator", project)
    for wording in ("Build a calculator in Python", "Make a calc tool using python"):
        outcome = run(llmos, wording, project)
        assert (outcome.mode, outcome.trace_id) == (Mode.FOLLOWER, learned.learned_trace_id)


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        ("Create a Python calculator", "Create a JavaScript calculator"),
        ("Convert people.csv to JSON", "Convert people.json to CSV"),
    ],
)
def test_look_alikes_are_learned_anew(llmos, project, output, known, asked):
    (output / "people.csv").write_text("name\nAda\n")
    (output / "people.json").write_text(json.dumps([{"name": "Ada"}]))
    assert run(llmos, known, project).ok
    outcome = run(llmos, asked, project)
    assert outcome.ok
    assert outcome.mode is Mode.LEARNER, outcome.reason


def test_another_value_gives_its_own_result(llmos, project, output):
    (output / "one.csv").write_text("name\nAda\n")
    (output / "two.csv").write_text("name\nGrace\n")
    assert run(llmos, "Convert one.csv to JSON", project).ok
    assert run(llmos, "Convert two.csv to JSON", project).ok
    assert json.loads((output / "one.json").read_text()) == [{"name": "Ada"}]
    assert json.loads((output / "two.json").read_text()) == [{"name": "Grace"}]


def test_a_changed_input_goes_back_to_the_model(llmos, project, output, served):
    (output / "one.csv").write_text("name\nAda\n")
    goal = "Convert one.csv to JSON"
    assert run(llmos, goal, project).mode is Mode.LEARNER
    assert run(llmos, goal, project).mode is Mode.FOLLOWER
    (output / "one.csv").write_text("name\nGrace\n")
    before = served()
    outcome = run(llmos, goal, project)
    assert outcome.mode in (Mode.LEARNER, Mode.MIXED)
    assert "one.csv" in outcome.reason
    assert served() > before
    assert json.loads((output / "one.json").read_text()) == [{"name": "Grace"}]
    assert run(llmos, goal, project).mode is Mode.FOLLOWER


def test_projects_do_not_see_each_others_traces(llmos, project):
    assert run(llmos, "Create a Python calculator", project).ok
    assert run(llmos, "Create a Python calculator", f"{project}-b").mode is Mode.LEARNER


def test_the_ledger_equals_the_model_servers_own_log(llmos, system, project):
    goal = f'Write a note "of {project}" to ledger.txt'  # no other test's calls are among these
    outcome = run(llmos, goal, project)
    entries = [e for e in llmos.token_economy.ledger(count=10_000) if e.goal_id == outcome.goal_id]
    charged = sum(e.micro for e in entries if e.kind == "settle")
    served = [entry for entry in system.rehearsal.log.entries() if entry.goal == goal]
    assert len(served) == outcome.llm_calls > 1
    assert charged == outcome.cost_micro == sum(entry.charged_micro for entry in served)


def test_a_dry_run_tells_and_does_nothing(llmos, project, output, served):
    before = served()
    outcome = run(llmos, "Create a Python calculator", project, dry_run=True)
    assert outcome.ok
    assert outcome.dry_run["mode"] == "LEARNER"
    assert outcome.dry_run["worst_cost_micro"] > 0
    assert not list(output.iterdir())
    assert served() == before


def test_a_dry_run_of_a_known_goal_names_its_files(llmos, project, output):
    assert run(llmos, "Create a Python calculator", project).ok
    outcome = run(llmos, "Create a Python calculator", project, dry_run=True)
    assert outcome.dry_run["mode"] == "FOLLOWER"
    assert outcome.dry_run["files"] == ["calculator.py"]
    assert outcome.dry_run["worst_cost_micro"] == 0


def test_events_tell_the_story_and_can_be_rejoined(llmos, project):
    handle = llmos.submit("Create a Python calculator", project=project)
    seen = list(handle.events(timeout=TIMEOUT))
    kinds = [event.kind for event in seen]
    assert {"state", "model_call", "tool_call", "tool_result"} <= set(kinds)
    decided = next(e.data for e in seen if e.data.get("state") == "DISPATCHED")
    assert decided["mode"] == "LEARNER"
    assert decided["reason"]
    middle = seen[len(seen) // 2].event_id
    rejoined = [e.event_id for e in handle.events(after=middle, timeout=TIMEOUT)]
    assert rejoined == [e.event_id for e in seen if e.event_id in set(rejoined)]
    assert rejoined[-1] == seen[-1].event_id


def test_a_goal_without_a_skill_fails_in_words_a_user_can_act_on(llmos, project):
    outcome = run(llmos, "Negotiate peace between two fictional planets", project)
    assert outcome.status == "FAILED"
    assert "scripted" in outcome.error.message
    assert "ANTHROPIC_API_KEY" in outcome.error.message
    assert run(llmos, "Negotiate peace between two fictional planets", project).mode is Mode.LEARNER
