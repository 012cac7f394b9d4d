"""The agent loop: the real SDK over HTTP against a server that answers what a test wrote down,
real tools behind the real gate, the real ledger.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from llmos_workers.contracts.errors import (
    BudgetExceeded,
    Cancelled,
    DeadlineExceeded,
    LeaseLost,
    ToolDenied,
    WorkspaceUnwritable,
)
from llmos_workers.contracts.tools import Effect, ToolSpec
from llmos_workers.execution.agent import MAX_CONTINUATIONS
from llmos_workers.execution.hooks.base import ALLOW, Hook, HookAction, HookDecision, deny
from llmos_workers.execution.journal import RunJournal
from llmos_workers.execution.llm_contracts import ModelResponse, journal_entry
from llmos_workers.kernel.redact import shared
from llmos_workers.rehearsal.brain import Brain, Reply
from tests.execution.agent_bench import plain
from tests.rehearsal.conftest import MODEL
from tests.support.script import calls, says, text, use

WRITE = calls(text("I write."), use("Write", path="a.txt", content="one\n"))
DONE = says(text("Done."))


# --- every stop reason has its end -----------------------------------------------------------


@pytest.mark.parametrize("stop", ["end_turn", "stop_sequence"])
def test_an_answer_ends_the_run(bench, stop):
    result = bench.run(says(text(" It is done. "), stop=stop))
    assert (result.error, result.text, result.llm_calls) == (None, "It is done.", 1)
    assert result.cost_micro == bench.spent == bench.server.log.charged_micro > 0


def test_tools_and_model_take_turns_until_the_answer(bench, area):
    result = bench.run(
        WRITE,
        calls(use("Read", 2, path="a.txt"), use("Bash", 3, command="wc -l < a.txt")),
        says(text("One line.")),
    )
    assert result.error is None, result.error
    assert (result.text, result.llm_calls) == ("One line.", 3)
    assert (area / "a.txt").read_text() == "one\n"
    assert [(s.call.name, s.turn, s.ok) for s in result.steps] == [
        ("Write", 0, True),
        ("Read", 1, True),
        ("Bash", 1, True),
    ]
    first, second = bench.last_message()
    assert (first["tool_use_id"], second["tool_use_id"]) == ("toolu_2", "toolu_3")
    assert "one" in first["content"]
    assert second["content"].strip() == "1"


def test_a_text_cut_off_at_the_token_limit_is_gone_on_with(bench):
    result = bench.run(says(text("The first half, "), stop="max_tokens"), says(text("the rest.")))
    assert (result.error, result.text) == (None, "The first half, the rest.")
    assert "Go on" in bench.last_message()[0]["text"]


def test_half_a_sentence_before_a_call_is_no_part_of_the_answer(bench):
    result = bench.run(says(text("I will now"), stop="max_tokens"), WRITE, says(text("Done.")))
    assert (result.error, result.text) == (None, "Done.")


def test_a_call_cut_off_at_the_token_limit_is_not_run(bench, area):
    cut_off = says(
        text("I write."), use("Write", 7, path="half.txt", content="half"), stop="max_tokens"
    )
    result = bench.run(cut_off, WRITE, DONE)
    assert result.error is None
    assert not (area / "half.txt").exists()
    assert [s.call.arguments["path"] for s in result.steps] == ["a.txt"]
    told = bench.script.requests[1]["messages"][-1]["content"][0]
    assert (told["tool_use_id"], told["is_error"]) == ("toolu_7", True)
    assert "cut off" in told["content"]


def test_answers_that_are_cut_off_again_and_again_end_the_run(bench):
    result = bench.run(says(text("and then "), stop="max_tokens"), max_turns=20)
    assert result.error is not None
    assert result.error.kind == "TokenLimit"
    assert "max_tokens" in result.error.fix
    assert result.llm_calls == MAX_CONTINUATIONS + 1


def test_an_empty_answer_at_the_token_limit_does_not_break_the_conversation(bench):
    result = bench.run(says(stop="max_tokens"), DONE)
    assert (result.error, result.text) == (None, "Done.")


def test_a_paused_turn_is_gone_on_with(bench):
    result = bench.run(says(text("Thinking."), stop="pause_turn"), DONE)
    assert (result.error, result.text) == (None, "Done.")
    assert bench.script.requests[1]["messages"][1]["content"] == [text("Thinking.")]


def test_a_paused_turn_with_calls_runs_them(bench, area):
    result = bench.run(Reply(WRITE.content, "pause_turn"), DONE)
    assert result.error is None
    assert (area / "a.txt").exists()


@pytest.mark.parametrize(
    ("stop", "kind"),
    [
        ("refusal", "Refusal"),
        ("model_context_window_exceeded", "ContextExceeded"),
        ("brand_new_reason", "UnknownStop"),
    ],
)
def test_other_stops_end_the_run_with_what_was_done(bench, stop, kind):
    result = bench.run(WRITE, says(text("No more."), stop=stop))
    assert result.error is not None
    assert (result.error.kind, bool(result.error.message), bool(result.error.fix)) == (
        kind, True, True,
    )  # fmt: skip
    assert (len(result.steps), result.llm_calls) == (1, 2)
    assert result.cost_micro == bench.spent


def test_a_fault_of_the_server_s_own_making_is_handled_alike(bench):
    bench.server.faults.next("stop_reason:refusal")
    result = bench.run(DONE)
    assert result.error is not None
    assert "refused" in result.error.message


def test_a_stop_for_tools_without_a_call_is_an_unknown_stop(bench):
    result = bench.run(says(text("Hm."), stop="tool_use"))
    assert result.error is not None
    assert (result.error.kind, result.llm_calls) == ("UnknownStop", 1)


def test_calls_beside_an_end_of_turn_are_run_and_not_taken_as_done(bench, area):
    """Endpoints that speak the API loosely do not always say ``tool_use``."""
    result = bench.run(says(*WRITE.content, stop="end_turn"), DONE)
    assert (result.error, result.text) == (None, "Done.")
    assert (area / "a.txt").exists()


# --- limits ----------------------------------------------------------------------------------


def test_the_turn_limit_ends_the_run(bench):
    result = bench.run(WRITE, max_turns=2)
    assert result.error is not None
    assert (result.error.kind, result.llm_calls, len(result.steps)) == ("TurnLimit", 2, 2)


def test_a_budget_spent_in_mid_run_keeps_cost_and_steps(bench):
    def shut(kind: str, _data: dict[str, Any]) -> None:
        if kind == "tool_result":
            bench.economy.set_limit("global", bench.spent)

    bench.on_event = shut
    result = bench.run(WRITE, DONE)
    assert result.error is not None
    assert result.error.kind == "BudgetExceeded"
    assert len(result.steps) == 1
    assert result.cost_micro == bench.spent > 0
    assert len(bench.script.requests) == 1


def test_a_budget_too_small_from_the_start_is_a_refusal(bench):
    with pytest.raises(BudgetExceeded):
        bench.run(DONE, goal_budget_micro=1)
    assert (bench.script.requests, bench.spent) == ([], 0)


def raised_at(step: int, error: Exception) -> Callable[[], None]:
    """A ``before_step`` that stops the run before that step, counted from 0."""
    steps = itertools.count()

    def before_step() -> None:
        if next(steps) == step:
            raise error

    return before_step


@pytest.mark.parametrize("error", [Cancelled("stop."), DeadlineExceeded("late.")])
def test_a_cancel_or_deadline_between_turns_ends_the_run(bench, error):
    result = bench.run(WRITE, DONE, before_step=raised_at(2, error))
    assert result.error is not None
    assert result.error.kind == type(error).__name__
    assert (len(result.steps), result.llm_calls) == (1, 1)


def test_a_cancel_between_a_turn_s_calls_runs_no_further_one(bench, area):
    both = calls(
        use("Write", 1, path="a.txt", content="one\n"), use("Write", 2, path="b.txt", content="")
    )
    result = bench.run(both, DONE, before_step=raised_at(2, Cancelled("stop.")))
    assert result.error is not None
    assert (result.error.kind, len(result.steps), result.llm_calls) == ("Cancelled", 1, 1)
    assert (area / "a.txt").is_file()
    assert not (area / "b.txt").exists()


def test_a_cancel_seen_by_the_gateway_sends_nothing(bench):
    result = bench.run(DONE, cancelled=lambda: True)
    assert result.error is not None
    assert result.error.kind == "Cancelled"
    assert bench.script.requests == []


def test_a_lost_lease_is_raised_not_reported(bench):
    def before_step() -> None:
        raise LeaseLost("gone.")

    with pytest.raises(LeaseLost):
        bench.run(DONE, before_step=before_step)


# --- tools -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "grants", "words"),
    [
        (use("Fly", to="Rome"), None, "no tool 'Fly'"),
        (use("Bash", command="touch b"), {"Write"}, "no grant for Bash"),
        (use("Write", content="no path"), None, "path"),
        (use("Read", path="nothing.txt"), None, "nothing.txt"),
        (use("Bash", command="echo out; exit 3"), None, "exit code 3"),
    ],
    ids=["unknown", "ungranted", "malformed", "failed", "exit code"],
)
def test_a_call_that_fails_is_shown_to_the_model(bench, area, call, grants, words):
    result = bench.run(calls(call), DONE, grants=grants)
    assert result.error is None
    assert [step.ok for step in result.steps] == [False]
    (told,) = bench.last_message()
    assert told["is_error"]
    assert words in told["content"]
    assert not (area / "b").exists()


def test_only_granted_tools_are_offered(bench):
    bench.run(DONE, grants={"Write", "Read", "NoSuch"})
    assert [tool["name"] for tool in bench.script.requests[0]["tools"]] == [
        "Read",
        "Write",
        "run_sequence",
    ]


class Full:
    """A tool on a disk that is full."""

    spec = ToolSpec(
        name="Save",
        description="Save.",
        input_schema={"type": "object"},
        effect=Effect.IDEMPOTENT,
        informative=False,
    )

    def run(self, arguments, ctx):
        raise WorkspaceUnwritable("no space is left.")


def test_a_workspace_that_cannot_be_written_ends_the_run(bench, area):
    bench.registry.register(Full())
    grants = {"Save", "Write"}
    result = bench.run(calls(use("Save"), *WRITE.content[1:]), DONE, grants=grants)
    assert result.error is not None
    assert result.error.kind == "WorkspaceUnwritable"
    assert [step.call.name for step in result.steps] == ["Save"]
    assert (len(bench.script.requests), list(area.iterdir())) == (1, [])


# --- hooks -----------------------------------------------------------------------------------


class Tells(Hook):
    """Wants something said before a model call."""

    def prompt(self, event):
        assert event.prompt == "do it"
        return HookDecision(HookAction.INJECT, context="Be brief.")


class Stops(Hook):
    """Denies model calls once a call was made."""

    def __init__(self, free: int) -> None:
        self.free = free

    def prompt(self, event):
        self.free -= 1
        return ALLOW if self.free >= 0 else deny("quota", "no more calls today")


class Comments(Hook):
    """Has a word on every result."""

    def post_tool(self, event):
        return HookDecision(HookAction.INJECT, context=f"{event.call.name} was slow.")


def test_what_a_hook_injects_is_said_with_the_next_call(bench):
    bench.run(WRITE, DONE, hooks=[Tells()])
    first, second = bench.script.requests
    told = text('<hook name="Tells">\nBe brief.\n</hook>')
    assert plain(first["messages"][-1]["content"][-1]) == told
    assert first["messages"][0]["content"][0]["text"].endswith("</goal>")
    # It stays in the conversation, and is not said again.
    said = [plain(block) for message in second["messages"] for block in message["content"]]
    assert said.count(told) == 1


def test_a_hook_s_refusal_before_the_first_call_is_a_refusal(bench):
    with pytest.raises(ToolDenied, match="no more calls"):
        bench.run(DONE, hooks=[Stops(0)])
    assert bench.script.requests == []


def test_a_hook_s_refusal_in_mid_run_keeps_what_was_done(bench):
    result = bench.run(WRITE, DONE, hooks=[Stops(1)])
    assert result.error is not None
    assert result.error.kind == "ToolDenied"
    assert (len(result.steps), result.cost_micro) == (1, bench.spent)


def test_a_hook_s_word_on_a_result_reaches_the_model_once(bench):
    bench.run(WRITE, calls(use("Read", 2, path="a.txt")), DONE, hooks=[Comments()])
    said = json.dumps(bench.script.requests[-1]["messages"])
    assert (said.count("Write was slow."), said.count("Read was slow.")) == (1, 1)
    assert bench.context.injected == []


# --- the conversation ------------------------------------------------------------------------


def test_the_prefix_is_read_from_the_cache_from_the_second_turn_on(bench):
    result = bench.run(WRITE, calls(use("Read", 2, path="a.txt")), DONE)
    read = [e.usage["cache_read_input_tokens"] for e in bench.server.log.entries()]
    assert 0 < read[1] < read[2]
    assert result.usage.cache_read_tokens == sum(read)


def test_a_request_has_at_most_the_allowed_cache_marks(bench):
    bench.run(WRITE, calls(use("Read", 2, path="a.txt")), DONE)
    for request in bench.script.requests:
        assert json.dumps(request).count('"cache_control"') <= 4


@pytest.mark.parametrize("stream", [True, False])
def test_the_assistant_s_blocks_go_back_unmodified(bench, stream):
    bench.run(WRITE, DONE, stream=stream)
    assert bench.script.requests[1]["messages"][1] == {
        "role": "assistant",
        "content": WRITE.content,
    }


def test_blocks_of_kinds_the_loop_does_not_know_go_back_unmodified(bench):
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    hidden = {"type": "redacted_thinking", "data": "eHl6"}
    reply = calls(thought, hidden, use("Write", path="a.txt", content="one"))
    result = bench.run(reply, DONE, stream=False)
    assert result.text == "Done."
    assert bench.script.requests[1]["messages"][1]["content"] == reply.content


def test_secrets_that_tools_find_do_not_reach_the_prompt(bench, area):
    key, known = "sk-ant-" + "a1" * 20, "correct-horse-battery"
    shared().add(known)
    (area / "env").write_text(f"KEY={key}\nURL=redis://u:hunter22@h/0\nOTHER={known}\n")
    result = bench.run(calls(use("Read", path="env"), use("Bash", 2, command="cat env")), DONE)
    sent = json.dumps(bench.script.requests)
    assert [step.ok for step in result.steps] == [True, True]
    assert "OTHER=" in sent
    for secret in (key, known, "hunter22"):
        assert secret not in sent
        assert secret not in "".join(step.output for step in result.steps)


def test_a_real_script_of_the_rehearsal_model_runs_to_its_end(bench, served, area):
    served.brain = Brain(served.families())
    result = bench.run(goal="Create a Python calculator")
    assert result.error is None, result.error
    assert "def multiply" in (area / "calculator.py").read_text()


def test_a_goal_without_a_script_is_an_error_that_says_what_to_do(bench, served):
    served.brain = Brain(served.families())
    result = bench.run(goal="Negotiate peace between two planets")
    assert result.error is not None
    assert result.error.kind == "RehearsalFailure"
    assert "ANTHROPIC_API_KEY" in result.error.message


def test_events_tell_each_turn(bench):
    bench.run(WRITE, DONE)
    kinds = [kind for kind, _ in bench.events if kind != "text"]
    assert kinds == [
        "model_call", "model_response", "tool_call", "tool_result", "model_call", "model_response",
    ]  # fmt: skip


def test_nothing_paid_twice_a_resumed_run_asks_only_for_what_is_missing(bench):
    """The first run dies after its first turn; the second reads the journal."""
    kept: list[bytes] = []
    bench.run(WRITE, DONE)
    first = bench.script.requests[0]
    bought = ModelResponse(
        content=[use("Write", path="b.txt", content="two\n")],
        stop_reason="tool_use",
        usage={"input_tokens": 5, "output_tokens": 5},
        cost_micro=60,
        model=MODEL,
    )
    kept.append(journal_entry(bought, 0))
    spent, asked = bench.spent, len(bench.script.requests)
    result = bench.run(DONE, journal=RunJournal(kept, kept.append))
    assert result.error is None
    assert len(bench.script.requests) == asked + 1
    opening = bench.script.requests[-1]["messages"][0]["content"]
    assert plain(opening[0]) == plain(first["messages"][0]["content"][0])
    assert (result.llm_calls, result.text) == (2, "Done.")
    assert bench.spent - spent == result.cost_micro - bought.cost_micro
    assert (bench.context.tool.area / "b.txt").read_text() == "two\n"


def test_a_finished_call_is_not_run_again(bench):
    kept: list[bytes] = []
    journal = RunJournal(append=kept.append)
    bench.run(WRITE, DONE, journal=journal)
    target = bench.context.tool.area / "a.txt"
    target.write_text("changed by hand")
    response = ModelResponse(
        content=[WRITE.content[0], WRITE.content[1]],
        stop_reason="tool_use",
        usage={"input_tokens": 5, "output_tokens": 5},
        cost_micro=60,
        model=MODEL,
    )
    resumed = RunJournal([journal_entry(response, 0), *kept], kept.append)
    result = bench.run(DONE, journal=resumed)
    assert result.error is None
    assert target.read_text() == "changed by hand"
    assert [step.ok for step in result.steps] == [True]


class Says(Hook):
    """Tells something before the first call."""

    def __init__(self, words: str) -> None:
        self.words = words

    def prompt(self, event):
        return HookDecision(HookAction.INJECT, context=self.words) if not event.turn else ALLOW


def test_a_resumed_run_knows_what_hooks_told_the_run_before_it(bench):
    """What was bought was written under those words, whatever they are now."""
    bought = journal_entry(
        ModelResponse(content=WRITE.content, stop_reason="tool_use", usage={}, cost_micro=0,
                      model="m"), 0,
    )  # fmt: skip
    kept: list[bytes] = []
    bench.run(DONE, hooks=[Says("in CHF"), Comments()], journal=RunJournal(append=kept.append))
    told = RunJournal(kept).told
    assert [each.partition("@")[0] for each in told] == ["Says"]
    bench.run(DONE, hooks=[Says("in CHF")], journal=RunJournal([*kept, bought]))
    assert (tuple(bench.context.told), bench.context.told_later) == (told, [])
    bench.run(DONE, hooks=[Says("in EUR")], journal=RunJournal([*kept, bought]))
    assert len(bench.context.told_later) == 2, "the old words and the new ones"
    bench.run(DONE, hooks=[Says("in CHF")], journal=RunJournal([bought]))
    assert bench.context.told_later, "it had been told nothing"


def test_what_a_hook_said_of_a_call_is_known_to_a_run_that_reads_its_result(bench):
    kept: list[bytes] = []
    bench.run(WRITE, DONE, hooks=[Comments()], journal=RunJournal(append=kept.append))
    first = list(bench.context.told_later)
    assert first
    bought = journal_entry(
        ModelResponse(content=WRITE.content, stop_reason="tool_use", usage={}, cost_micro=0,
                      model="m"), 0,
    )  # fmt: skip
    bench.run(DONE, journal=RunJournal([bought, *kept]))
    assert bench.context.told_later == first
