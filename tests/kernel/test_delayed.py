"""Goals wait without a worker and without a message, and go on as the same task."""

from __future__ import annotations

import json
import uuid

import pytest

from llmos_workers.contracts.errors import (
    GoalFinished,
    GoalNotFound,
    IllegalTransition,
    LeaseLost,
)
from llmos_workers.contracts.goal import WAITING_STATES, GoalState, TaskEnvelope
from llmos_workers.kernel import keys
from llmos_workers.kernel.recovery import Recovered
from tests.kernel.goal_support import assert_indexes_right, expire_lease, raw, states_in_stream
from tests.kernel.recovery_support import System

S = GoalState


def running(system: System, **options):
    (record,) = system.submit(1, **options)
    system.broker.flushdb()
    lease, _ = system.goals.acquire(record.goal_id, owner="w")
    return record, lease


def soon(system: System, seconds: float = 60) -> float:
    return system.state.time()[0] + seconds


@pytest.mark.parametrize("waits", sorted(WAITING_STATES - {S.WAITING_CHILDREN}))
def test_a_parked_goal_holds_no_lease_and_is_woken_with_its_message(
    system: System, waits: GoalState
) -> None:
    record, lease = running(system, priority=3)
    envelope = TaskEnvelope(group_id="g", group_index=4, chord={"task": "body"}, root_id="r")
    system.goals.transition(record.goal_id, S.RUNNING, fence=lease.fence, envelope=envelope)
    system.delayed.park(lease, state=waits, due=None, reason="because")
    parked = system.goals.get(record.goal_id)
    assert (parked.state, parked.lease_owner, parked.lease_until) == (waits, None, None)
    assert_indexes_right(system.state, [parked])
    assert system.search().woken == 0
    assert system.delayed.wake(record.goal_id)
    (payload,) = system.broker.lrange("dispatch\x06\x166", 0, -1)
    headers = json.loads(payload)["headers"]
    assert (headers["id"], headers["group"], headers["group_index"]) == (record.goal_id, "g", 4)
    assert states_in_stream(system.goals, record.goal_id) == [
        "ACCEPTED", "RUNNING", "RUNNING", waits.value, "ACCEPTED",
    ]  # fmt: skip
    assert_indexes_right(system.state, [system.goals.get(record.goal_id)])


def test_a_wait_is_no_failed_start(system: System) -> None:
    """A goal may wait more often than max_deliveries."""
    record, lease = running(system)
    for _ in range(12):
        system.delayed.park(lease, state=S.WAITING_RATE, due=soon(system, -1), reason="429")
        assert system.recovery.work() == Recovered(woken=1)
        lease, again = system.goals.acquire(record.goal_id, owner="w")
        assert again.deliveries == 1


def test_due_goals_go_on_in_time_and_others_wait(system: System) -> None:
    early, lease = running(system)
    system.delayed.park(lease, state=S.PARKED, due=soon(system, -1), reason="later")
    late, lease = running(system)
    system.delayed.park(lease, state=S.PARKED, due=soon(system), reason="later")
    assert system.recovery.work().woken == 1
    assert system.queued() == [early.goal_id]
    assert system.goals.state(late.goal_id) is S.PARKED
    assert system.count("delayed.woken") == 1


def test_a_woken_goal_is_not_woken_again(system: System) -> None:
    record, lease = running(system)
    system.delayed.park(lease, state=S.PARKED, due=soon(system, -1), reason="later")
    assert system.delayed.wake(record.goal_id)
    assert not system.delayed.wake(record.goal_id)
    assert system.recovery.work().woken == 0
    assert system.queued() == [record.goal_id]
    with pytest.raises(GoalNotFound):
        system.delayed.wake("nobody")


def test_a_goal_that_is_put_off_again_meanwhile_is_not_woken(system: System) -> None:
    """Between looking for due goals and waking them it was woken, ran, and waits anew."""
    record, lease = running(system)
    system.delayed.park(lease, state=S.PARKED, due=soon(system), reason="later")
    assert system.delayed._enter([record.goal_id], only_due=True)[0][0] == b"skip"
    assert system.goals.state(record.goal_id) is S.PARKED


