"""approvals, approve, deny."""

import pytest
import redis

from llmos_workers.contracts.approvals import RAISE_LIMIT, LimitRaise
from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.kernel.approvals import Approvals
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore


@pytest.fixture
def goal_id(run):
    return run("submit", "--no-wait", "write it", "--project", "p").out.strip()


@pytest.fixture
def asked(state, goal_id):
    call = ToolCall(name="Bash", arguments={"command": "rm \u202e -rf x"})
    return Approvals(state).request(goal_id, call, project="p", rule="destructive", reason="it is")


def test_what_waits_is_shown_with_the_whole_call(run, asked):
    out = run("approvals").out
    for part in (asked.approval_id, asked.goal_id, "Bash", "\\u{202E}", "destructive", "it is"):
        assert part in out
    assert "\u202e" not in out
    assert run("approvals", "--json").lines[0]["approval_id"] == asked.approval_id
    assert run("approvals", "--project", "other").out == "no requests for approval.\n"


def test_approve_says_what_was_allowed(run, asked):
    ran = run("approve", asked.approval_id, "--by", "eva", "--why", "fine")
    assert (ran.code, ran.out) == (0, f"approved: Bash of goal {asked.goal_id}, by eva.\n")
    assert run("approvals").out == "no requests for approval.\n"
    answered = run("approvals", "--goal", asked.goal_id)
    assert "by eva" in answered.out


def test_approve_says_which_limit_was_raised(run, goal_id, state):
    call = ToolCall(name=RAISE_LIMIT, arguments={"raise by": "$0.000250"})
    raises = LimitRaise(scope="project:p", window="day", micro=250)
    asked = Approvals(state).request(goal_id, call, project="p", raises=raises)
    run("budget", "set", "project:p", "1", "--window", "day")
    ran = run("approve", asked.approval_id, "--by", "eva")
    words = "approved: the limit of project:p for each day is raised by $0.000250, by eva.\n"
    assert (ran.code, ran.out) == (0, words)
    assert "$1.0003" in run("budget", "show", "--project", "p").out


def test_deny_needs_a_reason(run, asked):
    assert run("deny", asked.approval_id).code == 2
    ran = run("deny", asked.approval_id, "--why", "no", "--json")
    assert (ran.json["state"], ran.json["why"]) == ("denied", "no")
    ran = run("approve", asked.approval_id)
    assert ran.code == 1
    assert "already denied" in ran.err


@pytest.mark.parametrize("answer", [["approve"], ["deny", "--why", "no"]])
def test_an_answer_sends_the_waiting_goal_on_its_way(run, asked, state, redis_server, answer):
    goals = GoalStore(state, SystemClock())
    goals.transition(asked.goal_id, GoalState.WAITING_APPROVAL)
    with redis.Redis.from_url(f"{redis_server}/0") as broker:
        before = broker.llen("dispatch\x06\x163")
        run(*answer, asked.approval_id)
        assert goals.state(asked.goal_id) is GoalState.ACCEPTED
        assert broker.llen("dispatch\x06\x163") == before + 1


def test_unknown_ids_are_said(run, asked):
    ran = run("approve", asked.approval_id[:6])
    assert ran.code == 2
    assert "llmos approvals" in ran.err
    assert run("approvals", "--goal", "nobody").code == 2


def test_a_goals_events_tell_of_approvals(run, asked):
    run("approve", asked.approval_id)
    run("cancel", asked.goal_id)
    told = run("watch", asked.goal_id).err
    assert f"approval  requested: Bash ({asked.approval_id})" in told
    assert "approval  approved by" in told
