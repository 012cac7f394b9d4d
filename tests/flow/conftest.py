"""The flow in one process: the hops' own code, every real layer, a model that a test scripts.

Celery's part is played by ``Hop``, which holds what a hop asks of its task: the goal's id, and a
way to come later.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import anthropic
import pytest
import redis

from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.contracts.payload import make_options
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.execution.llm import ModelGateway
from llmos_workers.flow.dispatch import Dispatcher
from llmos_workers.flow.judge import judge_first
from llmos_workers.flow.replay import replay
from llmos_workers.flow.replay_parts import Handover, keep_done
from llmos_workers.flow.run import Run, RunGuards
from llmos_workers.kernel.goals import new_record
from llmos_workers.kernel.lease import LeaseKeeper
from llmos_workers.learning.matching.embedder import MiniLMEmbedder, bundled_embedder
from llmos_workers.rehearsal.brain import Brain, Reply
from llmos_workers.rehearsal.protocol import PromptCache
from llmos_workers.rehearsal.server import RehearsalServer
from llmos_workers.runtime import Runtime
from llmos_workers.tasks.hops import Next, Process, leased_run, receive
from tests.support.script import Script

PROJECT = "demo"


class Later(Exception):
    """What a hop raises to be called again."""


class Hop:
    """A task as the hops see it."""

    def __init__(self, goal_id: str) -> None:
        names = (
            "root_id", "parent_id", "group", "group_index", "chord", "reply_to",
            "callbacks", "errbacks", "chain", "headers",
        )  # fmt: skip
        self.request = SimpleNamespace(id=goal_id, correlation_id=goal_id, **dict.fromkeys(names))
        self.countdowns: list[float] = []

    def retry(self, *, countdown: float, throw: bool) -> Exception:
        self.countdowns.append(countdown)
        return Later()


@dataclass
class Flow:
    """All layers of a worker process, and shortcuts through them."""

    runtime: Runtime
    server: RehearsalServer
    decisions: list[ModeDecision] = field(default_factory=list)
    """Of the last goal, one a hop."""

    def __post_init__(self) -> None:
        self.dispatcher = Dispatcher(self.runtime)
        self.process = Process(os.getpid(), self.runtime, self.dispatcher)
        self.area = self.runtime.workspace.project(PROJECT).output

    def model(self, *replies: Reply) -> Script:
        """From now on the model gives these replies."""
        self.server.brain = Script(*replies)
        return self.server.brain

    def submit(self, goal: str, **options: Any) -> GoalRecord:
        """A goal on record, not yet dispatched."""
        record = new_record(
            goal, make_options(project=PROJECT, **options), now=self.runtime.clock.now()
        )
        return self.runtime.goals.create(record)[0]

    def run(self, goal: str, **options: Any) -> Outcome:
        """A goal through all its hops."""
        record = self.submit(goal, **options)
        result: Any = self.receive(record)
        self.decisions = []
        while isinstance(result, Next):
            self.decisions.append(result.decision)
            result = self.work(record)
        return Outcome.model_validate(result)

    def receive(self, record: GoalRecord) -> dict[str, Any] | Next:
        """The dispatch hop."""
        return receive(Hop(record.goal_id), self.process, {"v": 1, "stored": True})

    def work(self, record: GoalRecord) -> dict[str, Any] | Next:
        """The hop of the mode that the goal's decision names."""
        decision = self.runtime.goals.get(record.goal_id).decision
        assert decision is not None
        work = judge_first if decision.mode.calls_model else replay
        return leased_run(Hop(record.goal_id), self.runtime, work)

    def replay(
        self,
        record: GoalRecord,
        decision: ModeDecision,
        *,
        after_start: Callable[[LeaseKeeper], object] = lambda _keeper: None,
        **options: Any,
    ) -> Outcome | Handover:
        """One replay under a lease that is given back. ``options`` are other than submitted."""
        goals = self.runtime.goals
        lease, record = goals.acquire(record.goal_id, owner="test", ttl_s=30)
        changed = record.options.model_copy(update=options)
        record = record.model_copy(update={"options": changed})
        with LeaseKeeper(goals, lease, ttl_s=0.3) as keeper:
            after_start(keeper)
            asked = goals.cancel_requested(record.goal_id)
            record = record.model_copy(update={"cancel_requested": asked})
            guards = RunGuards(record, goals, self.runtime.clock, keeper)
            stage = self.runtime.stages.open(record.project, record.goal_id, lease.fence)
            run = Run(self.runtime, record, decision, guards, stage)
            result = replay(run)
            if isinstance(result, Handover):
                keep_done(run, result)
        goals.release(lease, state=GoalState.DISPATCHED)
        return result

    def trace(self, goal: str) -> ExecutionTrace:
        """The trace that was learned from a goal."""
        from llmos_workers.learning.signature import goal_signature

        found = self.runtime.traces.get(PROJECT, goal_signature(goal))
        assert found is not None, f"nothing was learned from {goal!r}"
        return found

    def events(self, goal_id: str, kind: str) -> list[dict[str, Any]]:
        """Data of a goal's events of one kind."""
        return [e.data for e in self.runtime.goals.events(goal_id) if e.kind == kind]

    def ledger(self, kind: str) -> list[Any]:
        """Entries of one kind, oldest first."""
        return [e for e in reversed(self.runtime.economy.ledger(count=1000)) if e.kind == kind]


@dataclass(frozen=True)
class World:
    """What is made once: a model's server, a way to it, and the embedder."""

    server: RehearsalServer
    http: Any
    embedder: MiniLMEmbedder


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    # No certificates to load: they would be most of the time of a test.
    with RehearsalServer() as server, anthropic.DefaultHttpxClient(verify=False) as http:
        yield World(server, http, bundled_embedder())


@pytest.fixture
def flow(tmp_path, redis_server: str, state: redis.Redis, world: World, request) -> Iterator[Flow]:
    """``request.param``: configuration groups to change."""
    changes = getattr(request, "param", {})
    config = LLMOSConfig.from_dict(
        {
            "workspace": tmp_path / "workspace",
            "sdk": {"base_url": world.server.url},
            "redis": {"url": redis_server},
            "kernel": {"budget_usd": 50.0},
        }
        | changes
    )
    runtime = Runtime(config, redis=state, embedder=world.embedder)
    runtime.gateway = ModelGateway(
        config.sdk, runtime.economy, runtime.clock, http_client=world.http
    )
    world.server.log.clear()
    world.server.faults.clear()
    world.server.cache = PromptCache()
    world.server.brain = Brain(world.server.families())
    yield Flow(runtime, world.server)
    runtime.index.close()
