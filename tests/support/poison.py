"""Loaded into the workers of one test (LLMOS_TASK_MODULES): dispatching some goals kills them."""

from __future__ import annotations

import os
import signal

from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.flow.dispatch import Dispatcher

POISON = "poison"

_decide = Dispatcher.decide


def _kill_or_decide(self: Dispatcher, record: GoalRecord) -> ModeDecision:
    if POISON in record.text:
        os.kill(os.getpid(), signal.SIGKILL)
    return _decide(self, record)


Dispatcher.decide = _kill_or_decide  # type: ignore[method-assign]
