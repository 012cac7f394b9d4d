"""``llmos.goal`` (dispatch), ``llmos.replay``, ``llmos.think`` and ``llmos.orchestrate``: the
hops of one goal; ``llmos.join``: the body of a plan's chord.

The goal's id is the Celery task id in each hop: a task *replaces* itself with the next, so a
caller's AsyncResult and a chord's membership hold from submit to outcome. None of them ever
raises for a failed goal; what they return is Outcome as JSON.
"""

from __future__ import annotations

from typing import Any

from celery import Task, shared_task
from celery.exceptions import Reject

from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.flow.judge import judge_first
from llmos_workers.flow.replay import replay as run_replay
from llmos_workers.flow.replay_parts import Handover
from llmos_workers.flow.run import Run
from llmos_workers.flow.shadow import shadow as run_shadow
from llmos_workers.flow.toolsmith import toolsmith as run_toolsmith
from llmos_workers.kernel.telemetry import HEADER, Span
from llmos_workers.tasks.fanout import JOIN_TASK, plan_work
from llmos_workers.tasks.hops import LOST_REDIS, Next, leased_run, receive
from llmos_workers.tasks.process import process_of
from llmos_workers.tasks.telling import hop, tell_end

HOPS: dict[Mode, str] = {
    Mode.CRYSTALLIZED: "llmos.replay",
    Mode.FOLLOWER: "llmos.replay",
    Mode.LEARNER: "llmos.think",
    Mode.MIXED: "llmos.think",
    Mode.ORCHESTRATOR: "llmos.orchestrate",
}
QUEUES = {"llmos.replay": "replay", "llmos.think": "llm", "llmos.orchestrate": "llm"}


def hop_to(task: Task, step: Next, span: Span) -> Any:
    """Become the next task: same id, same chord, another queue. Raises (Celery's Ignore)."""
    name = HOPS[step.decision.mode]
    headers = {HEADER: span.traceparent} if span.traceparent else {}
    return task.replace(task.app.signature(name, queue=QUEUES[name], headers=headers))


def _ended(task: Task, result: dict[str, Any] | Next, span: Span) -> Any:
    """The goal's outcome; of one that goes on, nothing: it raises."""
    tell_end(span, result.decision if isinstance(result, Next) else result)
    return hop_to(task, result, span) if isinstance(result, Next) else result


@shared_task(bind=True, name="llmos.goal", max_retries=None)
def goal(self: Task, *args: Any, **payload: Any) -> Any:
    """Dispatch a goal: match, choose a mode, go on to its queue."""
    with hop(self, payload) as span:
        return _ended(self, receive(self, process_of(self.app), payload, args), span)


@shared_task(bind=True, name="llmos.replay", max_retries=None)
def replay(self: Task, **_newer: Any) -> Any:
    """Follow a trace without a model; hand over to ``llmos.think`` at the first difference."""
    with hop(self) as span:
        return _ended(self, leased_run(self, process_of(self.app).runtime, run_replay), span)


@shared_task(bind=True, name="llmos.think", max_retries=None)
def think(self: Task, **_newer: Any) -> Any:
    """Let a model work on the goal, from where a replay or an earlier run left it; or follow a
    trace after all, when a judge vouches for it.
    """
    with hop(self) as span:
        return _ended(self, leased_run(self, process_of(self.app).runtime, _model_work), span)


@shared_task(bind=True, name="llmos.orchestrate", max_retries=None)
def orchestrate(self: Task, **_newer: Any) -> Any:
    """Split the goal, send its parts off as goals of their own, wait for them, end with them."""
    with hop(self) as span:
        work = plan_work(self.app)
        return _ended(self, leased_run(self, process_of(self.app).runtime, work), span)


@shared_task(bind=True, name=JOIN_TASK, ignore_result=True)
def join(self: Task, *, goal_id: str = "", **_newer: Any) -> bool:
    """The body of a plan's chord: its parent goes on, unless somebody else saw to that."""
    try:
        return process_of(self.app).runtime.children.join(goal_id)
    except LOST_REDIS as error:
        raise Reject(str(error), requeue=True) from error


def _model_work(run: Run) -> Outcome | Handover:
    """The goal itself, the audit of another one's replay, or the making of a tool."""
    options = run.record.options
    if options.generalize:
        return run_toolsmith(run)
    return run_shadow(run) if options.shadow_of else judge_first(run)
