"""Running fixtures: production's dispatch, gate, sandbox and replay, without model and servers."""

from __future__ import annotations

import difflib
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.errors import LLMOSError, MalformedFile, Refused, ToolError
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.payload import make_options
from llmos_workers.contracts.state import CognitivePolicy
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.evolution.agents import AgentLoader
from llmos_workers.execution.gate import GateContext, ToolGate
from llmos_workers.execution.gate_record import unrecorded
from llmos_workers.execution.hooks.projects import ProjectHooks
from llmos_workers.execution.ptc import PTCExecutor, ToolSequence
from llmos_workers.execution.sandbox.identity import UNUSED_IDS, can_change_user
from llmos_workers.execution.tools.base import ToolContext
from llmos_workers.flow.dispatch import Dispatcher
from llmos_workers.kernel.clock import SystemClock, iso
from llmos_workers.kernel.goals import new_record
from llmos_workers.kernel.workspace import Workspace
from llmos_workers.learning.answers import needs_model, replay_answer
from llmos_workers.learning.dependence import is_volatile
from llmos_workers.learning.matching.matcher import GoalMatcher
from llmos_workers.learning.matching.slots import fill
from llmos_workers.learning.outbox import entries_of
from llmos_workers.runtime import Runtime
from llmos_workers.testing.trace_fixture import ExpectedFile, Fixture, MustMatch
from llmos_workers.testing.trace_shelf import MemoryIndex, MemoryTraces

if TYPE_CHECKING:
    from llmos_workers.learning.matching.embedder import Embedder

MOST_LINES = 60
"""Lines of one difference that are told."""


@dataclass(frozen=True)
class Check:
    """One goal of a fixture, held against what happened."""

    fixture: str
    goal: str
    must_match: bool
    drift: tuple[str, ...] = ()
    """What is otherwise than the fixture says; empty: nothing."""

    @property
    def ok(self) -> bool:
        """Whether it is as the fixture says."""
        return not self.drift


@dataclass
class Replayed:
    """What one goal did in scratch."""

    decision: ModeDecision | None = None
    why_not: str = ""
    """Why it was not replayed to its end."""
    files: dict[str, bytes | None] = field(default_factory=dict)
    """What it changed, by path; None: it removed the file."""
    answer: str = ""


class TraceTester:
    """Runs goals against a fixture's traces. ``embedder`` is loaded once and shared."""

    def __init__(self, config: LLMOSConfig, embedder: Embedder) -> None:
        sentience = config.sentience.model_copy(update={"enable_sentience": False})
        dispatcher = config.dispatcher.model_copy(update={"llm_allowed": True})
        # No judge is asked and no verdict of one is known here: there is no server.
        memory = config.memory.model_copy(update={"enable_llm_matching": False})
        self._config = config.model_copy(
            update={"sentience": sentience, "dispatcher": dispatcher, "memory": memory}
        )
        self._embedder, self._now = embedder, iso(SystemClock().now())
        has_agents = any((config.workspace / "agents").glob("*.md"))
        self._agents = AgentLoader(config.workspace) if has_agents else None

    def check(self, name: str, fixture: Fixture, traces: list[ExecutionTrace]) -> Iterator[Check]:
        """Every goal of the fixture, in a scratch folder of its own."""
        for case in fixture.must_match:
            done = self.replay(case.goal, fixture, traces)
            yield Check(name, case.goal, True, tuple(_drift(case, done)))
        for goal in fixture.must_not_match:
            with self._world(fixture, traces) as (runtime, _):
                decision, _why = _decide(runtime, goal, fixture.project)
            drift: tuple[str, ...] = ()
            if decision is not None and decision.mode is Mode.FOLLOWER:
                drift = (f"it is followed: {decision.reason}",)
            yield Check(name, goal, False, drift)

    def replay(self, goal: str, fixture: Fixture, traces: list[ExecutionTrace]) -> Replayed:
        """Dispatch one goal and replay what is decided."""
        with self._world(fixture, traces) as (runtime, area):
            decision, why = _decide(runtime, goal, fixture.project)
            if decision is None or decision.mode is not Mode.FOLLOWER:
                return Replayed(decision, why or f"{decision and decision.reason}")
            trace = runtime.traces.get(fixture.project, decision.trace_id or "")
            assert trace is not None  # noqa: S101 - dispatch has just seen it
            done = _replay(runtime, trace, decision, area)
            before = {path: text.encode() for path, text in fixture.given.items()}
            done.files = _changed(area, before)
            return done

    @contextmanager
    def _world(
        self, fixture: Fixture, traces: list[ExecutionTrace]
    ) -> Iterator[tuple[Runtime, Path]]:
        """A runtime of a fresh workspace that holds what is given."""
        with tempfile.TemporaryDirectory(prefix="llmos-test-") as folder:
            Path(folder).chmod(0o755)
            workspace = Workspace(folder).ensure()
            area = workspace.project(fixture.project).output
            if can_change_user() and area.stat().st_uid == 0:
                # Commands run as the owner of the area; as root, as one who owns nothing else.
                os.chown(area, UNUSED_IDS[0], UNUSED_IDS[0])
            for path, text in fixture.given.items():
                try:
                    workspace.write_atomic(area / path, text.encode())
                except ToolError as error:
                    raise MalformedFile(path, f"'given' names it: {error.message}") from None
            config = self._config.model_copy(update={"workspace": Path(folder)})
            traces = [_learned_now(trace, self._now) for trace in traces]
            shelf, index = MemoryTraces(traces), MemoryIndex()
            index.upsert([entry for t in traces for entry in entries_of(t, self._embedder)])
            parts = {"agents": self._agents} if self._agents else {}
            runtime = Runtime(config, traces=shelf, index=index, embedder=self._embedder, **parts)
            matcher = GoalMatcher(shelf, index, self._embedder, config.dispatcher)
            runtime.__dict__["matcher"] = matcher
            runtime.__dict__["gate"] = ToolGate(
                runtime.tools, ProjectHooks(config), runtime.clock, record=unrecorded
            )
            yield runtime, area


