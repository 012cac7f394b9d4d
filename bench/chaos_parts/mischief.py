"""What is done to the fleet: kills, stops and restarts, spread over the run and over its goals."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import redis

from bench.chaos_parts.fleet import Fleet
from bench.chaos_parts.model import HoldingLog
from bench.chaos_parts.steps import OF_A_RUN, UNANSWERED, At, Steps, forget_taken, owner_pid
from llmos_workers.contracts.errors import LLMOSError
from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.kernel.commits import CommitLog
from llmos_workers.rehearsal.log import ServedRequest

MIN_ANSWERS = 5
"""Kills between an API answer and its journal, where there are so many kills at all."""

KILLS = ("child", "llm", "dispatch", "replay", "upkeep")
FIND_SECS = 8.0
"""How long a victim in mid-goal is looked for before any of its kind is taken."""

AWAY_SECS = 30.0
"""How long a server that is down is waited for."""

CHOOSY_SECS = 1.5
"""How long the rarest steps are waited for."""

MOST_STOPPED_SECS = 30.0
SETTLE_SECS = 1.5
"""How long a woken process is left alone: time to do the wrong thing."""


@dataclass(frozen=True)
class Hit:
    """One disruption and the goals that it hit."""

    at: float
    """Unix time in seconds."""
    what: str
    pid: int
    goals: tuple[At, ...]

    @property
    def steps(self) -> str:
        """What the goals were at, the most frequent first."""
        counted = Counter(each.step for each in self.goals)
        words = [f"{step} ({n})" if n > 1 else step for step, n in counted.most_common()]
        return "; ".join(words) or "no goal"


@dataclass
class Mischief:
    """Does it. ``late`` collects commits that must never appear: (project, commit id)."""

    fleet: Fleet
    steps: Steps
    commits: CommitLog
    log: HoldingLog
    rng: random.Random
    say: Callable[[str], None]
    hits: list[Hit] = field(default_factory=list)
    late: set[tuple[str, str]] = field(default_factory=set)
    waking: list[threading.Thread] = field(default_factory=list)
    hunting: bool = False
    """Whether it looks for a goal to hit."""

    def agenda(self, kills: int, stops: int, restarts: int) -> list[str]:
        """What is done, in order."""
        answers = min(kills, max(MIN_ANSWERS, kills // 4))
        jobs = [KILLS[number % len(KILLS)] for number in range(kills - answers)]
        jobs += ["stop"] * stops
        jobs += ["restart" if number % 2 else "kill server" for number in range(restarts)]
        self.rng.shuffle(jobs)
        for number in range(answers):  # evenly: there must be answers left for the last one
            jobs.insert(number * (len(jobs) + 1) // answers, "answer")
        return jobs

    def do(self, job: str) -> None:
        """One of the agenda. A server that is away meanwhile is waited for."""
        deadline = time.monotonic() + AWAY_SECS
        while True:
            try:
                hit = self._do(job)
                break
            except (redis.RedisError, LLMOSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            finally:
                self.hunting = False
        self.hits.append(hit)
        self.say(f"{len(self.hits):3d}  {hit.what}: {hit.steps}")

    def finish(self) -> None:
        """Wait until everything that was stopped has been woken."""
        for thread in self.waking:
            thread.join()

    def _do(self, job: str) -> Hit:
        if job in ("answer", "llm", "stop"):
            self.finish()  # with all of a role's workers gone, it is not llmos that is slow
        self.hunting = True
        if job == "answer":
            return self._kill_after_answer()
        if job == "stop":
            return self._stop()
        if job in ("restart", "kill server"):
            at, hit = time.time(), self.steps.look(self.steps.running())
            self.fleet.restart_server(hard=job == "kill server")
            return Hit(at, f"{job} (broker)", 0, tuple(hit))
        return self._kill(job)

    # -- kills -------------------------------------------------------------------------------

    def _kill(self, job: str) -> Hit:
        """Stop it first, so that what it was at is known, then kill it."""
        victim, hit = self._catch(job)
        at = time.time()
        try:
            self.fleet.kill(victim)
        finally:
            _signal(victim, signal.SIGCONT)
        what = "a replay child" if job == "child" else f"{_a(job)} worker"
        return Hit(at, f"kill -9 of {what}", victim, hit)

    def _catch(self, job: str) -> tuple[int, tuple[At, ...]]:
        """A process of the kind, stopped in the middle of a goal, and what it was at.

        Steps that were hit least are waited for a while, so that all of a goal's life is.
        """
        began = time.monotonic()
        while True:
            waited = time.monotonic() - began
            victims = self._victims(job, choosy=waited < CHOOSY_SECS, any_way=waited > FIND_SECS)
            if not victims:
                time.sleep(0.003)
                continue
            victim = self.rng.choice(victims)
            _signal(victim, signal.SIGSTOP)
            hit = tuple(self._hit_by(job, victim))
            if hit or job == "upkeep" or waited > FIND_SECS:
                return victim, hit
            _signal(victim, signal.SIGCONT)

    def _victims(self, job: str, *, choosy: bool, any_way: bool) -> list[int]:
        candidates = self._candidates(job)
        if any_way or job == "upkeep":
            return candidates
        if job == "dispatch":
            return candidates if self.steps.in_state(GoalState.ACCEPTED) else []
        holders = self._holders(choosy=choosy)
        if job == "replay":
            return [pid for pid in candidates if holders & set(self.fleet.children(pid))]
        return [pid for pid in candidates if pid in holders]

    def _holders(self, *, choosy: bool) -> set[int]:
        """Processes with a run; with ``choosy`` only those at a step that was hit least."""
        running = self.steps.running()
        if not choosy:
            return {owner_pid(record) for record in running}
        counts = Counter(at.step for hit in self.hits for at in hit.goals)
        least = min(counts[step] for step in OF_A_RUN)
        looked = zip(running, self.steps.look(running), strict=True)
        return {owner_pid(record) for record, at in looked if counts[at.step] <= least}

    def _hit_by(self, job: str, victim: int) -> Iterable[At]:
        if job == "dispatch":
            waiting = self.steps.in_state(GoalState.ACCEPTED)
            return [At(goal_id, 0, "accepted, not dispatched") for goal_id in waiting]
        mine = [victim, *(self.fleet.children(victim) if job == "replay" else ())]
        return self.steps.look(self.steps.held_by(mine))

    def _candidates(self, job: str) -> list[int]:
        if job != "child":
            return self.fleet.pids(job)
        parents = self.fleet.pids("replay")
        return [child for parent in parents for child in self.fleet.children(parent)]

    def _kill_after_answer(self) -> Hit:
        """The model has answered and charged; its last bytes are held until the asker is dead."""
        entry = self.log.hold_next(3 * FIND_SECS)
        try:
            pid = asker(entry, self.fleet.pids("llm")) if entry is not None else 0
            if entry is None or not pid:
                return self._kill("llm")
            _signal(pid, signal.SIGSTOP)
            try:
                at = time.time()
                hit = self._answered(entry, self.steps.held_by([pid]))
                self.fleet.kill(pid)
            finally:
                _signal(pid, signal.SIGCONT)
            return Hit(at, "kill -9 of an llm worker after an answer", pid, hit)
        finally:
            self.log.let_go()

    def _answered(self, entry: ServedRequest, held: list[GoalRecord]) -> tuple[At, ...]:
        asked = {record.goal_id for record in held if record.text == entry.goal}
        return tuple(
            At(each.goal_id, each.fence, UNANSWERED) if each.goal_id in asked else each
            for each in self.steps.look(held)
        )

    # -- stops -------------------------------------------------------------------------------

    def _stop(self) -> Hit:
        """SIGSTOP of a lease holder; it is woken when its goals are with others."""
        job = self.rng.choice(["llm", "child"])
        victim, hit = self._catch(job)
        at, held = time.time(), self.steps.held_by([victim])
        thread = threading.Thread(target=self._wake, args=(victim, held), name="chaos-wake")
        thread.start()
        self.waking.append(thread)
        what = "a replay child" if job == "child" else "an llm worker"
        return Hit(at, f"SIGSTOP of {what} past its leases", victim, hit)

    def _wake(self, pid: int, held: list[GoalRecord]) -> None:
        try:
            self._until_taken_over(held)
        finally:
            _signal(pid, signal.SIGCONT)
        time.sleep(SETTLE_SECS)

    def _until_taken_over(self, held: list[GoalRecord]) -> None:
        """Until each goal is another run's or has ended; what is not published then by the
        stopped run must never be.
        """
        deadline = time.monotonic() + MOST_STOPPED_SECS
        left = {record.goal_id: record for record in held}
        while left and time.monotonic() < deadline:
            time.sleep(0.1)
            with contextlib.suppress(redis.RedisError, LLMOSError):
                forget_taken(left, self.steps.goals, self.commits, self.late)


def _signal(pid: int, number: signal.Signals) -> None:
    """Signal a process that may be gone; SIGCONT after SIGKILL wakes nobody."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _a(role: str) -> str:
    return f"an {role}" if role in ("llm", "upkeep") else f"a {role}"


def asker(entry: ServedRequest, pids: Iterable[int]) -> int:
    """Which process made a request: the one whose socket has its port; 0: none of these."""
    inodes = _socket_inodes(entry.port)
    for pid in pids:
        with contextlib.suppress(OSError):
            for file in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(file) in inodes:  # noqa: PTH115 - it is no path
                        return pid
    return 0


def _socket_inodes(port: int) -> set[str]:
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if int(words[1].rpartition(":")[2], 16) == port:
            found.add(f"socket:[{words[9]}]")
    return found
