"""The gateway: the real SDK over HTTP against the rehearsal server, the real ledger on Redis."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis

from llmos_workers.config import SDKConfig
from llmos_workers.contracts.errors import (
    BudgetExceeded,
    Cancelled,
    DeadlineExceeded,
    LeaseLost,
    ModelRefusedRequest,
    ModelTransient,
    ModelUnauthorized,
    Overloaded,
    RateLimited,
    UnknownModel,
)
from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.execution.llm import (
    CallContext,
    ModelGateway,
    ModelRequest,
    journal_entry,
    read_journal_entry,
)
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.economy import TokenEconomy
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.prices import Prices
from llmos_workers.rehearsal.server import RehearsalServer
from tests.rehearsal.conftest import MODEL, TOOLS
from tests.support.wait import wait_until

GOAL = "Create a Python calculator"
LIMIT = 50_000_000
CLOCK = SystemClock()


@pytest.fixture(scope="module")
def served() -> Iterator[RehearsalServer]:
    with RehearsalServer() as running:
        yield running


@pytest.fixture
def server(served: RehearsalServer) -> RehearsalServer:
    served.log.clear()
    served.faults.clear()
    return served


@pytest.fixture
def economy(state: redis.Redis) -> TokenEconomy:
    return TokenEconomy(state, CLOCK, Prices.load(), limit_micro=LIMIT)


class Bench:
    """A gateway with what surrounds it."""

    def __init__(self, server: RehearsalServer, economy: TokenEconomy, **sdk) -> None:
        self.server, self.economy = server, economy
        self.waits: list[float] = []
        self.events: list[tuple[str, dict]] = []
        config = SDKConfig.model_validate({"base_url": server.url, "stall_secs": 5.0} | sdk)
        self.gateway = ModelGateway(config, economy, CLOCK, sleep=self.waits.append)
        self.context = CallContext(
            goal_id="g1", project="p1", on_event=lambda kind, data: self.events.append((kind, data))
        )

    def ask(self, text: str = GOAL, *, context: CallContext | None = None, **changes):
        given = {
            "model": MODEL,
            "max_tokens": 2000,
            "tools": TOOLS,
            "messages": [{"role": "user", "content": text}],
        }
        request = ModelRequest(**(given | changes))
        return self.gateway.complete(request, context or self.context)

    @property
    def charged(self) -> int:
        return sum(entry.charged_micro for entry in self.server.log.entries())

    @property
    def spent(self) -> int:
        return self.economy.scope("global")["spent"]

    @property
    def in_doubt(self) -> int:
        return self.economy.scope("global")["in_doubt"]


@pytest.fixture
def bench(server: RehearsalServer, economy: TokenEconomy) -> Iterator[Bench]:
    made = Bench(server, economy)
    yield made
    made.gateway.close()
    assert economy.scope("global")["reserved"] == 0


def test_a_call_is_answered_and_charged_as_the_server_charges(bench):
    response = bench.ask()
    assert response.stop_reason == "tool_use"
    assert [call.name for call in response.tool_uses] == ["Write"]
    assert response.cost_micro == bench.spent == bench.charged > 0
    assert response.request_id == bench.server.log.entries()[0].request_id


@pytest.mark.parametrize("goal", [GOAL, "Ring the bells of Dover"])
def test_streamed_and_unstreamed_responses_are_equal(server, economy, goal):
    answers = []
    for streaming in (True, False):
        bench = Bench(server, economy, enable_streaming=streaming)
        answers.append(bench.ask(goal).model_copy(update={"request_id": ""}))
        bench.gateway.close()
        assert server.log.entries()[-1].stream is streaming
    assert answers[0] == answers[1]


def test_long_answers_are_streamed_whatever_is_configured(server, economy):
    bench = Bench(server, economy, enable_streaming=False)
    bench.ask(max_tokens=30_000)
    bench.gateway.close()
    assert server.log.entries()[-1].stream


REASONS = ["end_turn", "stop_sequence", "pause_turn", "refusal", "model_context_window_exceeded"]


@pytest.mark.parametrize("reason", REASONS)
def test_every_stop_reason_comes_through_and_is_paid(bench, reason):
    bench.server.faults.next(f"stop_reason:{reason}")
    assert bench.ask().stop_reason == reason
    assert bench.spent == bench.charged > 0


def test_an_answer_cut_at_max_tokens_says_so(bench):
    assert bench.ask("Ring the bells of Dover", max_tokens=20).stop_reason == "max_tokens"


def test_cached_input_is_charged_at_its_own_price(bench):
    system = [{"type": "text", "text": "s" * 9000, "cache_control": {"type": "ephemeral"}}]
    first, second = (bench.ask(system=system, turn=turn) for turn in range(2))
    assert first.usage.cache_write_5m_tokens > 2000
    assert second.usage.cache_read_tokens > 2000
    assert second.cost_micro < first.cost_micro
    assert bench.spent == bench.charged


FINAL = {
    "bad_request": ModelRefusedRequest,
    "too_large": ModelRefusedRequest,
    "unauthorized": ModelUnauthorized,
    "forbidden": ModelUnauthorized,
    "not_found": UnknownModel,
    "spend_limit": ModelRefusedRequest,
}


@pytest.mark.parametrize("fault", FINAL)
def test_a_refusal_is_final_and_costs_nothing(bench, fault):
    bench.server.faults.next(fault)
    with pytest.raises(FINAL[fault]):
        bench.ask()
    assert len(bench.server.log.entries()) == 1
    assert (bench.spent, bench.in_doubt) == (0, 0)


def test_a_refused_request_keeps_the_endpoints_own_words(bench):
    with pytest.raises(ModelRefusedRequest, match="first message must use the 'user' role"):
        bench.ask(
            messages=[{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]
        )


@pytest.mark.parametrize("fault", ["rate_limit:2", "overloaded:2"])
def test_a_short_limit_is_waited_out_and_tried_again(bench, fault):
    bench.server.faults.next(fault, fault)
    assert bench.ask().stop_reason == "tool_use"
    assert sum(bench.waits) == pytest.approx(4)
    assert bench.spent == bench.charged
    assert [kind for kind, _ in bench.events].count("model_retry") == 2


def test_each_attempt_is_a_reservation_of_its_own(bench):
    bench.server.faults.next("overloaded", "rate_limit:1")
    bench.ask()
    settled = [entry for entry in bench.economy.ledger() if entry.kind == "settle"]
    assert len(settled) == 3
    assert sorted(entry.micro for entry in settled)[:2] == [0, 0]


@pytest.mark.parametrize(
    ("fault", "error"), [("rate_limit:1", RateLimited), ("overloaded:1", Overloaded)]
)
def test_a_limit_that_lasts_is_the_queues_business(bench, fault, error):
    bench.server.faults.next(fault, fault, fault)
    with pytest.raises(error) as caught:
        bench.ask()
    assert caught.value.retry_after == 1
    assert len(bench.server.log.entries()) == 3


def test_a_long_retry_after_is_not_waited_for(bench):
    bench.server.faults.next("rate_limit:60")
    with pytest.raises(RateLimited):
        bench.ask()
    assert bench.waits == []


BROKEN = ["cut:0", "cut:1", "cut:4", "no_stop", "lost", "error_event:3", "server_error"]


@pytest.mark.parametrize("fault", BROKEN)
def test_an_answer_that_breaks_off_is_in_doubt_and_asked_again(bench, fault):
    bench.server.faults.next(fault)
    response = bench.ask()
    assert response.stop_reason == "tool_use"
    assert bench.spent == response.cost_micro
    assert len(bench.economy.doubts()) == 1
    broken = bench.charged - response.cost_micro
    assert 0 <= broken < bench.in_doubt


@pytest.mark.parametrize("fault", ["cut:0", "lost", "server_error"])
def test_an_unstreamed_answer_that_is_lost_is_in_doubt(server, economy, fault):
    bench = Bench(server, economy, enable_streaming=False, max_attempts=1)
    server.faults.next(fault)
    with pytest.raises(ModelTransient):
        bench.ask()
    bench.gateway.close()
    assert len(economy.doubts()) == 1


def test_a_silent_stream_is_given_up(server, economy):
    bench = Bench(server, economy, stall_secs=0.3, max_attempts=1)
    server.faults.next("stall:3")
    with pytest.raises(ModelTransient, match="silent"):
        bench.ask()
    bench.gateway.close()
    assert len(economy.doubts()) == 1


def test_attempts_end(server, economy):
    bench = Bench(server, economy, max_attempts=2)
    server.faults.next("cut:2", "cut:2", "cut:2")
    with pytest.raises(ModelTransient):
        bench.ask()
    bench.gateway.close()
    assert len(economy.doubts()) == 2


def test_an_endpoint_that_is_not_there_costs_nothing(server, economy):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        bench = Bench(server, economy, base_url=url, max_attempts=2)
        with pytest.raises(ModelTransient, match="cannot be reached"):
            bench.ask()
        bench.gateway.close()
    assert economy.scope("global")["spent"] == 0
    assert economy.reservations() == []
    assert economy.ledger() == []


def test_a_reservation_is_marked_sent_before_the_request_arrives(bench):
    """The server holds the answer; the reservation must be 'sent' by then."""
    bench.server.faults.next("hold:0")
    thread = threading.Thread(target=bench.ask)
    thread.start()
    try:
        states = wait_until(
            lambda: [r.state for r in bench.economy.reservations() if r.state == "sent"],
            what="the reservation is sent",
        )
        assert states == ["sent"]
    finally:
        bench.server.faults.release()
        thread.join()


@pytest.mark.timeout(30)
def test_a_cancelled_goal_hangs_up_on_a_silent_stream(server, economy):
    bench, cancel = Bench(server, economy, stall_secs=60), threading.Event()

    def on_event(kind: str, data: dict) -> None:
        cancel.set()

    # The text block is whole before the silence begins: the event cancels the goal.
    bench.server.faults.next("stall:6")
    context = replace(bench.context, cancelled=cancel.is_set, on_event=on_event)
    with pytest.raises(Cancelled):
        bench.ask(context=context)
    assert len(bench.economy.doubts()) == 1
    wait_until(bench.server.log.entries, what="the server noticed the hang-up")
    bench.gateway.close()


def test_a_cancelled_goal_makes_no_call(bench):
    with pytest.raises(Cancelled):
        bench.ask(context=replace(bench.context, cancelled=lambda: True))
    assert bench.server.log.entries() == []
    assert bench.economy.ledger() == []


def test_a_run_that_ends_as_its_request_is_to_leave_writes_nothing(bench):
    """It was stopped between marking and writing, and woken when its goal was another run's."""
    economy = bench.economy
    marked = replace(
        bench.context, cancelled=lambda: any(r.state == "sent" for r in economy.reservations())
    )
    with pytest.raises(Cancelled):
        bench.ask(context=marked)
    assert bench.server.log.entries() == []
    assert (bench.spent, bench.in_doubt, economy.reservations()) == (0, 0, [])


