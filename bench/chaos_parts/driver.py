"""Submits the goals, does the mischief beside them, and waits until everything has come to rest."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import redis

from bench.chaos_parts.evidence import Evidence, gather
from bench.chaos_parts.fleet import Fleet
from bench.chaos_parts.mischief import Mischief
from bench.chaos_parts.model import HoldingLog
from bench.chaos_parts.population import POOR, POOR_LIMIT_MICRO, Planned
from bench.chaos_parts.steps import Steps
from llmos_workers.client import LLMOS
from llmos_workers.contracts.errors import LLMOSError
from llmos_workers.contracts.goal import GoalState
from llmos_workers.kernel.commits import CommitLog
from llmos_workers.kernel.redis import connect

OPEN_GOALS = 24
"""So many goals are kept under way: a new one is submitted when one ends."""

AHEAD = 0.1
"""Part of the goals by which submitting may be ahead of the mischief, unless that looks for a
victim."""

SECS_PER_JOB = 1.0
"""Pause between disruptions, at least."""

AWAY_SECS = 30.0
"""How long a server that is down is waited for."""

FIRST_SECS = 20.0
WATCH_SECS = 0.25
REST_SECS = 60.0
"""Upkeep clears what dead runs left every 10 s; this must do."""

END_SECS = 240.0
"""Longest wait for the last goal after the last mischief."""

AWAY = (redis.RedisError, LLMOSError)


class Driver:
    """One run."""

    def __init__(
        self,
        fleet: Fleet,
        log: HoldingLog,
        goals: Sequence[Planned],
        rng: random.Random,
        say: Callable[[str], None],
    ) -> None:
        self._fleet, self._log, self._planned, self._say = fleet, log, goals, say
        self._llmos = LLMOS(fleet.config, patience_s=AWAY_SECS)
        state = connect(fleet.config.redis, timeout_s=5.0)
        self._steps = Steps(state, self._llmos.goals)
        self.mischief = Mischief(fleet, self._steps, CommitLog(state), log, rng, say)
        self.goals: dict[str, Planned] = {}
        self._over_limit = 0
        self._rng = rng
        self._jobs_done = threading.Event()
        self._done = threading.Event()

    def run(self, kills: int, stops: int, restarts: int) -> None:
        """From the first submission to rest."""
        self._llmos.token_economy.set_limit(f"project:{POOR}", POOR_LIMIT_MICRO)
        jobs = self.mischief.agenda(kills, stops, restarts)
        helpers = [
            threading.Thread(target=self._submit, args=(len(jobs),), name="chaos-submit"),
            threading.Thread(target=self._watch, name="chaos-watch", daemon=True),
        ]
        for helper in helpers:
            helper.start()
        self._wait_for_first()
        for number, job in enumerate(jobs):
            time.sleep(SECS_PER_JOB * self._rng.uniform(0.5, 1.5))
            while len(self.goals) < len(self._planned) * number / len(jobs):
                time.sleep(0.02)
            self.mischief.do(job)
        self._jobs_done.set()
        helpers[0].join()
        self.mischief.finish()
        self._wait_for_ends()
        self._wait_for_rest()
        self._done.set()
        helpers[1].join()

    def evidence(self, bell_file: Path, orphans: Sequence[str]) -> Evidence:
        """Everything there is to judge."""
        config = self._fleet.config.redis
        results = connect(config, db=config.result_db)
        return gather(
            self._llmos,
            results,
            self.goals,
            served=self._log.entries(),
            over_limit_micro=self._over_limit,
            forbidden=frozenset(self.mischief.late),
            bell_file=bell_file,
            orphans=orphans,
        )

    # -- inside ------------------------------------------------------------------------------

    def _submit(self, jobs: int) -> None:
        for number, goal in enumerate(self._planned):
            while self._enough(number / len(self._planned), jobs):
                time.sleep(0.03)
            self.goals[self._send(goal)] = goal

    def _enough(self, share: float, jobs: int) -> bool:
        """Whether submitting has to wait: for goals to end, or for the mischief."""
        ahead = share > len(self.mischief.hits) / max(1, jobs) + AHEAD
        if ahead and not self.mischief.hunting and not self._jobs_done.is_set():
            return True
        try:
            return self._steps.under_way() >= OPEN_GOALS
        except AWAY:
            return True

    def _send(self, goal: Planned) -> str:
        """Submit, again and again while the server is away: the key makes it one goal."""
        deadline = time.monotonic() + AWAY_SECS
        while True:
            try:
                handle = self._llmos.submit(
                    goal.text,
                    project=goal.project,
                    mode=goal.mode,
                    agent=goal.agent,
                    idempotency_key=f"chaos-{goal.number}",
                )
            except AWAY:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return handle.id

    def _watch(self) -> None:
        """Look at the limits all the time; say no to whatever asks for a person."""
        while not self._done.wait(WATCH_SECS):
            with contextlib.suppress(*AWAY):
                self._look_at_limits()
                for asked in self._llmos.approvals():
                    self._llmos.deny(asked.approval_id, why="nobody is here", by="chaos")

    def _look_at_limits(self) -> None:
        economy = self._llmos.token_economy
        for state in economy.states(economy.known_scopes()):
            for sums in state.all_sums:
                if sums.limit_micro is not None:
                    over = sums.committed_micro - sums.limit_micro
                    self._over_limit = max(self._over_limit, over)

    def _wait_for_first(self) -> None:
        """Until something is learned: before that there is no replay to disturb."""
        deadline = time.monotonic() + FIRST_SECS
        while time.monotonic() < deadline and not self._steps.in_state(GoalState.SUCCEEDED):
            time.sleep(0.05)

    def _wait_for_ends(self) -> None:
        deadline, told = time.monotonic() + END_SECS, 0.0
        while time.monotonic() < deadline:
            open_ids = self._open()
            if not open_ids:
                return
            if time.monotonic() - told > 10:
                told = time.monotonic()
                self._say(f"waiting for {len(open_ids)} goals, e.g. {open_ids[0]}")
            time.sleep(0.25)

    def _open(self) -> list[str]:
        ids = list(self.goals)
        found = zip(ids, self._llmos.goals.get_many(ids), strict=True)
        return [goal_id for goal_id, record in found if record and not record.state.final]

    def _wait_for_rest(self) -> None:
        """Until nothing is reserved, nothing is staged and every goal has its result."""
        deadline = time.monotonic() + REST_SECS
        while time.monotonic() < deadline and not self._at_rest():
            time.sleep(0.5)

    def _at_rest(self) -> bool:
        calls = self._llmos.token_economy.reservations()
        if any(call.state in ("reserved", "sent") for call in calls):
            return False
        config = self._fleet.config.redis
        with connect(config, db=config.result_db) as results:
            names = [f"celery-task-meta-{goal_id}" for goal_id in self.goals]
            return not names or results.exists(*names) == len(names)
