"""The payload contract, kept with an app that has nothing but celery and redis."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.wait import wait_until

pytestmark = pytest.mark.process

HAIKU = "Write a haiku about queues"
NO_SKILL = "Negotiate peace between two fictional planets"
KEY = "sk-ant-api03-" + "Zx9" * 12


def test_the_environment_has_nothing_of_llmos(app):
    code = "from importlib.util import find_spec as f; print(f('llmos_workers'), f('msgpack'))"
    told = subprocess.check_output([app.python, "-c", code], cwd=app.folder, env=app.env)
    assert told == b"None None\n"


def test_a_success_is_json_under_the_task_id(app, llmos, project):
    task_id, outcome = app.run(goal=HAIKU, project=project)
    assert (outcome["goal_id"], outcome["status"]) == (task_id, "SUCCEEDED")
    assert [file["path"] for file in outcome["files"]] == ["haiku.txt"]
    assert llmos.get(task_id).outcome().model_dump(mode="json") == outcome
    _, again = app.run(goal=HAIKU, project=project)
    assert (again["mode"], again["cost_micro"]) == ("FOLLOWER", 0)


def test_the_program_of_the_payload_page_runs(app, system):
    page = (Path(__file__).parents[2] / "docs" / "payload.md").read_text()
    program, _sealed = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    program = program.replace("redis://localhost:6379", system.config.redis.url)
    told = subprocess.check_output([app.python, "-c", program], cwd=app.folder, env=app.env)
    assert told.startswith(b"SUCCEEDED ")


def test_an_id_of_the_apps_own_choice_is_the_goals_id(app, llmos, project):
    request = {"kwargs": {"goal": HAIKU, "project": project}, "task_id": f"mine/{project}"}
    ((task_id, outcome),) = app.call("run", [request])
    assert task_id == outcome["goal_id"] == llmos.get(f"mine/{project}").id


def test_a_failure_is_returned_not_raised(app, project):
    task_id, outcome = app.run(goal=NO_SKILL, project=project)
    assert (outcome["goal_id"], outcome["status"]) == (task_id, "FAILED")
    assert "ANTHROPIC_API_KEY" in outcome["error"]["message"]


REFUSED = {
    "unknown field": ({"kwargs": {"goal": HAIKU, "golas": 1}}, "'golas'"),
    "newer version": ({"kwargs": {"goal": HAIKU, "v": 2}}, "version 2"),
    "no goal": ({"kwargs": {}}, "'goal'"),
    "goal of spaces": ({"kwargs": {"goal": " "}}, ""),
    "zero budget": ({"kwargs": {"goal": HAIKU, "budget_usd": 0}}, "budget"),
    "budget of nothing": ({"kwargs": {"goal": HAIKU, "budget_usd": "NaN"}}, "budget"),
    "mode": ({"kwargs": {"goal": HAIKU, "mode": "warp"}}, "warp"),
    "positional": ({"args": [HAIKU]}, "kwargs"),
    "task id": ({"kwargs": {"goal": HAIKU}, "task_id": "with space"}, "task id"),
    "not ours to say": ({"kwargs": {"v": 1, "stored": True}}, ""),
}


def test_what_cannot_be_understood_is_rejected_in_words_and_not_raised(app):
    answers = app.call("run", [request for request, _ in REFUSED.values()])
    for (name, (_, words)), (task_id, outcome) in zip(REFUSED.items(), answers, strict=True):
        assert (outcome["goal_id"], outcome["status"]) == (task_id, "REJECTED"), name
        said = f"{outcome['error']['message']} {outcome['error']['fix']}"
        assert words in said, name
        assert outcome["error"]["kind"] != "InternalError", name


def test_a_budget_that_does_not_suffice_is_rejected(app, project):
    _, outcome = app.run(goal=HAIKU, project=project, budget_usd=0.000001)
    assert (outcome["status"], outcome["error"]["kind"]) == ("REJECTED", "BudgetExceeded")


def test_a_cancelled_goal_is_returned_not_raised(app, llmos, system, project):
    system.rehearsal.faults.next("stall:2")
    request = {"kwargs": {"goal": HAIKU, "project": project}}
    (goal_id,) = app.call("send", [request])
    wait_until(lambda: _state(llmos, goal_id) == "RUNNING", what="the goal runs")
    llmos.cancel(goal_id)
    assert app.call("get", [goal_id])[0][1]["status"] == "CANCELLED"


def _state(llmos, goal_id):
    return next((r.state.value for r in llmos.list(limit=50) if r.goal_id == goal_id), None)


def test_an_idempotency_key_makes_two_messages_one_goal(app, llmos, project):
    payload = {"goal": HAIKU, "project": project, "idempotency_key": f"once-{project}"}
    other = payload | {"goal": "Write a haiku about trains"}
    requests = [{"kwargs": payload}, {"kwargs": payload}]
    (first_id, first), (second_id, second) = app.call("run", requests)
    ((_, refused),) = app.call("run", [{"kwargs": other}])
    assert first_id != second_id
    assert first == second
    assert first["goal_id"] in (first_id, second_id)
    assert [r.goal_id for r in llmos.list(project=project)] == [first["goal_id"]]
    assert (refused["status"], refused["error"]["kind"]) == ("REJECTED", "InvalidOption")


@pytest.mark.parametrize("queue", ["plain", None], ids=["named queue", "default queue"])
@pytest.mark.usefixtures("own_worker")
def test_a_chord_joins_once_in_a_body_of_the_plain_app(app, results, project, queue):
    """All ways through the queues: two learn, one is refused, one has no skill, one replays."""
    app.run(goal=HAIKU, project=project)
    goals = [
        {"goal": HAIKU, "project": project},
        {"goal": "Write a haiku about trains to trains.txt", "project": project},
        {"goal": HAIKU, "project": project, "budget_usd": -1},
        {"goal": NO_SKILL, "project": project},
    ]
    counter = f"joined-{project}"
    answer = app.call("chord", {"goals": goals, "counter": counter, "queue": queue})
    statuses = ["SUCCEEDED", "SUCCEEDED", "REJECTED", "FAILED"]
    assert answer["joined"] == [list(pair) for pair in zip(answer["ids"], statuses, strict=True)]
    assert results.get(counter) == b"1"
    assert list(results.keys("celery-task-meta-*.[jt]")) == []


def test_a_group_gives_one_outcome_each(app, project):
    goals = [{"goal": goal, "project": project} for goal in (HAIKU, NO_SKILL, "")]
    answer = app.call("group", goals)
    assert [o["goal_id"] for o in answer["outcomes"]] == answer["ids"]
    assert [o["status"] for o in answer["outcomes"]] == ["SUCCEEDED", "FAILED", "REJECTED"]


@pytest.mark.usefixtures("own_worker")
def test_a_callback_of_the_plain_app_gets_the_outcome_once(app, results, project):
    goal = {"goal": HAIKU, "project": project}
    assert app.call("linked", {"goal": goal, "counter": f"l-{project}"})["status"] == "SUCCEEDED"
    wait_until(lambda: results.llen(f"l-{project}"), what="the callback ran")
    assert results.lrange(f"l-{project}", 0, -1) == [b"SUCCEEDED"]


def test_events_show_id_and_short_text_and_no_secret(app, system, project):
    text = f"Write a haiku about api_key={KEY} " + "and more of it " * 30
    payload = {"goal": text, "project": project, "metadata": {"password": KEY}}
    answer = app.call("watch", {"kwargs": payload})
    goal_id = answer["outcome"]["goal_id"]
    assert answer["outcome"]["status"] == "REJECTED", "a goal with a secret"
    received = [e for e in answer["events"] if e["type"] == "task-received"]
    assert {e["name"] for e in received} == {"llmos.goal"}
    for event in received:
        assert event["args"].startswith(f"({goal_id}: Write a haiku about api_key=")
        assert len(event["args"]) < 200
        assert event["kwargs"] == "{}"
    assert KEY not in json.dumps(answer["events"])
    for log in system.stack.log_folder.glob("*.log"):
        assert KEY not in log.read_text(), log.name
