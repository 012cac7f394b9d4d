"""A system with a little history: goals that ended, waits, money and a state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from llmos_workers import LLMOS, LLMOSConfig
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Outcome, ToolCallSummary, Usage

End = Callable[..., Outcome]


@pytest.fixture
def client(redis_server: str, state: redis.Redis, tmp_path: Path) -> Iterator[LLMOS]:
    config = {"workspace": tmp_path, "redis": {"url": redis_server}, "budget_usd": 10.0}
    with LLMOS(LLMOSConfig.from_dict(config)) as made:
        yield made


@pytest.fixture
def end(client: LLMOS) -> End:
    """Ends a new goal with an outcome; a message of it stays in its queue."""

    def ended(
        mode: Mode | None = Mode.LEARNER,
        status: str = "SUCCEEDED",
        *,
        tool_ms: float = 5.0,
        calls: tuple[ToolCallSummary, ...] = (),
        **facts,
    ) -> Outcome:
        handle = client.submit("write <b>it</b> & more", project="p")
        lease, _ = client.goals.acquire(handle.id, owner="test", mode=mode.value if mode else None)
        write = ToolCallSummary(name="Write", summary="x", ok=True, duration_ms=tool_ms)
        outcome = Outcome(
            goal_id=handle.id,
            status=status,
            project="p",
            mode=mode,
            tool_calls=calls or (write,),
            **facts,
        )
        return client.goals.finish(outcome, fence=lease.fence)

    return ended


@pytest.fixture
def charge(client: LLMOS) -> Callable[[str], int]:
    """Charges one call of a goal for 1,000 + 100 tokens; the micro-dollars."""

    def charged(goal_id: str) -> int:
        economy = client.token_economy
        call = economy.reserve(
            goal_id=goal_id, project="p", model=client.config.sdk.model, bound_micro=50_000,
            purpose="turn", fence=None,
        )  # fmt: skip
        economy.mark_sent(call)
        return economy.settle(call, usage=Usage(input_tokens=1_000, output_tokens=100))

    return charged