def _learned_now(trace: ExecutionTrace, now: str) -> ExecutionTrace:
    """The trace as if learned today, by an agent of here: neither the day nor the agents of the
    place where a fixture is run are what it tests.
    """
    return trace.model_copy(update={"created_at": now, "agent_digest": ""})


def _decide(runtime: Runtime, goal: str, project: str) -> tuple[ModeDecision | None, str]:
    """Production's decision, and why there is none."""
    record = new_record(goal, make_options(project=project), now=runtime.clock.now())
    try:
        return Dispatcher(runtime).decide(record), ""
    except Refused as error:
        return None, error.message


def _replay(
    runtime: Runtime, trace: ExecutionTrace, decision: ModeDecision, area: Path
) -> Replayed:
    steps = tuple(fill(trace.steps, trace.slots, decision.slots))
    sequence = ToolSequence(steps, decision.slots, recorded=trace.steps, checks=trace.checks)
    try:
        agent = runtime.agents.get(trace.agent)
    except LLMOSError as error:
        return Replayed(decision, error.message)
    longest = runtime.config.execution.ptc_timeout_secs
    ctx = GateContext(
        grants=frozenset(agent.tools),
        mode=Mode.FOLLOWER,
        project=trace.project,
        goal_id="test",
        agent=agent.name,
        policy=CognitivePolicy(),
        source="trace",
        tool=ToolContext(
            project=trace.project,
            area=area,
            goal_id="test",
            sandbox=runtime.sandbox,
            deadline=runtime.clock.steady() + longest,
            durable=False,
        ),
    )
    result = PTCExecutor(runtime.gate, runtime.clock).execute_sequence(sequence, ctx)
    why = needs_model(trace, decision.slots, result.results)
    if not result.completed:
        why = f"step {(result.diverged_at or 0) + 1} of the replay differed: {result.reason}"
    answer = "" if why else replay_answer(trace, decision.slots, result.results)
    return Replayed(decision, why, answer=answer)


def _changed(area: Path, before: Mapping[str, bytes]) -> dict[str, bytes | None]:
    now = {
        file.relative_to(area).as_posix(): file.read_bytes()
        for file in area.rglob("*")
        if file.is_file() and not file.is_symlink()
    }
    found: dict[str, bytes | None] = {
        path: data
        for path, data in now.items()
        if before.get(path) != data and not is_volatile(path)
    }
    return found | dict.fromkeys(before.keys() - now.keys())


def _drift(case: MustMatch, done: Replayed) -> Iterator[str]:
    """What is otherwise than the case says."""
    decision = done.decision
    if decision is None or decision.mode is not Mode.FOLLOWER:
        yield f"it is not followed: {done.why_not}"
        return
    if case.trace is not None and decision.trace_id != case.trace:
        yield f"it follows trace {decision.trace_id}, not {case.trace}"
    for name, value in case.slots.items():
        if decision.slots.get(name) != value:
            yield f"slot {name} is {decision.slots.get(name)!r}, not {value!r}"
    if done.why_not:
        yield f"it is not replayed to its end: {done.why_not}"
        return
    for path in sorted(case.files.keys() | done.files.keys()):
        if path not in case.files:
            yield f"{path} is {'changed' if done.files[path] is not None else 'removed'} too"
        elif path not in done.files:
            yield f"{path} is left as it was"
        else:
            yield from _file_drift(path, case.files[path], done.files[path])
    if case.answer is not None and case.answer not in done.answer:
        yield from _text_drift("the answer", case.answer, done.answer)


def _file_drift(path: str, expected: ExpectedFile | None, found: bytes | None) -> Iterator[str]:
    if expected is None or found is None:
        if (expected is None) != (found is None):
            yield f"{path} is {'there' if found is not None else 'removed'}"
        return
    text = found.decode("utf-8", "replace")
    if expected.content is not None and expected.content.encode() != found:
        yield from _text_drift(path, expected.content, text)
    if expected.contains is not None and expected.contains not in text:
        yield f"{path} does not hold {expected.contains!r}"
    digest = hashlib.sha256(found).hexdigest()
    if expected.sha256 is not None and digest != expected.sha256:
        yield f"{path} has sha256 {digest}, not {expected.sha256}"


def _text_drift(what: str, expected: str, found: str) -> Iterator[str]:
    lines = list(
        difflib.unified_diff(
            expected.splitlines(), found.splitlines(), "expected", "found", lineterm=""
        )
    )
    more = [f"… {len(lines) - MOST_LINES} more lines"] if len(lines) > MOST_LINES else []
    told = "\n".join([*lines[:MOST_LINES], *more]) or "only the ends of lines differ"
    yield f"{what} differs:\n{told}"
