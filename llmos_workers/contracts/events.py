"""Named events: of one goal (a stream that can be re-joined) and of the system (the bus)."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from llmos_workers.contracts.base import Contract


class Topic(StrEnum):
    """Topics of the system-wide event bus."""

    TASK_STARTED = "TASK_STARTED"
    TASK_COMPLETE = "TASK_COMPLETE"
    TASK_FAILED = "TASK_FAILED"
    BUDGET_LOW = "BUDGET_LOW"
    MODE_CHANGED = "MODE_CHANGED"
    TOOL_CRYSTALLIZED = "TOOL_CRYSTALLIZED"
    AGENT_CREATED = "AGENT_CREATED"
    AGENT_CHANGED = "AGENT_CHANGED"


class GoalEventKind(StrEnum):
    """What can happen to a goal, in its own event stream."""

    STATE = "state"
    """data: state; where a mode was chosen also mode, reason and maybe confidence"""
    MODEL_CALL = "model_call"
    """data: turn, model"""
    MODEL_RESPONSE = "model_response"
    """data: turn, stop_reason, tokens, cost_micro"""
    MODEL_RETRY = "model_retry"
    """data: attempt, wait_s, why"""
    TEXT = "text"
    """data: text (a piece of the model's streamed words)"""
    TOOL_CALL = "tool_call"
    """data: name, summary"""
    TOOL_RESULT = "tool_result"
    """data: name, ok, exit_code, duration_ms"""
    APPROVAL = "approval"
    """data: approval_id, state, tool, by"""
    NOTICE = "notice"
    """data: message"""


class GoalEvent(Contract):
    """One entry of a goal's event stream; ``event_id`` is where to re-join."""

    event_id: str
    goal_id: str
    kind: str
    at: float
    data: dict[str, Any] = Field(default_factory=dict)
