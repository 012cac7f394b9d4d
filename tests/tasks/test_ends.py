"""The hops: whatever a message or a run meets, the goal ends in one outcome or is tried again."""

import pytest
import redis
from celery.exceptions import Reject

from llmos_workers.contracts.errors import BrokerUnavailable, Cancelled
from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Outcome, Usage
from llmos_workers.flow.replay_parts import Handover
from llmos_workers.tasks.hops import Next, leased_run, receive
from tests.flow.conftest import Hop, Later
from tests.kernel.goal_support import an_outcome, expire_lease

GOAL = "Create a Python calculator"


def dispatched(flow, **options):
    record = flow.submit(GOAL, **options)
    assert isinstance(flow.receive(record), Next)
    return record


def run(flow, record, work):
    return leased_run(Hop(record.goal_id), flow.runtime, work)


def raising(error):
    def work(_run):
        raise error

    return work


def succeed(run):
    return an_outcome(run.record.goal_id, text="done")


# --- receiving -------------------------------------------------------------------------------


def test_a_plain_app_s_message_becomes_a_goal_on_record(flow):
    payload = {"v": 1, "goal": GOAL, "project": "demo", "budget_usd": "2.5"}
    assert isinstance(receive(Hop("from-an-app"), flow.process, payload), Next)
    record = flow.runtime.goals.get("from-an-app")
    assert (record.text, record.options.budget_micro) == (GOAL, 2_500_000)
    assert record.state is GoalState.DISPATCHED


@pytest.mark.parametrize(
    "payload",
    [
        {"v": 1, "goal": GOAL, "colour": "red"},
        {"v": 99, "goal": GOAL},
        {"v": 1},
        {"v": 1, "goal": GOAL, "project": "../up"},
        {"v": 1, "goal": ""},
    ],
)
def test_a_message_that_is_no_goal_is_rejected_with_an_outcome(flow, payload):
    outcome = Outcome.model_validate(receive(Hop("bad"), flow.process, payload))
    assert (outcome.status, outcome.goal_id) == ("REJECTED", "bad")
    assert outcome.error.message


def test_a_message_without_its_record_is_rejected(flow):
    outcome = Outcome.model_validate(
        receive(Hop("unknown"), flow.process, {"v": 1, "stored": True})
    )
    assert (outcome.status, outcome.error.kind) == ("REJECTED", "GoalNotFound")


def test_a_second_message_of_a_finished_goal_gives_its_outcome(flow):
    first = flow.run(GOAL)
    again = receive(Hop(first.goal_id), flow.process, {"v": 1, "stored": True})
    assert Outcome.model_validate(again) == first


def test_a_message_that_names_another_project_s_goal_gets_nothing_of_it(flow):
    """Whoever knows an id has no outcome by it, and the goal stays as its owner made it."""
    first = flow.run(GOAL)
    payload = {"v": 1, "goal": "Tell me", "project": "other"}
    outcome = Outcome.model_validate(receive(Hop(first.goal_id), flow.process, payload))
    assert (outcome.status, outcome.text) == ("REJECTED", "")
    record = flow.runtime.goals.get(first.goal_id)
    assert (record.project, record.text, record.state) == ("demo", GOAL, GoalState.SUCCEEDED)


def test_a_second_message_of_a_running_goal_comes_later(flow):
    record = dispatched(flow)
    flow.runtime.goals.acquire(record.goal_id, owner="another", ttl_s=20)
    hop = Hop(record.goal_id)
    with pytest.raises(Later):
        receive(hop, flow.process, {"v": 1, "stored": True})
    assert 15 < hop.countdowns[0] < 21


def test_another_message_with_the_same_key_waits_for_that_goal(flow):
    payload = {"v": 1, "goal": GOAL, "project": "demo", "idempotency_key": "k"}
    assert isinstance(receive(Hop("first"), flow.process, payload), Next)
    with pytest.raises(Later):
        receive(Hop("second"), flow.process, payload)
    first = flow.runtime.goals.get("first")
    assert flow.work(first)["status"] == "SUCCEEDED"
    assert receive(Hop("second"), flow.process, payload)["goal_id"] == "first"


def test_a_goal_cancelled_before_its_dispatch_is_not_dispatched(flow):
    record = flow.submit(GOAL)
    flow.runtime.goals.request_cancel(record.goal_id)
    assert flow.receive(record)["status"] == "CANCELLED"


def test_a_fault_of_llmos_at_dispatch_ends_the_goal_in_words(flow, monkeypatch):
    def broken(_record):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(flow.dispatcher, "decide", broken)
    outcome = Outcome.model_validate(flow.receive(flow.submit(GOAL)))
    assert (outcome.status, outcome.error.kind) == ("FAILED", "InternalError")
    assert "secret detail" not in outcome.model_dump_json()


@pytest.mark.parametrize("error", [redis.ConnectionError("away"), BrokerUnavailable("away.")])
def test_a_dispatch_that_loses_redis_goes_back_to_its_queue(flow, monkeypatch, error):
    monkeypatch.setattr(flow.dispatcher, "decide", raising(error))
    record = flow.submit(GOAL)
    with pytest.raises(Reject) as rejected:
        flow.receive(record)
    assert rejected.value.requeue
    assert flow.runtime.goals.state(record.goal_id) is GoalState.ACCEPTED


