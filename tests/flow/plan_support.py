"""A plan through all its hops in one process, with every real layer but the broker's delivery."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from celery.exceptions import Ignore

from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.flow.judge import judge_first
from llmos_workers.flow.replay import replay
from llmos_workers.tasks.fanout import plan_work
from llmos_workers.tasks.hops import Next, leased_run, receive
from tests.flow.conftest import Flow, Hop


def an_app() -> Any:
    """What a fan-out asks of Celery: to build a signature, and to remember a chord's size."""
    from celery import Celery

    app = Celery("plans", set_as_current=False, fixups=[])
    sizes: dict[str, int] = {}
    backend = SimpleNamespace(set_chord_size=sizes.__setitem__)
    return SimpleNamespace(signature=app.signature, backend=backend, sizes=sizes)


class Plans:
    """Runs goals with their members, depth first, as workers would."""

    def __init__(self, flow: Flow) -> None:
        self.flow, self.runtime, self.app = flow, flow.runtime, an_app()

    def run(self, goal: str, **options: Any) -> Outcome:
        """A goal to its end."""
        record = self.submit(goal, **options)
        return self.go_on(record)

    def submit(self, goal: str, **options: Any) -> GoalRecord:
        """A goal on record; ``options`` also those that only GoalOptions knows."""
        own = {n: options.pop(n) for n in ("approve_plan", "plan_only") if n in options}
        record = self.flow.submit(goal, **options)
        if own:
            changed = record.options.model_copy(update=own)
            self.runtime.redis.hset(
                f"llmos:goal:{record.goal_id}", "options", changed.model_dump_json()
            )
        return self.runtime.goals.get(record.goal_id)

    def go_on(self, record: GoalRecord) -> Outcome:
        """Until it ends: its members are run whenever it waits for them."""
        for _ in range(30):
            if self.step(record) is not None:
                break
            for child in self.live(record):
                self.go_on(child)
            self.runtime.children.tick()
        outcome = self.runtime.goals.outcome(record.goal_id)
        assert outcome is not None, self.runtime.goals.get(record.goal_id).state
        return outcome

    def step(self, record: GoalRecord) -> dict[str, Any] | None:
        """One message of the goal: its outcome, or None when it waits now."""
        hop = Hop(record.goal_id)
        try:
            result: Any = receive(hop, self.flow.process, {"v": 1, "stored": True})
            while isinstance(result, Next):
                result = self.work(record, result.decision.mode)
        except Ignore:
            return None
        return result

    def work(self, record: GoalRecord, mode: Mode) -> dict[str, Any] | Next:
        works = {Mode.FOLLOWER: replay, Mode.ORCHESTRATOR: plan_work(self.app)}
        work = works.get(mode, judge_first)
        return leased_run(Hop(record.goal_id), self.runtime, work)

    def live(self, record: GoalRecord) -> list[GoalRecord]:
        """Members that have not ended, in the plan's order."""
        found = self.runtime.goals.get_many(sorted(self.runtime.children.live(record.goal_id)))
        members = [each for each in found if each is not None]
        return sorted(members, key=lambda each: each.envelope.group_index or 0)

    def state(self, record: GoalRecord) -> GoalState:
        return self.runtime.goals.state(record.goal_id)

    def requests(self) -> int:
        """Requests that the model has answered."""
        return len(self.flow.server.log.entries())

    def files(self) -> dict[str, str]:
        """What is published."""
        area = self.flow.area
        return {p.name: p.read_text() for p in sorted(area.iterdir()) if p.is_file()}

    def boards(self) -> list[str]:
        folder = self.flow.area.parent / "state" / "boards"
        return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []


def a_step(id: str, goal: str, **fields: Any) -> dict[str, Any]:  # noqa: A002 - the plan's name
    return {
        "id": id, "goal": goal, "agent": None, "inputs": [], "after": [], "outputs": [],
        "expects": "",
    } | fields  # fmt: skip


def a_plan(*steps: dict[str, Any]) -> str:
    return json.dumps({"steps": list(steps)})