def test_a_goal_past_its_deadline_makes_no_call(bench):
    with pytest.raises(DeadlineExceeded):
        bench.ask(context=replace(bench.context, deadline=CLOCK.now() - 1))
    assert bench.server.log.entries() == []


def test_a_deadline_ends_a_silent_stream(bench):
    bench.server.faults.next("stall:3")
    with pytest.raises(DeadlineExceeded):
        bench.ask(context=replace(bench.context, deadline=CLOCK.now() + 0.4))
    assert len(bench.economy.doubts()) == 1


def test_a_deadline_ends_an_unstreamed_call(server, economy):
    bench = Bench(server, economy, enable_streaming=False, max_attempts=1)
    server.faults.next("stall")
    with pytest.raises(DeadlineExceeded):
        bench.ask(context=replace(bench.context, deadline=CLOCK.now() + 0.3))
    bench.gateway.close()
    assert len(economy.doubts()) == 1


def test_a_cancel_ends_the_wait_between_attempts(bench):
    bench.server.faults.next("rate_limit:5")
    context = replace(bench.context, cancelled=lambda: bool(bench.waits))
    with pytest.raises(Cancelled):
        bench.ask(context=context)
    assert len(bench.waits) == 1


def test_a_budget_that_is_too_small_stops_the_call_before_it(server, state):
    economy = TokenEconomy(state, CLOCK, Prices.load(), limit_micro=5)
    bench = Bench(server, economy)
    with pytest.raises(BudgetExceeded):
        bench.ask()
    bench.gateway.close()
    assert server.log.entries() == []


