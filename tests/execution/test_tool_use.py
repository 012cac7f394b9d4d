"""Tool use that scales, on the wire: what is searched, found, shown as an example, run as a
program. The real SDK and loop against a server that answers what a test wrote down.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from llmos_workers.contracts.errors import ApprovalNeeded
from llmos_workers.contracts.tools import Effect, ToolSpec
from llmos_workers.execution.hooks.base import ALLOW, Hook, deny
from llmos_workers.execution.journal import RunJournal
from llmos_workers.execution.llm_contracts import ModelResponse, journal_entry
from llmos_workers.execution.tools.base import success
from llmos_workers.execution.tools.shelf import ToolUse
from tests.execution.agent_bench import Bench
from tests.support.script import calls, says, text, use

DONE = says(text("Done."))
BASIC = ("Read", "Write", "Glob")
NATIVE = ToolUse(references=True, defer_threshold=5, top_k=2)
PLAIN = ToolUse(references=False, defer_threshold=5, top_k=2)


@dataclass(frozen=True)
class Toy:
    spec: ToolSpec

    def run(self, arguments, ctx):
        return success(f"{self.spec.name} {arguments['text']}")


def toy(name: str, description: str) -> Toy:
    schema = {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
        "additionalProperties": False,
    }
    return Toy(
        ToolSpec(
            name=name,
            description=description,
            input_schema=schema,
            effect=Effect.READ,
            informative=True,
        )
    )


TOYS = [
    toy("weather_forecast", "Weather forecast of a place for the coming days."),
    toy("stripe_refund", "Give a customer the money of a payment back."),
    toy("jira_ticket", "Create a ticket in Jira."),
]
ALL = {*BASIC, *(made.spec.name for made in TOYS)}


@pytest.fixture
def many(bench: Bench) -> Bench:
    for made in TOYS:
        bench.registry.register(made)
    return bench


def names(request: dict[str, Any]) -> list[str]:
    return [block["name"] for block in request["tools"]]


def result_of(request: dict[str, Any]) -> str:
    return str(request["messages"][-1]["content"][0]["content"])


# --- tool search -----------------------------------------------------------------------------


def test_with_few_tools_nothing_is_deferred_and_nothing_to_search(bench):
    bench.run(DONE, grants=BASIC, use=NATIVE)
    request = bench.script.requests[0]
    assert names(request) == ["Glob", "Read", "Write", "run_sequence"]
    assert not any("defer_loading" in block for block in request["tools"])


SEARCH = calls(use("search_tools", query="refund a payment"))
REFUND = calls(use("stripe_refund", 2, text="p1"))


def test_where_references_are_known_a_search_answers_with_them(many):
    """The definitions are sent once, marked; the prompt before them stays the same."""
    result = many.run(SEARCH, REFUND, DONE, grants=ALL, use=NATIVE)
    first, second, _ = many.script.requests
    deferred = [block["name"] for block in first["tools"] if block.get("defer_loading")]
    assert deferred == ["jira_ticket", "stripe_refund", "weather_forecast"]
    assert second["tools"] == first["tools"]
    [answer] = second["messages"][-1]["content"]
    assert answer["content"][0] == {"type": "tool_reference", "tool_name": "stripe_refund"}
    assert [step.output for step in result.steps] == ["stripe_refund p1"]
    assert result.usage.cache_read_tokens > 0


def test_elsewhere_a_found_tool_joins_the_next_prompt_behind_what_was_there(many):
    many.run(SEARCH, REFUND, DONE, grants=ALL, use=PLAIN)
    first, second, third = many.script.requests
    assert names(first) == ["Glob", "Read", "Write", "search_tools", "run_sequence"]
    assert names(second) == [*names(first), "stripe_refund"]
    assert third["tools"] == second["tools"]
    assert "stripe_refund: Give a customer" in result_of(second)
    assert "defer_loading" not in json.dumps(first)


def test_deferred_tools_are_no_prompt_tokens_until_they_are_found(many):
    loaded = many.run(DONE, grants=ALL, use=ToolUse(search=False)).usage.total_tokens
    assert many.run(DONE, grants=ALL, use=NATIVE).usage.total_tokens < loaded + 130


def test_only_granted_tools_are_found(many):
    few = ToolUse(references=True, defer_threshold=4)
    many.run(SEARCH, DONE, grants={*BASIC, "jira_ticket", "weather_forecast"}, use=few)
    assert "stripe_refund" not in json.dumps(many.script.requests)


def test_a_tool_of_the_helping_trace_needs_no_search(many):
    done = many.run(REFUND, DONE, grants=ALL, use=NATIVE).steps
    many.script.requests.clear()
    many.run(DONE, grants=ALL, use=NATIVE, done=tuple(done))
    block = next(b for b in many.script.requests[0]["tools"] if b["name"] == "stripe_refund")
    assert "defer_loading" not in block


def test_a_resumed_run_finds_what_it_found_before(many):
    kept: list[bytes] = []
    many.run(SEARCH, DONE, grants=ALL, use=PLAIN, journal=RunJournal(append=kept.append))
    response = ModelResponse(
        content=SEARCH.content,
        stop_reason="tool_use",
        usage={},
        cost_micro=0,
        model="m",
    )
    journal = RunJournal([journal_entry(response, 0), *kept])
    many.script.requests.clear()
    many.run(DONE, grants=ALL, use=ToolUse(defer_threshold=5, top_k=1), journal=journal)
    assert "stripe_refund" in names(many.script.requests[0])


# --- examples --------------------------------------------------------------------------------

EXAMPLES = {"Glob": [{"pattern": "data/*.csv"}]}


def test_examples_are_sent_as_input_examples(bench):
    bench.run(DONE, grants=BASIC, use=NATIVE, examples=EXAMPLES)
    blocks = {block["name"]: block for block in bench.script.requests[0]["tools"]}
    assert blocks["Glob"]["input_examples"] == EXAMPLES["Glob"]
    assert "input_examples" not in blocks["Read"]


def test_elsewhere_examples_are_told_in_words(bench):
    bench.run(DONE, grants=BASIC, use=PLAIN, examples=EXAMPLES)
    blocks = {block["name"]: block for block in bench.script.requests[0]["tools"]}
    assert '{"pattern": "data/*.csv"}' in blocks["Glob"]["description"]
    assert "input_examples" not in blocks["Glob"]


# --- programs --------------------------------------------------------------------------------

PROGRAM = {
    "steps": [
        {"id": "files", "tool": "Glob", "arguments": {"pattern": "*.txt"}},
        {
            "id": "texts",
            "for_each": "${{ files.output | lines }}",
            "tool": "Read",
            "arguments": {"path": "${{ item }}"},
        },
        {
            "id": "bad",
            "filter": "${{ texts }}",
            "where": [{"left": "${{ item.output }}", "op": "contains", "right": "ERROR"}],
        },
        {
            "id": "report",
            "tool": "Write",
            "arguments": {"path": "bad.lst", "content": "${{ bad.item | join }}\n"},
        },
    ],
    "return": {"bad": "${{ bad.item }}", "read": "${{ texts | count }}"},
}
RUN = calls(use("run_sequence", **PROGRAM))


@pytest.fixture
def files(area):
    for number in range(4):
        (area / f"{number}.txt").write_text("ERROR\n" if number == 2 else f"secret {number}\n")
    return area


def test_a_program_runs_outside_of_the_context_and_returns_what_it_asks_for(bench, files):
    bench.run(RUN, DONE, grants=BASIC)
    assert json.loads(result_of(bench.script.requests[1])) == {"bad": ["2.txt"], "read": 4}
    assert "secret" not in json.dumps(bench.script.requests[1])
    assert (files / "bad.lst").read_text() == "2.txt\n"


def test_its_calls_are_steps_like_any_other_in_the_order_of_what_they_saw(bench, files):
    """A trace holds the calls, not the program; each step saw those before it, a loop's did not."""
    steps = bench.run(RUN, DONE, grants=BASIC).steps
    assert [step.call.name for step in steps] == ["Glob", *["Read"] * 4, "Write"]
    turns = [step.turn for step in steps]
    assert turns[0] < turns[1] == turns[4] < turns[5]
    assert steps[5].call.arguments == {"path": "bad.lst", "content": "2.txt\n"}


