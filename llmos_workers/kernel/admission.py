"""Admission: so many goals of a project are under way at once, the others wait their turn.

What is said here of a project holds for every concurrency key: goals that were submitted with
one take turns under it, the others under their project's name.

Decided where messages are taken, not where goals are submitted: submitting stays as thin as it
is, and messages of plain Celery apps are treated alike. A worker that takes a message asks
``admit`` first, before anything that costs; a goal beyond its project's window is PARKED in an
order of its own and its message is done with, at the price of one script. So a project's flood
drains from the queue at once, and another's goal behind it starts after at most a window of it:
no more than that is let in straight from the queue within a minute, whoever is let in later
stands behind. A flood that drains for longer than a minute has another window's start.

``pump`` (recovery clock) and ``leave`` (a goal's end) let the next ones in: state first, message
second, projects in turn. Nothing depends on ``leave`` being called: whoever is not under way any
more is found by its state.

A window of 1 makes a project's goals run one after the other.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, cast

from llmos_workers.contracts.errors import InvalidOption
from llmos_workers.contracts.goal import (
    GoalRecord,
    GoalState,
    TaskEnvelope,
    check_concurrency_key,
)
from llmos_workers.kernel import keys, scripts, wire
from llmos_workers.kernel.goal_submit import not_found, state_event
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.redis import Client

MAX_WINDOW = 10_000
TURN = 200
"""Most goals of one project that one pump lets in."""

PROJECTS = 100
"""Most projects that one pump serves; those that waited longest for a turn come first."""

PRIORITY_WEIGHT = 1e11
"""More than any Unix time in seconds: priority first, age second."""


@dataclass(frozen=True)
class Lane:
    """A project or concurrency key, and its goals."""

    name: str
    window: int
    own: bool
    """Whether the window is its own, not the system's."""
    under_way: int
    """Let in and not left; may count some that have ended."""
    waiting: int


class Admission:
    """``window``: most goals of a project under way, where it has no window of its own.
    ``redis`` is the state database, ``broker`` the broker's.
    """

    def __init__(self, redis: Client, broker: Client, goals: GoalStore, *, window: int) -> None:
        self._redis = redis
        self._broker = broker
        self._goals = goals
        self._window = window

    def admit(self, record: GoalRecord, *, envelope: TaskEnvelope | None = None) -> bool:
        """Whether the goal may go on now; else it is PARKED, with the envelope it goes on in.

        True as well for goals that run, wait for something else or have ended: those are not
        for admission to decide. A deadline wakes a goal that waits. Asking twice does no harm.
        Raises GoalNotFound.
        """
        place = record.options.priority * PRIORITY_WEIGHT + record.created_at
        why = f"waits for its turn: enough goals of {record.lane} are under way"
        event = state_event(GoalState.PARKED, {"reason": why})
        kept = "" if envelope is None else envelope.model_dump_json()
        due = "" if record.options.deadline is None else repr(record.options.deadline)
        args = (record.goal_id, repr(place), kept, event, uuid.uuid4().hex, due)
        code, *room = self._run("admit", record.lane, args)
        if code == b"missing":
            raise not_found(record.goal_id)
        if room and room[0]:  # around through the order, and to the end of the queue
            wire.publish(self._broker, self._let_in(record.lane))
        return bool(code == b"go")

    def leave(self, goal_id: str, project: str) -> int:
        """A goal ended or begins to wait for something; how many were let in for it.

        Others are let in once a quarter of the window is free: not a script for each end.
        """
        inside, waiting, window = self._run("leave", project, (goal_id,))
        if not waiting or inside > window * 3 // 4:
            return 0
        return wire.publish(self._broker, self._let_in(project))

    def pump(self) -> int:
        """Let in whom the windows have room for, projects in turn; how many."""
        raw = cast(list[bytes], self._redis.zrange(keys.ADMISSION_BACKLOG, 0, PROJECTS - 1))
        turns = [self._let_in(project.decode()) for project in raw]
        mixed = chain.from_iterable(zip_longest(*turns))
        admitted = [record for record in mixed if record is not None]
        return wire.publish(self._broker, admitted) if admitted else 0

    def set_window(self, project: str, window: int | None) -> None:
        """Give a project a window of its own; None: the system's. Raises InvalidOption."""
        check_concurrency_key(project)
        if window is None:
            self._redis.hdel(keys.ADMISSION_WINDOWS, project)
            return
        if isinstance(window, bool) or not 1 <= window <= MAX_WINDOW:
            raise InvalidOption(f"a window is a number from 1 to {MAX_WINDOW:,}, not {window!r}.")
        self._redis.hset(keys.ADMISSION_WINDOWS, project, str(window))

    def lanes(self, names: Iterable[str] = ()) -> list[Lane]:
        """These, those with a window of their own and those where somebody waits, by name."""
        stored = cast(dict[bytes, bytes], self._redis.hgetall(keys.ADMISSION_WINDOWS))
        own = {name.decode(): int(window) for name, window in stored.items()}
        waits = cast(list[bytes], self._redis.zrange(keys.ADMISSION_BACKLOG, 0, -1))
        found = sorted({*names, *own, *(each.decode() for each in waits)})
        with self._redis.pipeline(transaction=False) as pipe:
            for name in found:
                pipe.zcard(keys.admitted(name))
                pipe.zcard(keys.admission_waiting(name))
            counts = pipe.execute() if found else []
        return [
            Lane(name, own.get(name, self._window), name in own, under_way, waiting)
            for name, under_way, waiting in zip(found, counts[::2], counts[1::2], strict=True)
        ]

    def under_way(self, project: str) -> int:
        """Goals that were let in and have not left; may count some that have ended."""
        return self._redis.zcard(keys.admitted(project))

    def waiting(self, project: str) -> int:
        """Goals that wait for their turn."""
        return self._redis.zcard(keys.admission_waiting(project))

    # -- inside ----------------------------------------------------------------------------

    def _let_in(self, project: str) -> list[GoalRecord]:
        event = state_event(GoalState.ACCEPTED, {"reason": "its turn has come"})
        ids = self._run("pump", project, (TURN, event, uuid.uuid4().hex))
        found = self._goals.get_many([each.decode() for each in ids]) if ids else []
        return [record for record in found if record is not None]

    def _run(self, op: str, project: str, args: Sequence[scripts.Argument]) -> list[Any]:
        names = [
            keys.admitted(project),
            keys.admission_waiting(project),
            keys.ADMISSION_BACKLOG,
            keys.ADMISSION_WINDOWS,
            keys.admission_fresh(project),
            keys.DELAYED,
        ]
        head = (op, project, self._window, keys.goal(""), keys.goals_in_state(""))
        script = scripts.load("admission", include=("fence",))
        return cast(list[Any], script.run(self._redis, names, (*head, *args)))