def test_a_goals_own_budget_stops_the_call(bench):
    with pytest.raises(BudgetExceeded, match="goal:g1"):
        bench.ask(context=replace(bench.context, goal_budget_micro=5))


def test_an_unknown_model_is_refused_before_anything_is_reserved(bench):
    with pytest.raises(UnknownModel, match="toml"):
        bench.ask(model="gpt-nonesuch")
    assert bench.economy.ledger() == []


def test_an_alias_is_resolved(bench):
    assert bench.ask(model="haiku").model.startswith("claude-haiku")


def test_without_key_and_endpoint_the_fix_is_named(economy):
    gateway = ModelGateway(SDKConfig(), economy, CLOCK)
    with pytest.raises(ModelUnauthorized, match=r"ANTHROPIC_API_KEY.*base_url.*llmos up"):
        gateway.complete(
            ModelRequest(model=MODEL, max_tokens=9, messages=[{"role": "user", "content": "a"}]),
            CallContext(goal_id="g", project="p"),
        )


def test_the_environments_key_does_not_go_to_an_own_endpoint(bench, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    bench.server.api_key = "no-key-needed"
    try:
        bench.ask()
    finally:
        bench.server.api_key = None


def make_lease(state: redis.Redis, goal_id: str = "g1"):
    goals, now = GoalStore(state, CLOCK), CLOCK.now()
    goals.create(GoalRecord(goal_id=goal_id, text=GOAL, created_at=now, updated_at=now))
    lease, _ = goals.acquire(goal_id, owner="test", ttl_s=30)
    return goals, lease


def test_the_response_is_journaled_when_it_is_settled(bench, state):
    goals, lease = make_lease(state)
    context = replace(bench.context, lease=lease)
    response = bench.ask(context=context, turn=3)
    (entry,) = goals.journal("g1")
    assert read_journal_entry(entry) == (3, response)


def test_a_run_that_lost_its_lease_reserves_nothing(bench, state):
    _, lease = make_lease(state)
    stale = replace(lease, fence=lease.fence - 1)
    with pytest.raises(LeaseLost):
        bench.ask(context=replace(bench.context, lease=stale))
    assert bench.server.log.entries() == []


def test_a_lease_lost_in_mid_call_pays_and_journals_nothing(bench, state):
    goals, lease = make_lease(state)

    def steal(kind: str, data: dict) -> None:
        state.hincrby("llmos:goal:g1", "fence", 1)

    with pytest.raises(LeaseLost):
        bench.ask(context=replace(bench.context, lease=lease, on_event=steal))
    assert goals.journal("g1") == []
    assert bench.spent == bench.charged > 0


def test_a_journal_entry_of_another_kind_is_passed_over():
    from llmos_workers.kernel import codec

    assert read_journal_entry(codec.pack({"kind": "tool"})) is None


def test_a_journal_entry_survives_its_round_trip(bench):
    response = bench.ask()
    assert read_journal_entry(journal_entry(response, 0)) == (0, response)


def test_many_threads_share_a_gateway_and_the_ledger_equals_the_servers_log(bench):
    bench.server.faults.next("overloaded", "cut:3", "rate_limit:1", "server_error", "no_stop")
    errors: list[Exception] = []

    def run(number: int) -> None:
        try:
            bench.ask(
                context=replace(bench.context, goal_id=f"g{number}", on_event=lambda *_: None)
            )
        except Exception as error:  # noqa: BLE001 - shown by the assert below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    whole = [e.charged_micro for e in bench.server.log.entries() if e.complete]
    assert sum(whole) == bench.spent
    assert len(bench.economy.doubts()) == 3