def test_each_call_of_a_program_passes_the_gate_under_the_same_grants(bench, files):
    class NoSecond(Hook):
        def pre_tool(self, event):
            path = event.call.arguments.get("path")
            return deny("mine", "not this one") if path == "1.txt" else ALLOW

    bench.run(RUN, DONE, grants=BASIC, hooks=[NoSecond()])
    assert "not this one" in result_of(bench.script.requests[1])
    bench.run(RUN, DONE, grants={"Glob", "Read"})
    assert "no grant for Write" in result_of(bench.script.requests[-1])
    assert not (files / "bad.lst").exists()


def test_a_resumed_program_repeats_no_call(bench, files):
    """It waited for a person in the middle; afterwards it goes on from there."""
    seen: list[str] = []

    class Look(Hook):
        def pre_tool(self, event):
            if event.call.name != "run_sequence":
                seen.append(event.call.arguments.get("path", "*"))
            return ALLOW

    def stop() -> None:
        if len(seen) == 3:
            raise ApprovalNeeded("wait", approval_id="a")

    bought = journal_entry(
        ModelResponse(
            content=RUN.content, stop_reason="tool_use", usage={}, cost_micro=0, model="m"
        ),
        0,
    )
    kept: list[bytes] = []
    first = RunJournal([bought], append=kept.append)
    with pytest.raises(ApprovalNeeded):
        bench.run(DONE, grants=BASIC, hooks=[Look()], journal=first, before_step=stop)
    bench.run(DONE, grants=BASIC, hooks=[Look()], journal=RunJournal([bought, *kept]))
    assert seen == ["*", "0.txt", "1.txt", "2.txt", "3.txt", "bad.lst"]


