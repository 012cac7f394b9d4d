"""Calls with outside effects whose run was killed in the middle: nobody knows if they happened."""

from __future__ import annotations

from typing import Any

import pytest
from celery.exceptions import Ignore

from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.tools import Effect, ToolResult, ToolSpec
from llmos_workers.kernel import keys
from tests.support.script import calls, says, text, use

GOAL = "Deploy the site"
AGENT = "---\nname: deployer\ndescription: deploys\ntools: [Deploy, Write]\n---\nYou deploy.\n"
DEPLOY = calls(use("Deploy", 1, site="blue"))
DONE = says(text("Deployed."))


class Killed(BaseException):
    """The worker's end, in the middle of a call."""


class Deploy:
    """A tool whose effect is outside of every stage."""

    spec = ToolSpec(
        name="Deploy",
        description="Deploys a site.",
        input_schema={"type": "object", "properties": {"site": {"type": "string"}}},
        effect=Effect.EXTERNAL,
        informative=False,
    )

    def __init__(self) -> None:
        self.deployed = 0
        self.dies = False

    def run(self, _arguments: dict[str, Any], _ctx: Any) -> ToolResult:
        self.deployed += 1
        if self.dies:
            self.dies = False
            raise Killed
        return ToolResult(ok=True, output=f"deployed, number {self.deployed}")


@pytest.fixture
def deploy(flow):
    tool = Deploy()
    flow.runtime.tools.register(tool)
    flow.runtime.agents.load_agents()
    (flow.runtime.workspace.root / "agents" / "deployer.md").write_text(AGENT)
    return tool


def killed_in_a_call(flow, deploy, **options):
    """A goal whose run died while it deployed; its lease is over."""
    record = flow.submit(GOAL, agent="deployer", **options)
    flow.receive(record)
    deploy.dies = True
    with pytest.raises(Killed):
        flow.work(record)
    flow.runtime.redis.hset(keys.goal(record.goal_id), "lease_until", "1.0")
    return record


def asked(flow, record):
    with pytest.raises(Ignore):
        flow.work(record)
    assert flow.runtime.goals.state(record.goal_id) is GoalState.WAITING_APPROVAL
    (found,) = flow.runtime.approvals.pending()
    assert "may have happened already" in found.reason
    return found


def test_a_yes_runs_it_once_more(flow, deploy):
    script = flow.model(DEPLOY, DONE)
    record = killed_in_a_call(flow, deploy)
    question = asked(flow, record)
    assert deploy.deployed == 1
    flow.runtime.approvals.approve(question.approval_id, by="ann")
    flow.receive(record)
    outcome = flow.work(record)
    assert (outcome["status"], deploy.deployed, len(script.requests)) == ("SUCCEEDED", 2, 2)


def test_a_no_is_told_to_the_model(flow, deploy):
    script = flow.model(DEPLOY, DONE)
    record = killed_in_a_call(flow, deploy)
    flow.runtime.approvals.deny(asked(flow, record).approval_id, by="bob", why="it is up")
    flow.receive(record)
    flow.work(record)
    assert deploy.deployed == 1
    told = str(script.requests[-1]["messages"][-1])
    for part in ("whether it had its effect is not known", "bob said no: it is up"):
        assert part in told


def test_a_yes_to_the_question_is_none_to_another_call(flow, deploy):
    """The call that may run again is that one; the same call made anew runs as ever, once."""
    flow.model(DEPLOY, calls(use("Deploy", 2, site="blue")), DONE)
    record = killed_in_a_call(flow, deploy)
    flow.runtime.approvals.approve(asked(flow, record).approval_id)
    flow.receive(record)
    assert flow.work(record)["status"] == "SUCCEEDED"
    assert deploy.deployed == 3


@pytest.mark.parametrize("flow", [{"execution": {"on_doubt": "fail"}}], indirect=True)
def test_it_can_end_the_goal(flow, deploy):
    flow.model(DEPLOY, DONE)
    outcome = flow.work(killed_in_a_call(flow, deploy))
    assert (outcome["status"], outcome["error"]["kind"]) == ("FAILED", "CallInDoubt")
    assert deploy.deployed == 1


@pytest.mark.parametrize("flow", [{"execution": {"on_doubt": "retry"}}], indirect=True)
def test_it_can_be_run_again_without_a_question(flow, deploy):
    flow.model(DEPLOY, DONE)
    assert flow.work(killed_in_a_call(flow, deploy))["status"] == "SUCCEEDED"
    assert deploy.deployed == 2


def test_a_replay_asks_too_and_repeats_nothing_that_finished(flow, deploy):
    flow.model(calls(use("Deploy", 1, site="green")), DEPLOY, DONE)
    assert flow.run(GOAL, agent="deployer").ok
    trace = flow.runtime.traces.list("demo")[0]
    # As once it is proved; what makes it so is not this test's business.
    flow.runtime.traces.save_trace(trace.model_copy(update={"proved": True}))
    record = flow.submit(GOAL, agent="deployer")
    decision = flow.receive(record).decision
    assert decision.mode is Mode.FOLLOWER, decision.reason
    deploy.deployed, run = 0, deploy.run

    def second_dies(*given):
        deploy.dies = deploy.deployed == 1
        return run(*given)

    deploy.run = second_dies
    with pytest.raises(Killed):
        flow.work(record)
    deploy.run = run
    flow.runtime.redis.hset(keys.goal(record.goal_id), "lease_until", "1.0")
    flow.runtime.approvals.approve(asked(flow, record).approval_id)
    flow.receive(record)
    outcome = flow.work(record)
    assert (outcome["status"], outcome["mode"]) == ("SUCCEEDED", "FOLLOWER"), outcome["reason"]
    assert deploy.deployed == 3, "green once, blue twice"


def test_a_goal_that_waits_for_an_answer_wakes_at_its_deadline(flow, deploy):
    flow.model(DEPLOY, DONE)
    late = flow.runtime.clock.now() + 600
    record = killed_in_a_call(flow, deploy, deadline=late)
    asked(flow, record)
    assert flow.runtime.redis.zscore(keys.DELAYED, record.goal_id) == pytest.approx(late)
    assert flow.runtime.delayed.move_due(late - 1) == 0
