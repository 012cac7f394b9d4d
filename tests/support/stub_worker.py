"""A worker of a few lines: takes goals from the real queue and ends them as their text says.

It is for tests of whoever submits and waits. The text's first word chooses what happens:
``fail``, ``partial``, ``reject``, ``approve`` (waits for approval), ``hang`` (runs until it is
cancelled); anything else succeeds.
"""

from __future__ import annotations

import json
import threading
from typing import Self

import redis

from llmos_workers.contracts.errors import GoalFinished, GoalNotFound
from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import ErrorInfo, FileDigest, Outcome, Usage
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.lease import Lease
from llmos_workers.kernel.wire import queue_lists

ENDS = {
    "fail": ("FAILED", ErrorInfo(kind="ModelTransient", message="the model broke off.")),
    "partial": ("PARTIAL", None),
    "reject": (
        "REJECTED",
        ErrorInfo(kind="BudgetExceeded", message="budget too small.", fix="Raise it."),
    ),
    "nobody": ("REJECTED", ErrorInfo(kind="UnknownAgent", message="no agent 'nobody'.")),
}


class StubWorker:
    """Context manager around one thread that serves the dispatch queue."""

    def __init__(self, url: str) -> None:
        self._state = redis.Redis.from_url(f"{url}/2")
        self._broker = redis.Redis.from_url(f"{url}/0")
        self._goals = GoalStore(self._state, SystemClock())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.served: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
        self._state.close()
        self._broker.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                taken = self._broker.brpop(queue_lists("dispatch"), timeout=0.1)
                if taken:
                    self._run(json.loads(taken[1])["headers"]["id"])
            except redis.ConnectionError:
                self._stop.wait(0.05)

    def _run(self, goal_id: str) -> None:
        self.served.append(goal_id)
        try:
            lease, record = self._goals.acquire(goal_id, owner="stub")
        except (GoalFinished, GoalNotFound):
            return
        kind = record.text.split()[0]
        emit = self._goals.emit
        emit(goal_id, "state", {"state": "DISPATCHED", "mode": "LEARNER", "reason": "it is new"})
        emit(goal_id, "model_call", {"turn": 0, "model": "claude-sonnet-5-5"})
        emit(goal_id, "model_response", {"turn": 0, "stop_reason": "end_turn", "tokens": 42,
                                         "cost_micro": 1200})  # fmt: skip
        emit(goal_id, "tool_call", {"name": "Write", "summary": "hello.txt"})
        emit(goal_id, "tool_result", {"name": "Write", "ok": True, "exit_code": None,
                                      "duration_ms": 1.5})  # fmt: skip
        if kind == "approve":
            self._goals.release(lease, state=GoalState.WAITING_APPROVAL)
            return
        if kind == "hang":
            while not self._goals.cancel_requested(goal_id) and not self._stop.wait(0.01):
                pass
            self._finish(lease, record, "CANCELLED", None)
            return
        status, error = ENDS.get(kind, ("SUCCEEDED", None))
        self._finish(lease, record, status, error)

    def _finish(
        self, lease: Lease, record: GoalRecord, status: str, error: ErrorInfo | None
    ) -> None:
        outcome = Outcome(
            goal_id=record.goal_id,
            status=status,
            project=record.project,
            mode=Mode.LEARNER,
            reason="it is new",
            text=f"did: {record.text[:40]}",
            files=(FileDigest(path="hello.txt", digest="0" * 64, size=5),),
            llm_calls=1,
            usage=Usage(input_tokens=30, output_tokens=12),
            cost_micro=1200,
            error=error,
        )
        self._goals.finish(outcome, fence=lease.fence)
