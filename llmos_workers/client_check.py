"""What a submitter says in Python's own words, checked and turned into the goal's record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from llmos_workers.contracts.agents import AGENT_NAME, AUTO
from llmos_workers.contracts.errors import InvalidOption, UnknownAgent
from llmos_workers.contracts.goal import GoalRecord, GoalState, check_goal_text
from llmos_workers.contracts.payload import make_options
from llmos_workers.kernel.goal_secrets import refuse_secrets
from llmos_workers.kernel.goal_submit import new_record

TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def check_deadline(deadline: object, now: float) -> object:
    """Unix seconds of a deadline given as Unix seconds, timedelta from now or aware datetime.

    Anything else passes through, for make_options to refuse. Raises InvalidOption for a time
    that is over.
    """
    if isinstance(deadline, timedelta):
        deadline = now + deadline.total_seconds()
    elif isinstance(deadline, datetime):
        if deadline.tzinfo is None:
            raise InvalidOption(
                f"deadline {deadline.isoformat()} has no time zone.", fix="Use an aware datetime."
            )
        deadline = deadline.timestamp()
    if isinstance(deadline, int | float) and not isinstance(deadline, bool) and deadline <= now:
        raise InvalidOption(
            f"the deadline {_when(deadline)} is over.",
            fix="Give a Unix time ahead of now, or a timedelta for a time from now.",
        )
    return deadline


def _when(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return repr(seconds)


def check_traceparent(traceparent: object) -> str | None:
    """A W3C traceparent, or None. Raises InvalidOption."""
    if traceparent is None:
        return None
    if not isinstance(traceparent, str) or not TRACEPARENT.fullmatch(traceparent):
        raise InvalidOption(
            f"traceparent {traceparent!r} is not a W3C trace context.",
            fix="It looks like 00-<32 hex digits>-<16 hex digits>-01.",
        )
    return traceparent


def check_agent(agent: str | None, agents_folder: Path) -> None:
    """Raise UnknownAgent for an agent that the workspace at hand does not have.

    Where the folder cannot be read from here, the worker that has it checks at dispatch.
    """
    if agent in (None, AUTO):
        return
    if not AGENT_NAME.fullmatch(agent):
        raise InvalidOption(
            f"agent name {agent!r} is not allowed.",
            fix="Use 1-64 lower-case letters, digits or '-'.",
        )
    try:
        known = sorted(path.stem for path in agents_folder.glob("*.md"))
    except OSError:
        return
    if known and agent not in known:
        raise UnknownAgent(
            f"there is no agent {agent!r} in {agents_folder}.", fix=f"Known: {', '.join(known)}."
        )


def make_record(
    goal: object,
    *,
    now: float,
    agents_folder: Path,
    default_project: str,
    traceparent: object = None,
    options: Mapping[str, object],
) -> GoalRecord:
    """The checked record of a new goal. Raises InvalidGoal, InvalidOption or UnknownAgent."""
    text = check_goal_text(goal)
    said = {"project": default_project} | {k: v for k, v in options.items() if v is not None}
    if "deadline" in said:
        said["deadline"] = check_deadline(said["deadline"], now)
    checked = make_options(**said)
    refuse_secrets(text, checked.metadata)
    check_agent(checked.agent, agents_folder)
    return new_record(text, checked, now=now, traceparent=check_traceparent(traceparent))


def parse_state(state: str | GoalState) -> GoalState:
    """A goal state in any letter case. Raises InvalidOption naming the known ones."""
    try:
        return GoalState(str(state).strip().upper().replace("-", "_"))
    except ValueError:
        known = ", ".join(s.value.lower() for s in GoalState)
        raise InvalidOption(f"unknown state {state!r}.", fix=f"Known: {known}.") from None
