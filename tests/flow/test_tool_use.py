"""What tools at scale mean for learning: examples from traces, programs as traces, taint."""

from __future__ import annotations

import pytest

from llmos_workers import llm_tool
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.state import TriggerType
from llmos_workers.kernel.gate_log import GateLog
from tests.support.script import calls, says, text, use

GOAL = "Note the colours of the flag in flag.txt"
WRITE = calls(use("Write", path="flag.txt", content="blue\n"))
DONE = says(text("Noted."))
PROGRAM = calls(
    use(
        "run_sequence",
        steps=[
            {
                "id": "w",
                "for_each": ["red", "blue"],
                "tool": "Write",
                "arguments": {"path": "${{ item }}.txt", "content": "${{ item }}\n"},
            }
        ],
        **{"return": "${{ w.ok }}"},
    )
)


def test_what_worked_is_sent_as_an_example_to_a_later_goal(flow):
    flow.model(WRITE, DONE)
    flow.run(GOAL)
    flow.runtime.__dict__.pop("examples", None)  # as ten minutes later
    script = flow.model(WRITE, DONE)
    flow.run("Something else altogether", mode="learner")
    blocks = {block["name"]: block for block in script.requests[0]["tools"]}
    assert '{"content": "blue\\n", "path": "flag.txt"}' in blocks["Write"]["description"]


def test_a_program_is_learned_as_its_calls_and_replayed_without_a_model(flow):
    flow.model(PROGRAM, DONE)
    flow.run(GOAL)
    trace = flow.trace(GOAL)
    assert [step.call.arguments["path"] for step in trace.steps] == ["red.txt", "blue.txt"]
    assert trace.proved
    again = flow.run(GOAL)
    assert (again.mode, again.llm_calls, again.status) == (Mode.FOLLOWER, 0, "SUCCEEDED")


def test_what_was_learned_from_the_words_of_others_is_tainted(flow):
    @llm_tool(effect="read")
    def hear(n: int) -> str:
        """Hear."""
        return "write blue"

    hear = hear.__class__(
        hear.spec.model_copy(update={"from_outside": True}), hear.function, hear.takes
    )
    flow.runtime.tools.register(hear)
    agents = flow.runtime.workspace.root / "agents"
    flow.runtime.agents.load_agents()
    (agents / "ear.md").write_text(
        "---\nname: ear\ndescription: hears\ntools: [hear, Write]\n---\nYou hear.\n"
    )
    flow.model(calls(use("hear", n=1)), WRITE, DONE)
    flow.run(GOAL, agent="ear")
    assert flow.trace(GOAL).tainted


def logged(flow) -> list[tuple[str, str, str]]:
    """(tool, decision, source) of all decisions, oldest first."""
    found = [entry.decision().record for entry in GateLog(flow.runtime.redis).newest()]
    return [(r.tool, r.decision.value, r.source) for r in reversed(found)]


def test_a_program_its_calls_and_its_proof_are_each_in_the_gate_s_log(flow):
    flow.model(PROGRAM, DONE)
    flow.run(GOAL)
    wrote = ("Write", "allow")
    made = logged(flow)
    assert made[:3] == [("run_sequence", "allow", "model"), (*wrote, "model"), (*wrote, "model")]
    assert set(made[3:]) == {(*wrote, "proof")}
    before = len(made)
    flow.run(GOAL)
    assert logged(flow)[before:] == [(*wrote, "trace")] * 2


def test_a_program_that_is_no_program_is_denied_on_record(flow):
    flow.model(calls(use("run_sequence", steps="none", **{"return": 1})), DONE)
    flow.run(GOAL)
    assert logged(flow) == [("run_sequence", "deny", "model")]


@pytest.mark.parametrize("flow", [{"execution": {"defer_threshold": 1}}], indirect=True)
def test_a_tool_that_was_searched_for_and_worked_is_a_discovery(flow):
    """Found alone is none: the state moves when the tool did its work."""

    @llm_tool(effect="read")
    def ring_bell(n: int) -> str:
        """Ring the bell of the house."""
        return "ding"

    flow.runtime.tools.register(ring_bell)
    flow.runtime.agents.load_agents()
    (flow.runtime.workspace.agents / "porter.md").write_text(
        "---\nname: porter\ndescription: rings\ntools: [ring_bell, Read]\n---\nYou ring.\n"
    )
    search = calls(use("search_tools", query="ring a bell"))
    flow.model(search, DONE)
    flow.run("Say when it rings", agent="porter")
    assert logged(flow)[0] == ("search_tools", "allow", "model")

    def felt() -> list[str]:
        return [each.last_trigger for each in flow.runtime.sentience.history("demo")]

    assert TriggerType.TOOL_DISCOVERY.value not in felt()
    flow.model(search, calls(use("ring_bell", 2, n=1)), DONE)
    flow.run("Ring it once", agent="porter")
    assert felt().count(TriggerType.TOOL_DISCOVERY.value) == 1
