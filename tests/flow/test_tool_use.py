"""What tools at scale mean for learning: examples from traces, programs as traces, taint."""

from __future__ import annotations

from llmos_workers import llm_tool
from llmos_workers.contracts.modes import Mode
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
