"""LLMOS: submit goals and have their outcomes, from any Python program.

Submitting is thin on purpose: plain Redis commands, no script, and no import of the Anthropic
SDK, Qdrant, numpy, onnxruntime or Celery. What a property below needs is imported when asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from llmos_workers.client_check import make_record, parse_state
from llmos_workers.client_connect import RedisPlace, talking
from llmos_workers.client_feedback import Judging
from llmos_workers.client_handle import GoalHandle
from llmos_workers.client_parts import ClientParts
from llmos_workers.client_submit import Item, Submitter
from llmos_workers.client_wait import Line
from llmos_workers.config import LLMOSConfig, merge
from llmos_workers.config_sources import load_config
from llmos_workers.contracts.errors import LLMOSError
from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.contracts.modes import RequestedMode
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.kernel import telemetry
from llmos_workers.kernel.clock import Clock
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.redis import Client

if TYPE_CHECKING:
    from llmos_workers.contracts.approvals import Approval
    from llmos_workers.embedded.local import LocalSystem
    from llmos_workers.kernel.economy import TokenEconomy
    from llmos_workers.kernel.events import EventBus
    from llmos_workers.learning.traces import TraceManager

DEFAULT_BATCH = 200
DEFAULT_PATIENCE_S = 15.0

Deadline = float | timedelta | datetime
Handles = list[GoalHandle]
Records = list[GoalRecord]
Requests = list["Approval"]


class LLMOS(ClientParts, Judging):
    """A client of one llmos system. Threads may share it.

    ``config`` None: settings from file, ``LLMOS_*`` variables and the keywords here, in that
    order of precedence. Every part may be handed in (``redis``: client of the state database,
    ``broker``: of the broker database), which is how tests and hosts with own connections use
    it. ``patience_s``: how many seconds a wait goes on trying when Redis goes away under it
    (15 unless given).
    Nothing connects before the first call that needs to.
    """

    def __init__(
        self,
        config: LLMOSConfig | None = None,
        *,
        budget_usd: float | None = None,
        model: str | None = None,
        workspace_path: str | Path | None = None,
        redis: Client | None = None,
        broker: Client | None = None,
        goals: GoalStore | None = None,
        clock: Clock | None = None,
        event_bus: EventBus | None = None,
        trace_manager: TraceManager | None = None,
        token_economy: TokenEconomy | None = None,
        patience_s: float | None = None,
    ) -> None:
        """Raises ConfigError for settings that are wrong."""
        short = {"budget_usd": budget_usd, "model": model, "workspace_path": workspace_path}
        given = {name: value for name, value in short.items() if value is not None}
        if config is None:
            config = load_config(overrides=given)
        elif given:
            config = LLMOSConfig.from_dict(merge(config.model_dump(), given))
        super().__init__(config, clock)
        telemetry.start(config.telemetry, "llmos-client")
        self.system: LocalSystem | None = None
        """What boot(embedded=True) started."""
        self._patience_s = DEFAULT_PATIENCE_S if patience_s is None else patience_s
        parts = {
            "redis": redis, "broker": broker, "goals": goals, "event_bus": event_bus,
            "trace_manager": trace_manager, "token_economy": token_economy,
        }  # fmt: skip
        # A cached property gives way to what stands in the instance under its name.
        self.__dict__.update({name: part for name, part in parts.items() if part is not None})

    # Submitting

    def submit(
        self,
        goal: str,
        *,
        project: str | None = None,
        mode: str | RequestedMode | None = None,
        agent: str | None = None,
        budget_usd: float | str | None = None,
        idempotency_key: str | None = None,
        concurrency_key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        priority: int | None = None,
        deadline: Deadline | None = None,
        dry_run: bool = False,
        approve_plan: bool = False,
        plan_only: bool = False,
        traceparent: str | None = None,
    ) -> GoalHandle:
        """Hand one goal to the workers; returns as soon as it is recorded and queued.

        ``budget_usd``: most this goal may cost, in dollars. ``idempotency_key``: submitting
        the same text again under it gives the same goal. ``concurrency_key``: goals with the
        same key take turns, by default those of a project. ``priority``: 1 first, 2, 3 last.
        ``deadline``: Unix seconds, a timedelta from now, or an aware datetime. ``dry_run``:
        decide and explain, run nothing. ``approve_plan``: a plan of sub-goals waits for a person;
        ``plan_only``: see ``plan``. ``traceparent``: W3C trace context to carry along.

        Raises InvalidGoal, InvalidOption, UnknownAgent; BrokerUnavailable.
        """
        record = self._record(
            goal,
            traceparent=traceparent,
            project=project,
            mode=mode,
            agent=agent,
            budget_usd=budget_usd,
            idempotency_key=idempotency_key,
            concurrency_key=concurrency_key,
            metadata=None if metadata is None else dict(metadata),
            priority=priority,
            deadline=deadline,
            dry_run=dry_run,
            approve_plan=approve_plan,
            plan_only=plan_only,
        )
        return self._handle(*self._submitter.send([record])[0])

    def submit_many(
        self, goals: Iterable[Item], *, batch: int = DEFAULT_BATCH, **common: Any
    ) -> Handles:
        """Submit many goals in pipelines of ``batch``. An item is a text, or a mapping with
        ``goal`` and any keyword of ``submit``; ``common`` holds keywords for all of them.

        All are checked before the first is sent: a wrong one raises its error, with its number,
        and nothing is submitted.
        """
        records = self._submitter.check_all(goals, common)
        return [
            self._handle(*sent)
            for start in range(0, len(records), batch)
            for sent in self._submitter.send(records[start : start + batch])
        ]

    def submit_each(
        self, goals: Iterable[Item | LLMOSError], *, batch: int = DEFAULT_BATCH, **common: Any
    ) -> Iterator[GoalHandle | LLMOSError]:
        """As submit_many, but streaming: one handle or error per item, in order; a wrong item
        stops no other. An LLMOSError among the items is passed through in its place.
        BrokerUnavailable is raised: what was yielded before is submitted.
        """
        for sent in self._submitter.send_each(goals, common, batch):
            yield sent if isinstance(sent, LLMOSError) else self._handle(*sent)

    async def execute(
        self,
        goal: str,
        mode: str = "AUTO",
        project_name: str | None = None,
        *,
        timeout: float | None = None,
        **options: Any,
    ) -> Outcome:
        """Submit, and wait for the outcome off the event loop. ``options`` as for submit."""
        options.setdefault("project", project_name)
        handle = await asyncio.to_thread(self.submit, goal, mode=mode, **options)
        return await handle.aresult(timeout)

    def explain(
        self, goal: str, *, project: str | None = None, timeout: float | None = 30.0
    ) -> Outcome:
        """What would be done with a goal, and why: ``dry_run`` of the outcome. Runs nothing and
        asks no model. ``timeout`` in seconds. Raises as submit; NotFinished.
        """
        return self.submit(goal, project=project, dry_run=True).result(timeout)

    def plan(
        self, goal: str, *, project: str | None = None,
        budget_usd: float | str | None = None, timeout: float | None = 300.0,
    ) -> Outcome:  # fmt: skip
        """How a goal would be split: ``plan`` of the outcome. A known plan costs nothing, a new
        one its planner's calls; nothing is carried out. ``timeout`` in seconds. Raises as submit;
        NotFinished.
        """
        asked = self.submit(
            goal, project=project, mode="ORCHESTRATOR", budget_usd=budget_usd, plan_only=True
        )
        return asked.result(timeout)

    # Goals that were submitted before

    def get(self, goal_id: str) -> GoalHandle:
        """The handle of a goal known by its id. Raises GoalNotFound."""
        handle = GoalHandle(goal_id, self._line)
        handle.status()
        return handle

    def status(self, goal_id: str) -> GoalState:
        """Where a goal is in its life. Raises GoalNotFound."""
        return GoalHandle(goal_id, self._line).status()

    def cancel(self, goal_id: str) -> GoalState:
        """Ask for a goal's end; see GoalHandle.cancel."""
        return GoalHandle(goal_id, self._line).cancel()

    def list(
        self,
        *,
        project: str | None = None,
        state: str | GoalState | None = None,
        limit: int = 50,
    ) -> Records:
        """Goals, newest first. Raises InvalidOption for a state that does not exist."""
        wanted = None if state is None else parse_state(state)
        with talking(self.place, "listing goals"):
            return self.goals.list(project=project, state=wanted, limit=limit)

    # Approvals

    def approvals(self, *, project: str | None = None) -> Requests:
        """Requests for approval that nobody has answered yet, the most urgent first."""
        with talking(self.place, "listing approvals"):
            return self.approval_requests.pending(project=project)

    def approve(self, approval_id: str, *, by: str | None = None, why: str = "") -> Approval:
        """Allow the call of that request, once; its goal goes on. ``by``: who says so, by
        default user@host. Raises NotThere, ApprovalClosed, InvalidOption.
        """
        with talking(self.place, "approving"):
            return self.approval_requests.approve(approval_id, by=by, why=why)

    def deny(self, approval_id: str, *, why: str = "", by: str | None = None) -> Approval:
        """Forbid the call of that request for good; its goal goes on without. As approve."""
        with talking(self.place, "denying"):
            return self.approval_requests.deny(approval_id, why=why, by=by)

    # Life

    async def boot(self, *, embedded: bool = False) -> Self:
        """Connect, and fail now rather than at the first goal when that is not possible.

        ``embedded``: when no Redis is configured and none is up for this workspace, start a
        whole system here: server, workers and, without key and base_url, the scripted rehearsal
        model. shutdown then stops it.
        """
        await asyncio.to_thread(self._boot, embedded)
        return self

    async def shutdown(self) -> None:
        """Close what this client opened, and stop the system that boot started."""
        await asyncio.to_thread(self.close)

    def ping(self) -> RedisPlace:
        """Where Redis answers. Raises BrokerUnavailable when it does not."""
        with talking(self.place, "connecting"):
            self.redis.ping()
        return self.place

    def close(self) -> None:
        """Close the connections this client made, and the system that boot started."""
        for client in self._mine:
            client.close()
        self._mine.clear()
        if self.system is not None:
            self.system.__exit__(None, None, None)
            self.system = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await self.boot()

    async def __aexit__(self, *_: object) -> None:
        await self.shutdown()

    # Parts, made when first needed unless they were handed in

    @cached_property
    def _line(self) -> Line:
        return Line(self.goals, self.place, self.clock, self._patience_s, self._submitter.queue)

    @cached_property
    def _submitter(self) -> Submitter:
        return Submitter(self.goals, self.broker, self.place, self._record)

    def _handle(self, record: GoalRecord, created: bool) -> GoalHandle:
        self._line.answered = True
        return GoalHandle(record.goal_id, self._line, created=created)

    def _boot(self, embedded: bool) -> None:
        try:
            self.ping()
        except LLMOSError:
            if not embedded or self.config.redis.url:
                raise
            from llmos_workers.embedded.local import LocalSystem

            self.system = LocalSystem(self.config).__enter__()
            for part in (
                "place",
                "redis",
                "broker",
                "goals",
                "approval_requests",
                "_line",
                "_submitter",
            ):
                self.__dict__.pop(part, None)
            self.ping()

    def _record(self, goal: object, *, traceparent: object = None, **options: object) -> GoalRecord:
        return make_record(
            goal,
            now=self.clock.now(),
            agents_folder=self.config.workspace / "agents",
            default_project=self.config.project_name or "default",
            traceparent=traceparent,
            options=options,
        )
