"""A system with one of everything, for tests that call all commands."""

from __future__ import annotations

from pathlib import Path

import redis
from pydantic import SecretStr

from llmos_workers.config import WebhooksConfig
from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.memory import NoteKind
from llmos_workers.contracts.outcome import ErrorInfo, Outcome
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.evolution.generated import GeneratedTools
from llmos_workers.evolution.seed import install_seed_agents
from llmos_workers.execution.tools.registry import ToolRegistry
from llmos_workers.flow.improve import Improvement
from llmos_workers.kernel import keys
from llmos_workers.kernel.approvals import Approvals
from llmos_workers.kernel.audits import Audits
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.gate_log import GateLog
from llmos_workers.kernel.schedules import Schedules
from llmos_workers.kernel.webhooks import Webhooks
from llmos_workers.kernel.workspace import digest_bytes
from llmos_workers.learning.insights import NewNote
from llmos_workers.learning.noted import NotedNotes
from llmos_workers.learning.traces import TraceManager
from llmos_workers.sentience.improvement import SelfImprovementSuggestion, SelfImprovementType
from tests.conftest import free_port
from tests.kernel.economy_support import an_economy, reserve
from tests.kernel.goal_support import a_goal, an_outcome
from tests.kernel.stage_support import Bench
from tests.kernel.test_audits import verdict
from tests.kernel.test_gate_log import a_record
from tests.learning.conftest import make_trace
from tests.support.generated import plant

CLOCK = SystemClock()


class World:
    """Each attribute is the id or name of one thing; ``folder`` is a place for files."""

    def __init__(self, state: redis.Redis, root: Path) -> None:
        self._state, self.folder = state, root.parent
        install_seed_agents(root)
        self._bench = Bench(state, root)
        self._goals()
        self._traces()
        self._money(root)
        self._others()

    def _goals(self) -> None:
        goals, now = self._bench.goals, CLOCK.now()
        commit = self._bench.goal_that_writes({"a.txt": "A"})
        self.commit_goal = commit.goal_id
        waiting = a_goal("Wait for it", now=now)
        goals.create(waiting)
        self.queued = waiting.goal_id
        call = ToolCall(name="Bash", arguments={"command": "rm x"})
        asking = Approvals(self._state)
        self.approval, self.denied = (
            asking.request(self.queued, call, project="default", step=step).approval_id
            for step in (1, 2)
        )
        self.dead, self.poison = (self._dead(f"Break worker {number}") for number in range(2))
        ended = a_goal("Create a haiku", now=now)
        goals.create(ended)
        goals.finish(an_outcome(ended.goal_id), fence=None)
        self.ended = ended.goal_id
        self._webhook()
        schedules = Schedules(self._state, CLOCK)
        self.schedule, self.spare = (
            schedules.add("@daily", "Count files").schedule_id for _ in range(2)
        )

    def _dead(self, text: str) -> str:
        record = a_goal(text, now=CLOCK.now())
        self._bench.goals.create(record)
        error = ErrorInfo(kind="PoisonGoal", message="given up after 5 starts.", fix="Look.")
        outcome = Outcome(goal_id=record.goal_id, status=GoalState.DEAD.value, error=error)
        self._bench.goals.finish(outcome, fence=None)
        return record.goal_id

    def _webhook(self) -> None:
        url = f"http://127.0.0.1:{free_port()}/"
        config = WebhooksConfig(urls=(url,), secret=SecretStr("of-many-characters"), max_attempts=1)
        hooks = Webhooks(self._state, self._bench.goals, CLOCK, config)
        hooks.enqueue(self._bench.goals.get(self.ended))
        hooks.deliver_due(CLOCK.now() + 1)
        self.delivery = hooks.dead()[0]["delivery_id"]

    def _traces(self) -> None:
        manager = TraceManager(self._state, self._bench.workspace)
        manager.save_trace(make_trace(answer="First."))
        trace = manager.save_trace(make_trace(answer="Second."))
        versions = ToolRegistry.builtin().versions()
        made = (digest_bytes("hello.py", b"1\n"),)
        facts = {"tool_version": versions["Write"], "writes": made}
        steps = tuple(step.model_copy(update=facts) for step in make_trace().steps)
        other = manager.save_trace(make_trace("Write other.py", steps=steps, outputs=made))
        shelf = GeneratedTools(self._bench.workspace, manager.keys)
        plant(shelf, manager, other, '    tools.call("Write", path="a", content="")', name="note")
        self.trace, self.other_trace = trace.trace_id, other.trace_id
        gone = manager.save_trace(make_trace("Write gone.py"))
        manager.remove("default", gone.trace_id)
        self.removed = gone.trace_id
        self.key = "ed25519:" + "A" * 43 + "="

    def _money(self, root: Path) -> None:
        economy = an_economy(self._state, root, 10_000_000)
        call = reserve(economy, 1_000_000, goal="g1")
        economy.mark_sent(call)
        economy.in_doubt(call)
        self.call = economy.doubts()[0].reservation_id

    def _others(self) -> None:
        lease, _stage = self._bench.run("audited")
        Audits(self._state).add(verdict("right-1"), lease=lease)
        GateLog(self._state).append(a_record(goal_id=self.ended))
        self._state.sadd(keys.JUDGES, "anthropic/a")
        self._state.hset(keys.judge("anthropic/a"), mapping={"yes": 3, "right": 2})
        note = NewNote(NoteKind.FACT, "CHF", "Invoices are in CHF.", ("default",), ("g1",), False)
        NotedNotes(self._bench.workspace, CLOCK).add(note)
        (path,) = (self._bench.workspace.root / "memories" / "facts").glob("*.md")
        self.note = f"facts/{path.name}"
        for key in ("k1", "k2"):
            said = SelfImprovementSuggestion(
                type=SelfImprovementType.CRYSTALLIZE_PATTERN, description="do it", priority=0.5
            )
            kept = Improvement(key=key, project="default", suggestion=said)
            self._state.hset(keys.improvements("default"), key, kept.model_dump_json())
