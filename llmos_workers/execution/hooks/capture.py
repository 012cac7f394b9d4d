"""TraceCaptureHook: keeps what each call did, in the form a trace is made of."""

from __future__ import annotations

import threading
from collections import defaultdict

from llmos_workers.contracts.trace import TraceStep
from llmos_workers.execution.hooks.base import ALLOW, Hook, HookDecision, HookEvent
from llmos_workers.execution.recording import record_step

MAX_STEPS = 1_000
"""Steps kept for one goal; further ones are not."""

MAX_GOALS = 1_000
"""Goals whose steps are kept until somebody takes them; the oldest are forgotten first."""


class TraceCaptureHook(Hook):
    """Collects the steps of each goal until they are taken.

    Refused calls are not steps: they did nothing.
    """

    name = "TraceCaptureHook"

    def __init__(self) -> None:
        self._steps: dict[str, list[TraceStep]] = defaultdict(list)
        self._lock = threading.Lock()

    def post_tool(self, event: HookEvent) -> HookDecision:
        """Keep the step, succeeded or not."""
        if event.call is not None and event.result is not None:
            step = record_step(event.spec, event.call, event.result, turn=0)
            with self._lock:
                if event.goal_id not in self._steps and len(self._steps) >= MAX_GOALS:
                    del self._steps[next(iter(self._steps))]
                steps = self._steps[event.goal_id]
                if len(steps) < MAX_STEPS:
                    steps.append(step)
        return ALLOW

    def take(self, goal_id: str) -> tuple[TraceStep, ...]:
        """The goal's steps so far, in order; they are forgotten here."""
        with self._lock:
            return tuple(self._steps.pop(goal_id, ()))
