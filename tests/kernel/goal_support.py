"""What the goal tests share."""

from __future__ import annotations

import itertools
import json

from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.contracts.payload import make_options
from llmos_workers.kernel import keys
from llmos_workers.kernel.goals import new_record

_counter = itertools.count(1)


def a_goal(text: str = "Say hello", *, now: float | None = None, **options) -> GoalRecord:
    at = 1_700_000_000.0 + next(_counter) if now is None else now
    return new_record(text, make_options(**options), now=at)


def an_outcome(goal_id: str, status: GoalState = GoalState.SUCCEEDED, text: str = "") -> Outcome:
    return Outcome(goal_id=goal_id, status=status.value, text=text)


def states_in_stream(store, goal_id: str) -> list[str]:
    return [e.data["state"] for e in store.events(goal_id) if e.kind == "state"]


def assert_indexes_right(client, records: list[GoalRecord]) -> None:
    """Each goal stands in exactly the index of its state, in its project's and in the main one."""
    for state in GoalState:
        expected = {r.goal_id for r in records if r.state is state}
        assert {m.decode() for m in client.zrange(keys.goals_in_state(state), 0, -1)} == expected
    for record in records:
        assert client.zscore(keys.GOALS_ALL, record.goal_id) == record.created_at
        assert client.zscore(keys.goals_of_project(record.project), record.goal_id)


def raw(client, goal_id: str) -> dict[str, str]:
    fields = client.hgetall(keys.goal(goal_id))
    return {k.decode(): v.decode() for k, v in fields.items()}


def expire_lease(client, goal_id: str) -> None:
    """As if the holder had not renewed: its time is over, nobody else came yet."""
    assert client.hexists(keys.goal(goal_id), "lease_until")
    client.hset(keys.goal(goal_id), "lease_until", "1.0")


def as_json(text: bytes):
    return json.loads(text)
