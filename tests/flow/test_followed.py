"""What stands against a trace besides its files: another day, another agent."""

from llmos_workers.contracts.modes import Mode
from llmos_workers.kernel.clock import SystemClock
from tests.flow.test_prove import DONE, GOAL, bash, learn, put
from tests.support.script import says, text


class Tomorrow(SystemClock):
    def now(self):
        return super().now() + 86_400


def test_what_was_right_yesterday_is_asked_anew(flow, monkeypatch):
    goal = "Write what was sold today"
    learn(flow, put("sum.txt", "old\n"), goal=goal)
    monkeypatch.setattr(flow.runtime, "clock", Tomorrow())
    flow.model(DONE)
    assert flow.run(goal).mode is Mode.MIXED


def test_an_answer_about_a_moment_is_given_once(flow):
    for said in ("3.11", "3.14"):
        flow.model(says(text(said)))
        assert flow.run("What is the latest Python?").text == said


def test_a_goal_about_a_day_is_followed_that_day(flow):
    goal = "Write what was sold today"
    learn(flow, put("sum.txt", "old\n"), goal=goal)
    assert flow.run(goal).mode is Mode.FOLLOWER


def test_who_names_another_agent_gets_that_agents_work(flow):
    trace = learn(flow, put("sum.txt", "old\n"))
    assert trace.agent == "system-agent"
    assert flow.run(GOAL, agent="system-agent").mode is Mode.FOLLOWER
    assert flow.run(GOAL, agent="auto").mode is Mode.FOLLOWER
    flow.model(put("sum.txt", "new\n"), DONE)
    outcome = flow.run(GOAL, agent="writer")
    assert outcome.mode is Mode.MIXED
    assert "the agent system-agent did it, and writer is asked for" in outcome.reason
    assert flow.trace(GOAL).agent == "writer"


def test_an_agent_that_is_told_something_else_is_another_one(flow):
    learn(flow, bash("echo 1 > sum.txt"))
    path = flow.runtime.workspace.root / "agents/system-agent.md"
    old = path.read_text()
    path.write_text(old.replace("version: 1", "version: 1\nmax_turns: 7"))
    assert flow.run(GOAL).mode is Mode.FOLLOWER, "what it is granted it was not told"
    path.write_text(f"{old}\nAlways write in French.\n")
    flow.model(bash("echo un > sum.txt"), DONE)
    outcome = flow.run(GOAL)
    assert outcome.mode is Mode.MIXED
    assert "the instructions of the agent system-agent changed" in outcome.reason
    assert flow.run(GOAL).mode is Mode.FOLLOWER, "the run that went on made the next version"
    path.unlink()
    path.with_name("writer.md").write_text(old.replace("name: system-agent", "name: writer"))
    decision = flow.dispatcher.decide(flow.submit(GOAL, agent="writer"))
    assert decision.mode is Mode.MIXED


def test_explain_tells_what_stands_against_it(flow):
    learn(flow, put("sum.txt", "old\n"))
    record = flow.submit(GOAL, agent="writer")
    told = flow.dispatcher.preview(record, flow.dispatcher.decide(record))
    assert told["candidates"][0]["against"] == [
        "the agent system-agent did it, and writer is asked for"
    ]
