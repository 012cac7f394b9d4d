"""Progress gathers streamed words and keeps the order of everything."""

import pytest

from llmos_workers.contracts.errors import LeaseLost
from llmos_workers.flow.progress import FLUSH_CHARS, Progress
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from tests.kernel.goal_support import a_goal, expire_lease


@pytest.fixture
def goals(state):
    return GoalStore(state, SystemClock())


@pytest.fixture
def goal_id(goals):
    return goals.create(a_goal())[0].goal_id


def told(goals, goal_id):
    return [(e.kind, e.data) for e in goals.events(goal_id) if e.kind != "state"]


def test_words_are_gathered_until_there_are_enough(goals, goal_id):
    progress = Progress(goals, goal_id)
    progress("text", {"text": "a" * (FLUSH_CHARS - 1)})
    assert told(goals, goal_id) == []
    progress("text", {"text": "b"})
    assert told(goals, goal_id) == [("text", {"text": "a" * (FLUSH_CHARS - 1) + "b"})]


def test_words_come_before_what_happened_after_them(goals, goal_id):
    progress = Progress(goals, goal_id)
    progress("text", {"text": "I "})
    progress("text", {"text": "write."})
    progress("tool_call", {"name": "Write"})
    assert told(goals, goal_id) == [
        ("text", {"text": "I write."}),
        ("tool_call", {"name": "Write"}),
    ]


def test_the_rest_is_passed_on_once(goals, goal_id):
    progress = Progress(goals, goal_id)
    progress("text", {"text": "Done."})
    progress.flush()
    progress.flush()
    assert told(goals, goal_id) == [("text", {"text": "Done."})]


def test_a_run_that_lost_the_goal_tells_nothing_more(goals, goal_id, state):
    lease, _ = goals.acquire(goal_id, owner="late", ttl_s=30)
    progress = Progress(goals, goal_id, fence=lease.fence)
    progress("tool_call", {"name": "Write"})
    expire_lease(state, goal_id)
    goals.acquire(goal_id, owner="another", ttl_s=30)
    progress("text", {"text": "I am late."})
    with pytest.raises(LeaseLost):
        progress("tool_call", {"name": "Bash"})
    assert told(goals, goal_id) == [("tool_call", {"name": "Write"})]