def test_a_call_whose_answer_got_lost_is_answered_again(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """redis-py sends it twice; it happens once."""
    token = uuid.uuid4()
    monkeypatch.setattr(uuid, "uuid4", lambda: token)
    record, lease = running(system)
    token = uuid.UUID(int=1)
    for _ in range(2):
        system.delayed.park(lease, state=S.PARKED, due=None, reason="later")
    token = uuid.UUID(int=2)
    for _ in range(2):
        assert system.delayed._enter([record.goal_id], only_due=False)[0][0] == b"ok"
    assert states_in_stream(system.goals, record.goal_id) == [
        "ACCEPTED", "RUNNING", "PARKED", "ACCEPTED",
    ]  # fmt: skip
    assert system.goals.get(record.goal_id).deliveries == 0


def test_a_server_that_forgot_the_script_is_given_it_again(system: System) -> None:
    for _ in range(3):
        _record, lease = running(system)
        system.delayed.park(lease, state=S.PARKED, due=soon(system, -1), reason="later")
    system.state.script_flush()
    assert system.recovery.work().woken == 3


def test_a_new_due_time_replaces_the_old(system: System) -> None:
    record, lease = running(system)
    system.delayed.park(lease, state=S.PARKED, due=soon(system, 5), reason="later")
    system.delayed.wake(record.goal_id)
    lease, _ = system.goals.acquire(record.goal_id, owner="w")
    system.delayed.park(lease, state=S.WAITING_APPROVAL, due=None, reason="asks")
    assert system.delayed.move_due(soon(system, 1e6)) == 0
    assert system.goals.state(record.goal_id) is S.WAITING_APPROVAL


def test_a_crash_between_state_and_message_is_healed(system: System) -> None:
    record, lease = running(system)
    system.delayed.park(lease, state=S.PARKED, due=None, reason="later")
    system.delayed.wake(record.goal_id)
    system.broker.flushdb()
    system.state.zadd(keys.goals_in_state(S.ACCEPTED), {record.goal_id: soon(system, -60)})
    assert system.search().lost == 1


def test_a_lost_run_parks_nothing(system: System) -> None:
    record, lease = running(system)
    expire_lease(system.state, record.goal_id)
    with pytest.raises(LeaseLost):
        system.delayed.park(lease, state=S.PARKED, due=None, reason="late")
    system.goals.acquire(record.goal_id, owner="w2")
    with pytest.raises(LeaseLost):
        system.delayed.park(lease, state=S.PARKED, due=None, reason="late")
    assert system.goals.state(record.goal_id) is S.RUNNING


def test_a_goal_that_shall_stop_does_not_wait(system: System) -> None:
    record, lease = running(system)
    system.goals.request_cancel(record.goal_id)
    with pytest.raises(GoalFinished):
        system.delayed.park(lease, state=S.PARKED, due=soon(system), reason="later")
    assert system.goals.state(record.goal_id) is S.CANCELLED
    assert not system.state.exists(keys.DELAYED)


def test_a_cancelled_waiting_goal_is_not_woken(system: System) -> None:
    record, lease = running(system)
    system.delayed.park(lease, state=S.PARKED, due=soon(system, -1), reason="later")
    assert system.goals.request_cancel(record.goal_id) is S.CANCELLED
    assert system.recovery.work().woken == 0
    assert system.goals.state(record.goal_id) is S.CANCELLED
    assert not system.state.exists(keys.DELAYED)
    assert not system.delayed.wake(record.goal_id)


def test_a_goal_without_a_record_leaves_the_delayed_set(system: System) -> None:
    system.state.zadd(keys.DELAYED, {"pruned": 1})
    assert system.delayed.move_due(soon(system)) == 0
    assert not system.state.exists(keys.DELAYED)


def test_only_waiting_states_are_parked_in(system: System) -> None:
    record, lease = running(system)
    with pytest.raises(IllegalTransition):
        system.delayed.park(lease, state=S.DISPATCHED, due=None, reason="no")
    assert raw(system.state, record.goal_id)["lease_owner"] == "w"
