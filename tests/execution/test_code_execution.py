"""The endpoint's own programmatic tool calling, on the wire: code of the model calls our tools."""

from __future__ import annotations

import json

import pytest

from llmos_workers.config import LLMOSConfig
from llmos_workers.execution.hooks.base import ALLOW, Hook, HookAction, HookDecision, deny
from llmos_workers.execution.journal import RunJournal
from llmos_workers.execution.llm_contracts import ModelResponse, journal_entry
from llmos_workers.execution.tools.shelf import CODE_EXECUTION, ToolUse
from llmos_workers.rehearsal.brain import Reply
from llmos_workers.rehearsal.protocol import ApiFault, check_request
from llmos_workers.runtime_tools import tool_use_of
from tests.execution.agent_bench import plain
from tests.support.script import says, text, use

ON = ToolUse(references=True, code_execution=True)
CODE = {
    "type": "server_tool_use",
    "id": "srvtoolu_1",
    "name": "code_execution",
    "input": {"code": "for n in range(2): await Write(path=f'{n}.txt', content=str(n))"},
}
CALLER = {"type": "code_execution_20260120", "tool_id": "srvtoolu_1"}
"""The SDK knows callers of this version; those of a newer one are taken alike."""
NEWER = CALLER | {"type": CODE_EXECUTION}


def by_code(number: int, name: str, **arguments: str) -> dict[str, object]:
    return use(name, number, **arguments) | {"caller": CALLER}


FIRST = Reply(
    [text("I write both."), CODE, by_code(1, "Write", path="0.txt", content="0")], "tool_use"
)
SECOND = Reply([by_code(2, "Write", path="1.txt", content="1")], "tool_use")
RESULT = {
    "type": "code_execution_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": {
        "type": "code_execution_result",
        "stdout": "done",
        "stderr": "",
        "return_code": 0,
        "content": [],
    },
}
DONE = says(RESULT, text("Both are there."))


@pytest.mark.parametrize("stream", [True, False])
def test_code_calls_tools_until_it_ends(bench, area, stream):
    result = bench.run(FIRST, SECOND, DONE, use=ON, stream=stream)
    assert (result.error, result.text) == (None, "Both are there.")
    assert [(area / f"{n}.txt").read_text() for n in range(2)] == ["0", "1"]
    assert [(step.call.name, step.turn) for step in result.steps] == [("Write", 0), ("Write", 1)]


def test_who_may_call_a_tool_is_sent_and_the_container_comes_back(bench):
    bench.run(FIRST, SECOND, DONE, use=ON, grants={"Write"})
    first, second, third = bench.script.requests
    callers = {tool["name"]: tool.get("allowed_callers") for tool in first["tools"]}
    assert callers == {
        "Write": ["direct", CODE_EXECUTION],
        "run_sequence": None,
        "code_execution": None,
    }
    assert first["tools"][-1] == {"type": CODE_EXECUTION, "name": "code_execution"}
    assert second["tools"] == first["tools"]
    assert "container" not in first
    assert second["container"] == third["container"] != ""


@pytest.mark.filterwarnings("ignore:Pydantic serializer")
def test_the_blocks_of_code_go_back_unmodified(bench):
    newer = Reply(
        [CODE, by_code(1, "Write", path="a", content="1") | {"caller": NEWER}], "tool_use"
    )
    bench.run(newer, DONE, use=ON)
    assert bench.script.requests[-1]["messages"][1]["content"] == newer.content
    bench.run(FIRST, SECOND, DONE, use=ON)
    assert bench.script.requests[-1]["messages"][1]["content"] == FIRST.content
    assert bench.script.requests[-1]["messages"][3]["content"] == SECOND.content


def test_each_call_of_code_passes_the_gate(bench, area):
    class NoFirst(Hook):
        def pre_tool(self, event):
            return (
                deny("mine", "not this one") if event.call.arguments["path"] == "0.txt" else ALLOW
            )

    bench.run(FIRST, SECOND, DONE, use=ON, hooks=[NoFirst()])
    [told] = bench.last_message(1)
    assert (told["type"], told["is_error"]) == ("tool_result", True)
    assert not (area / "0.txt").exists()
    bench.run(
        Reply([CODE, by_code(1, "Bash", command="id")], "tool_use"), DONE, use=ON, grants={"Write"}
    )
    assert "no grant" in bench.last_message()[0]["content"]


def test_code_that_waits_is_told_results_only_and_words_follow_after_it(bench):
    class Says(Hook):
        def pre_tool(self, event):
            said = f"Mind {event.call.arguments['path']}."
            return HookDecision(HookAction.INJECT, context=said)

        def prompt(self, event):
            return HookDecision(HookAction.INJECT, context="Be brief.")

    direct = Reply([RESULT, use("Write", 3, path="2.txt", content="2")], "tool_use")
    bench.run(FIRST, SECOND, direct, says(text("ok")), use=ON, hooks=[Says()])
    kinds = [[block["type"] for block in bench.last_message(n)] for n in (1, 2)]
    assert kinds == [["tool_result"], ["tool_result"]]
    told = " ".join(block.get("text", "") for block in bench.last_message(3))
    assert all(f"Mind {n}.txt." in told for n in range(3))


def test_a_resumed_run_goes_on_in_its_container_and_repeats_no_call(bench, area):
    kept: list[bytes] = []
    bench.run(FIRST, SECOND, DONE, use=ON, journal=RunJournal(append=kept.append))
    (area / "0.txt").unlink()
    bought = [
        journal_entry(
            ModelResponse(
                content=reply.content, stop_reason="tool_use", usage={}, cost_micro=0, model="m",
                container="container_1",
            ),
            turn,
        )
        for turn, reply in enumerate((FIRST, SECOND))
    ]  # fmt: skip
    bench.script.requests.clear()
    bench.run(DONE, use=ON, journal=RunJournal([*bought, *kept]))
    [asked] = bench.script.requests
    assert asked["container"] == "container_1"
    assert not (area / "0.txt").exists()


def test_it_is_sent_to_anthropic_only_and_only_when_it_is_switched_on(bench):
    def offered(**execution) -> bool:
        config = LLMOSConfig.from_dict({"execution": execution, "sdk": {"base_url": None}})
        return tool_use_of(config, lambda: None).code_execution

    assert (offered(), offered(code_execution=True)) == (False, True)
    assert not offered(code_execution=True, tool_references="off")
    bench.run(says(text("ok")), use=ToolUse(references=True))
    assert CODE_EXECUTION not in json.dumps(bench.script.requests)


def request(*blocks: dict[str, object], **more: object) -> dict[str, object]:
    tools = [
        {"name": "Write", "input_schema": {}, "allowed_callers": [CODE_EXECUTION]},
        {"name": "code_execution", "type": CODE_EXECUTION},
    ]
    asked = [plain(block) for block in FIRST.content]
    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": asked},
        {"role": "user", "content": list(blocks)},
    ]
    return {"model": "m", "max_tokens": 9, "tools": tools, "messages": messages} | more


def test_the_stand_in_holds_requests_to_the_api_s_rules():
    answer = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok"}
    assert check_request(request(answer, container="c"))
    with pytest.raises(ApiFault, match="container"):
        check_request(request(answer))
    with pytest.raises(ApiFault, match="tool_result blocks only"):
        check_request(request(answer, text("and"), container="c"))
    alone = request(answer, container="c")
    alone["tools"] = alone["tools"][:1]
    with pytest.raises(ApiFault, match="allowed_callers"):
        check_request(alone)
