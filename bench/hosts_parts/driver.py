"""Submits goals as a producer, cuts and heals links meanwhile, and waits for rest."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import redis

from bench.chaos_parts.evidence import Evidence, gather
from bench.chaos_parts.population import Planned
from bench.chaos_parts.steps import Steps, forget_taken
from bench.hosts_parts.broker import Broker
from bench.hosts_parts.network import Host
from llmos_workers.client import LLMOS
from llmos_workers.contracts.errors import LLMOSError
from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.kernel.commits import CommitLog
from llmos_workers.kernel.redis import connect
from llmos_workers.kernel.workers import live_workers
from llmos_workers.rehearsal.log import ServedLog

OPEN_GOALS = 14
"""So many goals are kept under way."""

HELD_SECS = 30.0
TAKE_SECS = 60.0
"""How long others may take to have the goals of a host that is cut off."""

BACK_SECS = 120.0
"""How long a host may take, after its link is healed, to be at work again."""

END_SECS = 240.0
REST_SECS = 60.0
AWAY = (redis.RedisError, LLMOSError)

T = TypeVar("T")


@dataclass(frozen=True)
class Cut:
    """One cut of one host's link."""

    host: Host
    silent: bool
    seconds: float
    """How long it lasts at least; and until others have the host's goals."""
    forgotten: bool = False
    """Whether the broker closes its ends of the host's connections meanwhile."""

    @property
    def what(self) -> str:
        """In words."""
        how = "nothing arrives" if self.silent else "cable out"
        return f"{self.host.name}: {how}" + (", connections forgotten" if self.forgotten else "")


@dataclass
class CutSeen:
    """What a cut did."""

    cut: Cut
    held: int
    """Goals that the host held."""
    taken: int = 0
    """How many of them others took over, or ended, while it was cut off."""
    seconds: float = 0.0
    beats: float = 0.0
    """Seconds from healing until all of its workers were heard again."""
    back: float = 0.0
    """Until one of its runs held a goal."""


@dataclass
class Driver:
    """One run. ``operator`` may everything; ``producer`` submits, with a producer's rights."""

    operator: LLMOS
    producer: LLMOS
    broker: Broker
    goals: Sequence[Planned]
    say: Callable[[str], None]
    submitted: dict[str, Planned] = field(default_factory=dict)
    late: set[tuple[str, str]] = field(default_factory=set)
    seen: list[CutSeen] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._steps = Steps(self.operator.redis, self.operator.goals)
        self._commits = CommitLog(self.operator.redis)
        self._enough = threading.Event()
        self._over = threading.Event()
        self._failed: list[BaseException] = []

    def run(self, cuts: Sequence[Cut]) -> None:
        """From the first submission to rest."""
        with self._beside(self._submit), self._beside(self._deny):
            try:
                for cut in cuts:
                    self.seen.append(self._cut(cut))
                self._enough.set()
                self._wait(self._ended, END_SECS, "all goals end")
                self._wait(self._at_rest, REST_SECS, "all is at rest")
            finally:
                self._enough.set()
                self._over.set()

    def evidence(self, served: ServedLog, bell_file: Path) -> Evidence:
        """Everything there is to judge."""
        config = self.operator.config.redis
        with connect(config, db=config.result_db) as results:
            return gather(
                self.operator,
                results,
                self.submitted,
                served=served.entries(),
                over_limit_micro=0,
                forbidden=frozenset(self.late),
                bell_file=bell_file,
                orphans=(),
            )

    # -- cuts --------------------------------------------------------------------------------

    def _cut(self, cut: Cut) -> CutSeen:
        held = self._wait(lambda: self._held_by(cut.host), HELD_SECS, f"{cut.host.name} works")
        began = time.monotonic()
        cut.host.cut(silent=cut.silent)
        seen = CutSeen(cut, len(held))
        self.say(f"cut {cut.what}: {len(held)} goals")
        left = {record.goal_id: record for record in held}
        with contextlib.suppress(TimeoutError):
            self._wait(lambda: not self._not_taken(left), TAKE_SECS, "taken over")
        if cut.forgotten:
            self.say(f"  {self.broker.forget(cut.host.address)} connections forgotten")
        time.sleep(max(0.0, cut.seconds - (time.monotonic() - began)))
        self._not_taken(left)
        seen.taken = len(held) - len(left)
        seen.seconds = time.monotonic() - began
        cut.host.heal()
        healed, wall = time.monotonic(), time.time()
        self._wait(lambda: self._beating(cut.host, wall), BACK_SECS, f"{cut.host.name} beats")
        seen.beats = time.monotonic() - healed
        self._wait(lambda: self._held_by(cut.host, wall), BACK_SECS, f"{cut.host.name} is back")
        seen.back = time.monotonic() - healed
        self.say(
            f"  {seen.taken} taken over; beats after {seen.beats:.1f} s, "
            f"at work after {seen.back:.1f} s"
        )
        return seen

    def _held_by(self, host: Host, since: float = 0.0) -> list[GoalRecord]:
        """Goals that runs on the host hold, and took after ``since`` (Unix seconds)."""
        mine = f"{host.name}:"
        return [
            record
            for record in self._steps.running()
            if str(record.lease_owner).startswith(mine) and record.updated_at > since
        ]

    def _not_taken(self, left: dict[str, GoalRecord]) -> dict[str, GoalRecord]:
        """Those of the goals that are still the cut-off run's; what others took over must never
        be published by it from then on.
        """
        forget_taken(left, self.operator.goals, self._commits, self.late)
        return left

    def _beating(self, host: Host, since: float) -> bool:
        """Whether all workers of the host were heard after ``since``."""
        fresh = [
            worker
            for worker in live_workers(self.operator.redis)
            if worker["host"] == host.name and worker["beat_at"] > since
        ]
        return len(fresh) == len(host.programs)

    # -- beside ------------------------------------------------------------------------------

    def _submit(self) -> None:
        for goal in self.goals:
            while self._steps.under_way() >= OPEN_GOALS and not self._enough.wait(0.05):
                pass
            if self._enough.is_set():
                return
            handle = self.producer.submit(
                goal.text, project=goal.project, mode=goal.mode, agent=goal.agent,
                idempotency_key=f"hosts-{goal.number}",
            )  # fmt: skip
            self.submitted[handle.id] = goal

    def _deny(self) -> None:
        """Say no to whatever asks for a person: a bell of which nobody knows whether it rang."""
        while not self._over.wait(0.5):
            for asked in self.operator.approvals():
                with contextlib.suppress(*AWAY):  # somebody else ended it
                    self.operator.deny(asked.approval_id, why="nobody is here", by="hosts")

    @contextmanager
    def _beside(self, work: Callable[[], None]) -> Iterator[None]:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                self._failed.append(error)
                raise

        thread = threading.Thread(target=guarded, name=work.__name__, daemon=True)
        thread.start()
        yield
        thread.join()

    # -- waiting -----------------------------------------------------------------------------

    def _wait(self, condition: Callable[[], T], seconds: float, what: str) -> T:
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            if self._failed:
                raise self._failed[0]
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds:.0f} s: {what}")
            time.sleep(0.1)
        return value

    def _ended(self) -> bool:
        found = self.operator.goals.get_many(list(self.submitted))
        return all(record is None or record.state.final for record in found)

    def _at_rest(self) -> bool:
        calls = self.operator.token_economy.reservations()
        if any(call.state in ("reserved", "sent") for call in calls):
            return False
        config = self.operator.config.redis
        with connect(config, db=config.result_db) as results:
            names = [f"celery-task-meta-{goal_id}" for goal_id in self.submitted]
            return bool(results.exists(*names) == len(names))
