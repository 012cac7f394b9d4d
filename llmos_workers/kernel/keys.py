"""Every Redis key of ours, in one place. All live in the state database.

Celery's own keys (broker and result databases) carry no prefix of ours, so that a plain
Celery app can talk to us.
"""

from __future__ import annotations

ROOT = "llmos"

GOALS_ALL = f"{ROOT}:goals"
"""zset goal_id -> created_at: all goals, for listing and retention."""

LEDGER = f"{ROOT}:ledger"
"""stream: one entry per settled or in-doubt reservation, direct charge and saving; the sum of
its ``micro`` is what was spent."""

RESERVATIONS = f"{ROOT}:reservations"
"""zset reservation_id -> time of reserving: all that are open (reserved, sent or in doubt)."""

BUS = f"{ROOT}:bus"
"""stream: system-wide events (contracts.events.Topic)."""

INDEX_OUTBOX = f"{ROOT}:index:outbox"
"""stream: index writes that the dispatch role has to do."""

UPKEEP_LOCK = f"{ROOT}:upkeep:lock"
"""string with expiry: who runs the upkeep duties now."""


def goals_in_state(state: str) -> str:
    """zset goal_id -> time of entering the state."""
    return f"{ROOT}:goals:{state}"


def goals_of_project(project: str) -> str:
    """zset goal_id -> created_at."""
    return f"{ROOT}:goals:project:{project}"


def goal(goal_id: str) -> str:
    """hash: the goal record."""
    return f"{ROOT}:goal:{goal_id}"


def goal_events(goal_id: str) -> str:
    """stream: the goal's events."""
    return f"{ROOT}:goal:{goal_id}:events"


def goal_journal(goal_id: str) -> str:
    """list of msgpack entries: model responses and tool results, in order."""
    return f"{ROOT}:goal:{goal_id}:journal"


def idempotency(project: str, key: str) -> str:
    """string: id of the goal that was submitted with this idempotency key."""
    return f"{ROOT}:idempotency:{project}:{key}"


def reservation(reservation_id: str) -> str:
    """hash: one reservation of money; kept for a day after it is settled or released."""
    return f"{ROOT}:reservation:{reservation_id}"


def scope_budget(scope: str) -> str:
    """hash limit, spent, reserved, in_doubt, saved (micro-dollars) of a scope: ``global``,
    ``project:<name>``, ``goal:<id>``.
    """
    return f"{ROOT}:budget:{scope}"


def sentience(project: str) -> str:
    """hash: a project's internal state."""
    return f"{ROOT}:sentience:{project}"


def sentience_history(project: str) -> str:
    """list: the last 100 states."""
    return f"{ROOT}:sentience:{project}:history"


def trace(project: str, trace_id: str) -> str:
    """hash: content (msgpack), file stamp and counters of a trace."""
    return f"{ROOT}:trace:{project}:{trace_id}"


def trace_ids(project: str) -> str:
    """set of trace ids of a project."""
    return f"{ROOT}:traces:{project}"


def trace_wordings(project: str) -> str:
    """hash goal signature -> trace id: exact goals and aliases."""
    return f"{ROOT}:wordings:{project}"


def trace_counted(project: str, trace_id: str, outcome: str) -> str:
    """string with expiry: an outcome that the trace's counters already hold."""
    return f"{ROOT}:trace:{project}:{trace_id}:counted:{outcome}"


TRACE_PROJECTS = f"{ROOT}:traces"
"""set of projects that have traces."""


def epoch(what: str) -> str:
    """counter: bumped by whoever changed files of that kind (``agents``, ``traces``)."""
    return f"{ROOT}:epoch:{what}"


def heartbeat(worker: str) -> str:
    """string with expiry: role and facts of a live worker, for doctor."""
    return f"{ROOT}:worker:{worker}"