def test_a_program_without_end_is_refused(bench, files):
    endless = {
        "steps": [{"id": "a", "for_each": [1] * 30, "tool": "Glob", "arguments": {"pattern": "*"}}],
        "return": "",
    }
    bench.run(
        calls(use("run_sequence", **endless)), DONE, grants=BASIC, use=ToolUse(max_sequence_calls=9)
    )
    assert "more than 9 calls" in result_of(bench.script.requests[1])


# --- circles, side by side, long -------------------------------------------------------------

LOOK = use("Glob", pattern="*.none")


def test_the_same_call_is_made_twice_and_refused_the_third_time(bench):
    result = bench.run(calls(LOOK), calls(LOOK), calls(LOOK), DONE, grants=BASIC)
    assert len(result.steps) == 2
    assert "twice before" in result_of(bench.script.requests[3])
    assert result.error is None


def test_who_insists_on_it_is_stopped(bench):
    result = bench.run(calls(LOOK), grants=BASIC)
    assert result.error is not None
    assert (result.error.kind, result.llm_calls) == ("Loop", 4)


def test_a_call_between_that_changes_something_makes_it_worth_while_again(bench):
    write = (calls(use("Write", path="x", content=str(n))) for n in range(3))
    turns = [turn for one in write for turn in (calls(LOOK), one)]
    result = bench.run(*turns, DONE, grants=BASIC, max_turns=9)
    assert (result.error, len(result.steps)) == (None, 6)


def test_reads_of_one_turn_run_side_by_side(bench):
    """Each waits for the others, so that one after another they would never end."""
    import threading

    meeting = threading.Barrier(3)

    class Meet(Hook):
        def pre_tool(self, event):
            meeting.wait(timeout=20)
            return ALLOW

    reads = [use("Glob", n, pattern=f"{n}*") for n in range(3)]
    result = bench.run(calls(*reads), DONE, grants=BASIC, hooks=[Meet()])
    assert [step.ok for step in result.steps] == [True] * 3
    assert [step.call.arguments["pattern"] for step in result.steps] == ["0*", "1*", "2*"]


def test_a_long_conversation_loses_its_old_results(bench, area):
    (area / "big.txt").write_text(("many words " * 15 + "\n") * 100)
    reads = [calls(use("Read", n, path="big.txt", offset=n)) for n in range(1, 9)]
    result = bench.run(*reads, DONE, grants=BASIC, max_turns=12, use=ToolUse(compact_tokens=20_000))
    assert result.error is None
    sizes = [len(json.dumps(request["messages"])) for request in bench.script.requests]
    assert max(sizes) < 130_000
    last = json.dumps(bench.script.requests[-1]["messages"])
    assert "removed to save room" in last
    assert last.count("tool_use_id") == 8


def test_the_prompt_of_the_turn_before_is_read_from_the_cache(bench):
    looks = [calls(use("Glob", n, pattern=f"{n}*")) for n in range(3)]
    bench.run(*looks, DONE, grants=BASIC)
    served = bench.server.log.entries()
    reads = [request.usage["cache_read_input_tokens"] for request in served]
    fresh = [request.usage["cache_creation_input_tokens"] for request in served]
    assert reads[0] == 0
    assert all(read > 5 * new for read, new in zip(reads[1:], fresh[1:], strict=True))
