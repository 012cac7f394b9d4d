"""Dead letters: listed until somebody retries or drops them."""

from __future__ import annotations

import pytest

from llmos_workers.contracts.errors import GoalNotFound, InvalidOption
from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.kernel import keys
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.dead import DeadLetters
from tests.kernel.goal_support import an_outcome
from tests.kernel.recovery_support import System


def letters(system: System) -> DeadLetters:
    return DeadLetters(system.state, system.broker, system.goals, SystemClock())


def dead(system: System, **options) -> GoalRecord:
    (record,) = system.submit(1, **options)
    system.goals.finish(an_outcome(record.goal_id, GoalState.DEAD), fence=None)
    system.broker.flushdb()
    return record


def ids(records) -> list[str]:
    return [record.goal_id for record in records]


def test_the_list_holds_dead_goals_that_nobody_saw_to(system: System) -> None:
    first, second, third = dead(system), dead(system, project="other"), dead(system)
    system.submit(1)
    box = letters(system)
    assert ids(box.list()) == ids([third, second, first])
    assert ids(box.list(project="other")) == ids([second])
    assert box.drop(third.goal_id)
    assert not box.drop(third.goal_id)
    assert ids(box.list(limit=1)) == ids([second])
    assert box.show(third.goal_id).state is GoalState.DEAD


def test_a_retry_is_a_new_goal_that_names_the_old_one(system: System) -> None:
    old = dead(system, metadata={"a": 1}, priority=3, budget_usd=0.5, deadline=1.0)
    box = letters(system)
    new = box.retry(old.goal_id)
    assert new.goal_id != old.goal_id
    assert (new.text, new.project, new.state) == (old.text, old.project, GoalState.ACCEPTED)
    assert new.options.metadata == {"a": 1, "retry_of": old.goal_id}
    assert (new.options.priority, new.options.budget_micro) == (3, 500_000)
    assert new.options.deadline is None
    assert new.deliveries == 0
    assert system.queued() == [new.goal_id]
    assert box.list() == []
    assert system.goals.state(old.goal_id) is GoalState.DEAD


def test_a_second_retry_gives_the_same_goal(system: System) -> None:
    old = dead(system, idempotency_key="mine")
    box = letters(system)
    new = box.retry(old.goal_id)
    assert box.retry(old.goal_id).goal_id == new.goal_id
    system.goals.finish(an_outcome(new.goal_id), fence=None)
    system.broker.flushdb()
    assert box.retry(old.goal_id).state is GoalState.SUCCEEDED
    assert system.queued() == []


def test_a_retry_that_dies_is_a_dead_letter_of_its_own(system: System) -> None:
    box = letters(system)
    new = box.retry(dead(system).goal_id)
    system.goals.finish(an_outcome(new.goal_id, GoalState.DEAD), fence=None)
    assert ids(box.list()) == [new.goal_id]
    third = box.retry(new.goal_id)
    assert third.options.metadata["retry_of"] == new.goal_id
    assert box.list() == []


def test_only_dead_goals_are_dead_letters(system: System) -> None:
    (record,) = system.submit(1)
    box = letters(system)
    for act in (box.show, box.retry, box.drop):
        with pytest.raises(InvalidOption, match="no dead letter"):
            act(record.goal_id)
        with pytest.raises(GoalNotFound):
            act("nobody")


def test_marks_of_forgotten_goals_go_with_them(system: System) -> None:
    old, kept = dead(system), dead(system)
    box = letters(system)
    box.drop(old.goal_id)
    system.state.zrem(keys.goals_in_state(GoalState.DEAD), old.goal_id)
    box.drop(kept.goal_id)
    assert system.state.zrange(keys.DEAD_HANDLED, 0, -1) == [kept.goal_id.encode()]