# --- running ---------------------------------------------------------------------------------


def test_an_outcome_is_stored_once(flow):
    record = dispatched(flow)
    first = run(flow, record, succeed)
    assert run(flow, record, raising(AssertionError("ran twice"))) == first
    assert flow.runtime.goals.outcome(record.goal_id) == Outcome.model_validate(first)


@pytest.mark.parametrize("error", [redis.TimeoutError("away"), BrokerUnavailable("away.")])
def test_a_run_that_loses_redis_goes_back_to_its_queue(flow, error):
    record = dispatched(flow)
    with pytest.raises(Reject) as rejected:
        run(flow, record, raising(error))
    assert rejected.value.requeue
    assert flow.runtime.goals.outcome(record.goal_id) is None


def test_a_fault_of_llmos_in_a_run_ends_the_goal_in_words(flow):
    record = dispatched(flow)
    outcome = Outcome.model_validate(run(flow, record, raising(KeyError("secret detail"))))
    assert (outcome.status, outcome.error.kind) == ("FAILED", "InternalError")
    assert "secret detail" not in outcome.model_dump_json()


def test_a_run_that_was_cancelled_ends_so(flow):
    record = dispatched(flow)
    outcome = run(flow, record, raising(Cancelled("stop.")))
    assert outcome["status"] == "CANCELLED"


def test_a_run_whose_goal_another_run_holds_comes_later(flow):
    record = dispatched(flow)
    flow.runtime.goals.acquire(record.goal_id, owner="another", ttl_s=20)
    hop = Hop(record.goal_id)
    with pytest.raises(Later):
        leased_run(hop, flow.runtime, succeed)
    assert 15 < hop.countdowns[0] < 21


def test_a_run_that_lost_its_lease_stores_nothing(flow, state):
    record = dispatched(flow)

    def work(run):
        expire_lease(state, record.goal_id)
        flow.runtime.goals.acquire(record.goal_id, owner="another", ttl_s=20)
        return succeed(run)

    with pytest.raises(Later):
        run(flow, record, work)
    assert flow.runtime.goals.outcome(record.goal_id) is None


@pytest.mark.parametrize("flow", [{"kernel": {"max_deliveries": 2}}], indirect=True)
def test_a_run_that_lost_its_lease_and_lives_is_no_start_that_killed(flow, state):
    """A machine that is too busy to renew ends no goal as DEAD; but not without end."""
    record = dispatched(flow)

    def lose(run):
        expire_lease(state, record.goal_id)
        run.guards.keeper._lost = True
        run.guards.check()

    counts = []
    for _ in range(4):
        with pytest.raises(Later):
            run(flow, record, lose)
        counts.append(flow.runtime.goals.get(record.goal_id).deliveries)
    assert counts == [0, 0, 1, 2]
    assert run(flow, record, lose)["status"] == "DEAD"


# --- poison ----------------------------------------------------------------------------------

TWO_STARTS = {"kernel": {"budget_usd": 50.0, "max_deliveries": 2}}


def die(flow, state, record, times: int) -> None:
    """As many runs as given start and never end."""
    for _ in range(times):
        flow.runtime.goals.acquire(record.goal_id, owner="dies", ttl_s=20)
        expire_lease(state, record.goal_id)


@pytest.mark.parametrize("flow", [TWO_STARTS], indirect=True)
def test_a_goal_that_kills_its_workers_is_dead_with_what_it_cost(flow, state):
    record = dispatched(flow)
    die(flow, state, record, 2)
    reservation = flow.runtime.economy.reserve(
        goal_id=record.goal_id,
        project="demo",
        model=flow.runtime.config.sdk.model,
        bound_micro=1000,
        purpose="learn",
        fence=None,
    )
    flow.runtime.economy.mark_sent(reservation)
    spent = flow.runtime.economy.settle(reservation, usage=Usage(input_tokens=100))
    outcome = Outcome.model_validate(run(flow, record, raising(AssertionError("ran again"))))
    assert (outcome.status, outcome.error.kind) == ("DEAD", "PoisonGoal")
    assert "2 starts" in outcome.error.message
    assert outcome.cost_micro == spent > 0


@pytest.mark.parametrize("flow", [TWO_STARTS], indirect=True)
def test_the_last_allowed_start_runs(flow, state):
    record = dispatched(flow)
    die(flow, state, record, 1)
    assert run(flow, record, succeed)["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    "flow", [{"kernel": {"budget_usd": 50.0, "max_deliveries": 1}}], indirect=True
)
def test_a_replay_that_hands_over_is_no_death(flow):
    record = dispatched(flow)

    def hand_over(run):
        return Handover(run.decision.model_copy(update={"mode": Mode.MIXED}), ())

    assert isinstance(run(flow, record, hand_over), Next)
    assert run(flow, record, succeed)["status"] == "SUCCEEDED"
