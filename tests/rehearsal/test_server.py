"""The server speaks the Messages API: the official SDK is its client in every test."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import anthropic
import httpx2
import pytest

from llmos_workers.contracts.rehearsal import NO_SKILL_PREFIX, SIGNATURE, is_rehearsal_failure
from llmos_workers.rehearsal.log import read_log
from llmos_workers.rehearsal.protocol import canonical, tokens_of
from llmos_workers.rehearsal.server import RehearsalServer, usage_of
from tests.rehearsal.conftest import MODEL, TOOLS, ask, ask_streamed, client_of, tool, user
from tests.support.wait import wait_until

GOAL = "Create a Python calculator"


def body_of(message) -> dict:
    return message.to_dict() | {"id": None}


def test_first_turn_asks_for_a_tool(client):
    message = ask(client, GOAL)
    assert message.stop_reason == "tool_use"
    assert [b.name for b in message.content if b.type == "tool_use"] == ["Write"]


def test_a_goal_takes_several_turns_to_its_end(client):
    messages, seen = [user(GOAL)], []
    while True:
        answer = ask(client, GOAL, messages=messages)
        if answer.stop_reason == "end_turn":
            break
        call = next(b for b in answer.content if b.type == "tool_use")
        seen.append(call.name)
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "42.0"}
        messages += [{"role": "assistant", "content": answer.content}, user([result])]
    assert seen == ["Write", "Bash"]
    assert answer.content[0].text.endswith(SIGNATURE)


@pytest.mark.parametrize("goal", [GOAL, "Convert a.csv to JSON", "Ring the bells of Dover"])
def test_streamed_and_unstreamed_messages_are_equal(client, goal):
    assert body_of(ask_streamed(client, goal)) == body_of(ask(client, goal))


def test_usage_counts_the_real_text(client):
    message = ask(client, GOAL, system="Be brief.")
    parts = [["tool", t] for t in TOOLS]
    parts.append(["system", {"type": "text", "text": "Be brief."}])
    parts.append(["user", {"type": "text", "text": GOAL}])
    assert message.usage.input_tokens == tokens_of(sum(len(canonical(p)) for p in parts))
    written = [canonical(b.to_dict()) for b in message.content]
    assert message.usage.output_tokens == tokens_of(sum(map(len, written)))


def test_count_tokens_agrees_with_the_call(client):
    counted = client.messages.count_tokens(model=MODEL, messages=[user(GOAL)], tools=TOOLS)
    assert counted.input_tokens == ask(client, GOAL).usage.input_tokens


def test_a_cached_prefix_is_written_once_and_then_read(client):
    system = [{"type": "text", "text": "x" * 5000, "cache_control": {"type": "ephemeral"}}]
    first, second = (ask(client, goal, system=system).usage for goal in (GOAL, GOAL + "!"))
    assert first.cache_creation_input_tokens > 1250
    assert first.cache_read_input_tokens == 0
    assert second.cache_read_input_tokens == first.cache_creation_input_tokens
    assert second.cache_creation_input_tokens == 0


def test_a_moved_breakpoint_reads_what_was_there_and_writes_the_rest(client):
    mark = {"cache_control": {"type": "ephemeral"}}
    one = {"type": "text", "text": "a" * 400}
    first = ask(client, GOAL, messages=[user([one | mark])]).usage
    longer = [user([one, {"type": "text", "text": "b" * 400} | mark])]
    second = ask(client, GOAL, messages=longer).usage
    assert second.cache_read_input_tokens == first.cache_creation_input_tokens
    assert second.cache_creation_input_tokens > 100


def test_other_tools_drop_the_cache(client):
    system = [{"type": "text", "text": "x" * 5000, "cache_control": {"type": "ephemeral"}}]
    ask(client, GOAL, system=system)
    assert ask(client, GOAL, system=system, tools=TOOLS[:3]).usage.cache_read_input_tokens == 0


def test_a_cached_prefix_is_forgotten_after_five_minutes(server, client, monkeypatch):
    system = [{"type": "text", "text": "x" * 5000, "cache_control": {"type": "ephemeral"}}]
    ask(client, GOAL, system=system)
    server.cache.until = {key: until - 301 for key, until in server.cache.until.items()}
    assert ask(client, GOAL, system=system).usage.cache_read_input_tokens == 0


def test_one_hour_writes_are_counted_apart(client):
    control = {"type": "ephemeral", "ttl": "1h"}
    system = [{"type": "text", "text": "x" * 500, "cache_control": control}]
    created = ask(client, GOAL, system=system).usage.cache_creation
    assert created.ephemeral_1h_input_tokens > 100
    assert created.ephemeral_5m_input_tokens == 0


def test_an_answer_past_max_tokens_is_cut_there(client):
    message = ask(client, "Ring the bells of Dover", max_tokens=20)
    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens <= 20


def test_a_cut_answer_is_continued_where_it_stopped(client):
    goal, whole = "Ring the bells of Dover", ask(client, "Ring the bells of Dover")
    cut = ask(client, goal, max_tokens=20)
    messages = [user(goal), {"role": "assistant", "content": cut.content}, user("Go on.")]
    rest = ask(client, goal, messages=messages)
    assert cut.content[0].text + rest.content[0].text == whole.content[0].text


def test_an_unknown_goal_fails_in_words_to_act_on(client):
    text = ask(client, "Ring the bells of Dover").content[0].text
    assert text.startswith(NO_SKILL_PREFIX)
    assert is_rehearsal_failure(text)
    for word in ("not a language model", "ANTHROPIC_API_KEY", "base_url", "convert a CSV file"):
        assert word in text


def test_a_tool_that_is_not_offered_ends_the_script(client):
    text = ask(client, GOAL, tools=[tool("Read", "path")]).content[0].text
    assert text.startswith(NO_SKILL_PREFIX)
    assert "Write" in text


def test_a_failed_tool_ends_the_script(client):
    call = next(b for b in ask(client, GOAL).content if b.type == "tool_use")
    failed = {"type": "tool_result", "tool_use_id": call.id, "content": "disk full"}
    messages = [
        user(GOAL),
        {"role": "assistant", "content": [call]},
        user([failed | {"is_error": True}]),
    ]
    text = ask(client, GOAL, messages=messages).content[0].text
    assert is_rehearsal_failure(text)
    assert "disk full" in text


def test_it_says_everywhere_that_it_is_scripted(server, client):
    with urllib.request.urlopen(f"{server.url}/health") as answer:
        health = json.load(answer)
        assert "not an LLM" in answer.headers["server"]
    assert health["scripted"] is True
    assert "not a language model" in health["about"]
    raw = client.messages.with_raw_response.create(
        model=MODEL, max_tokens=10, messages=[user("hi")]
    )
    assert raw.headers["x-llmos-rehearsal"] == "scripted; not an LLM"
    assert server.log.entries()[-1].scripted


BAD = [
    ({"max_tokens": 0}, "max_tokens"),
    ({"messages": []}, "messages"),
    ({"tool_choice": {"type": "any"}}, "tool_choice"),
    ({"tool_choice": {"type": "tool", "name": "Read"}}, "tool_choice"),
    ({"messages": [user("a"), {"role": "assistant", "content": "b"}]}, "prefill"),
    ({"messages": [{"role": "assistant", "content": "b"}, user("a")]}, "first message"),
    ({"extra_body": {"temperature": 0.3}}, "temperature"),
    ({"extra_body": {"thinking": {"type": "enabled", "budget_tokens": 9}}}, "budget_tokens"),
    (
        {"messages": [user([{"type": "tool_result", "tool_use_id": "t1", "content": "x"}])]},
        "tool_result",
    ),
]


@pytest.mark.parametrize(("change", "word"), BAD)
def test_what_the_api_refuses_is_refused(client, change, word):
    with pytest.raises(anthropic.BadRequestError, match=word):
        ask(client, GOAL, **change)


def test_a_tool_use_without_its_result_is_refused(client):
    call = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "a"}}
    messages = [user("a"), {"role": "assistant", "content": [call]}, user("and?")]
    with pytest.raises(anthropic.BadRequestError, match="toolu_1"):
        ask(client, GOAL, messages=messages)


def test_older_models_may_be_forced_to_use_a_tool(client):
    message = ask(client, GOAL, model="claude-haiku-4-5", tool_choice={"type": "any"})
    assert message.stop_reason == "tool_use"


def test_missing_max_tokens_and_version_are_refused(server):
    def post(headers: dict, body: dict) -> httpx2.Response:
        return httpx2.post(f"{server.url}/v1/messages", headers=headers, json=body)

    request = {"model": MODEL, "messages": [user("a")]}
    assert "max_tokens" in post({"anthropic-version": "2026-10-21"}, request).text
    answer = post({}, request | {"max_tokens": 5})
    assert answer.status_code == 400
    assert "anthropic-version" in answer.text
    assert answer.headers["request-id"] == answer.json()["request_id"]


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(anthropic.NotFoundError, match="claude-9"):
        ask(client, GOAL, model="claude-9")


def test_a_wrong_key_is_refused_where_one_is_required():
    with RehearsalServer(api_key="right") as server:
        for key, error in (("right", None), ("wrong", anthropic.AuthenticationError)):
            with client_of(server.url, key) as client:
                if error is None:
                    assert ask(client, GOAL).stop_reason == "tool_use"
                else:
                    with pytest.raises(error):
                        ask(client, GOAL)


STATUS = {
    "bad_request": anthropic.BadRequestError,
    "unauthorized": anthropic.AuthenticationError,
    "rate_limit:7": anthropic.RateLimitError,
    "server_error": anthropic.InternalServerError,
}


@pytest.mark.parametrize("fault", STATUS)
@pytest.mark.parametrize("way", ["queue", "header", "metadata", "file"])
def test_error_statuses_on_request(tmp_path, fault, way):
    control = tmp_path / "faults"
    with (
        RehearsalServer(control_file=control) as server,
        client_of(server.url) as client,
    ):
        given: dict = {}
        if way == "queue":
            server.faults.next(fault)
        elif way == "header":
            given["extra_headers"] = {"x-rehearsal-fault": fault}
        elif way == "metadata":
            given["metadata"] = {"user_id": f"test; rehearsal-fault={fault}"}
        else:
            control.write_text(f"{fault}\n")
        with pytest.raises(STATUS[fault]) as caught:
            ask(client, GOAL, **given)
        if fault.startswith("rate_limit"):
            assert caught.value.response.headers["retry-after"] == "7"
        assert ask(client, GOAL).stop_reason == "tool_use"
        assert server.log.entries()[0].charged_micro == 0


def test_an_unknown_fault_is_an_error_at_once(server):
    with pytest.raises(ValueError, match="earthquake"):
        server.faults.next("earthquake")


def test_a_cut_stream_breaks_the_connection(server, client):
    server.faults.next("cut:4")
    with pytest.raises(httpx2.RemoteProtocolError):
        ask_streamed(client, GOAL)
    entry = server.log.entries()[-1]
    assert not entry.complete
    assert entry.stop_reason is None
    assert entry.charged_micro > 0


def test_a_stream_without_stop_reason_ends_quietly(server, client):
    server.faults.next("no_stop")
    assert ask_streamed(client, GOAL).stop_reason is None


def test_a_stalled_stream_lasts_until_the_client_leaves(server, client):
    server.faults.next("stall:3")
    with pytest.raises(httpx2.ReadTimeout):
        ask_streamed(client, GOAL, timeout=0.2)
    wait_until(server.log.entries, what="the broken answer is logged")
    assert server.log.entries()[-1].fault == "stall:3"


def test_a_held_stream_goes_on_when_released(server, client):
    server.faults.next("hold:2")
    with client.messages.stream(
        model=MODEL, max_tokens=4096, messages=[user(GOAL)], tools=TOOLS
    ) as stream:
        assert next(stream).type == "message_start"
        server.faults.release()
        assert stream.get_final_message().stop_reason == "tool_use"


def test_an_error_event_comes_in_mid_stream(server, client):
    server.faults.next("error_event:3")
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        ask_streamed(client, GOAL)


@pytest.mark.parametrize("reason", ["refusal", "pause_turn", "model_context_window_exceeded"])
def test_any_stop_reason_on_request(server, client, reason):
    server.faults.next(f"stop_reason:{reason}", f"stop_reason:{reason}")
    assert ask(client, GOAL).stop_reason == reason
    assert ask_streamed(client, GOAL).stop_reason == reason


def test_random_faults_come_again_with_the_same_seed():
    def run() -> list[str]:
        rates = {"overloaded": 0.3, "rate_limit:1": 0.3}
        with (
            RehearsalServer(fault_rates=rates, seed=5) as server,
            client_of(server.url) as client,
        ):
            for _ in range(12):
                try:
                    ask(client, GOAL)
                except anthropic.APIStatusError:
                    continue
            return [entry.fault for entry in server.log.entries()]

    first = run()
    assert first == run()
    assert {"", "overloaded", "rate_limit:1"} == set(first)


def test_the_log_file_holds_what_was_served_and_charged(tmp_path: Path):
    path = tmp_path / "served.jsonl"
    with (
        RehearsalServer(log_path=path) as server,
        client_of(server.url) as client,
    ):
        message = ask(client, GOAL)
        charged = server.prices.cost(MODEL, usage_of(message.usage.to_dict()))
    (entry,) = read_log(path)
    assert entry.charged_micro == charged > 0
    assert (entry.family, entry.turn, entry.stop_reason) == ("calculator-program", 0, "tool_use")
    assert entry.request_id == message._request_id
