"""Trials: a run's calls once more in a scratch copy of the project, behind the same gate.

Nothing of a trial is published, and no model is called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from llmos_workers.contracts.agents import AgentDefinition
from llmos_workers.contracts.commits import FileKind, FileState
from llmos_workers.contracts.errors import ToolError
from llmos_workers.contracts.tools import COMMAND_TOOLS, ToolCall, ToolResult
from llmos_workers.contracts.trace import Check, TraceStep
from llmos_workers.execution.crystal.runners import Program, ProgramFault
from llmos_workers.execution.gate import GateContext
from llmos_workers.execution.ptc import PTCExecutor, SequenceResult, ToolSequence
from llmos_workers.execution.references import resolved
from llmos_workers.execution.sandbox.watched import WatchedSandbox
from llmos_workers.flow.run import Run
from llmos_workers.kernel.scratch import Scratch, effects
from llmos_workers.kernel.workspace import read_inside

MAX_TEXT = 1 << 18
"""Bytes of a file whose content is kept."""

Change = Callable[[Scratch], None]
"""What is done to a scratch copy before the calls run. May raise ToolError."""


@dataclass
class Trial:
    """What came of one."""

    calls: list[ToolCall] = field(default_factory=list)
    results: list[ToolResult] = field(default_factory=list)
    reads: list[frozenset[str] | None] = field(default_factory=list)
    """What each step's command opened to read; None: no command, or it cannot be told."""
    effects: dict[str, FileState | None] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    """Contents of the files that were made or changed, as far as they are small."""
    fault: str = ""
    """Why the trial itself could not be made."""


@dataclass
class Trials:
    """All trials of one run. ``until``: when none may begin or go on, on the steady clock."""

    run: Run
    agent: AgentDefinition
    before: Scratch
    """The project as it was before the run."""
    until: float
    made: int = 0

    @property
    def time_left(self) -> float:
        """Seconds."""
        return self.until - self.run.runtime.clock.steady()

    def replay(
        self, steps: Sequence[TraceStep], checks: Sequence[Check] = ()
    ) -> tuple[SequenceResult, Trial]:
        """The steps as a follower replays them, each compared with what was recorded.

        Raises LLMOSError when no scratch copy could be made.
        """
        with self._scratch() as (scratch, ctx, watch):
            trial = Trial()

            def note(_index: int, step: TraceStep, result: ToolResult) -> None:
                trial.results.append(result)
                trial.reads.append(watch.read if step.call.name in COMMAND_TOOLS else None)

            executor = PTCExecutor(self.run.runtime.gate, self.run.runtime.clock)
            sequence = ToolSequence(steps, recorded=steps, checks=checks)
            result = executor.execute_sequence(sequence, ctx, on_step=note)
            self._look(scratch, trial)
            return result, trial

    def run_all(self, steps: Sequence[TraceStep], change: Change | None = None) -> Trial:
        """All steps in order, whatever comes of each, after a change to the project.

        Raises LLMOSError when no scratch copy could be made.
        """
        with self._scratch() as (scratch, ctx, watch):
            trial = Trial()
            try:
                if change is not None:
                    change(scratch)
            except (ToolError, OSError) as error:
                trial.fault = f"the project could not be changed for it: {error}"
                return trial
            for step in steps:
                if self.time_left <= 0 or ctx.tool.cancelled():
                    trial.fault = "there was no time left for it"
                    return trial
                self._call(resolved(step, trial.results).call, trial, ctx, watch)
            self._look(scratch, trial)
            return trial

    def run_program(
        self,
        program: Program,
        arguments: Mapping[str, str | int],
        most: int,
        change: Change | None = None,
    ) -> Trial:
        """A generated tool, at most ``most`` of its calls, after a change to the project.

        Raises LLMOSError when no scratch copy or no process for it could be made.
        """
        with self._scratch() as (scratch, ctx, watch):
            trial = Trial()
            if change is not None:
                change(scratch)
            with self.run.runtime.runners.session(program, arguments) as session:
                try:
                    while (call := session.next_call()) is not None:
                        if len(trial.calls) >= most or self.time_left <= 0:
                            trial.fault = "asks for more calls than its trace holds."
                            return trial
                        session.told(self._call(call, trial, ctx, watch))
                except ProgramFault as error:
                    trial.fault = error.message
                    return trial
            self._look(scratch, trial)
            return trial

    def _call(
        self, call: ToolCall, trial: Trial, ctx: GateContext, watch: WatchedSandbox
    ) -> ToolResult:
        result = self.run.runtime.gate.call(call, ctx)
        trial.calls.append(call)
        trial.results.append(result)
        trial.reads.append(watch.read if call.name in COMMAND_TOOLS else None)
        return result

    def _look(self, scratch: Scratch, trial: Trial) -> None:
        trial.effects = effects(scratch, self.before)
        for path, state in trial.effects.items():
            if state is not None and state.kind is FileKind.FILE and state.size <= MAX_TEXT:
                data = read_inside(scratch.area, path)
                trial.texts[path] = data.decode("utf-8", "replace")

    @contextmanager
    def _scratch(self) -> Iterator[tuple[Scratch, GateContext, WatchedSandbox]]:
        runtime, run = self.run.runtime, self.run
        fence = run.guards.keeper.lease.fence
        self.made += 1
        scratch = runtime.stages.scratch(
            run.place, run.record.goal_id, fence, f"trial-{self.made}", like=self.before
        )
        try:
            ctx = runtime.gate_context(
                replace(run, stage=scratch), source="proof", agent=self.agent
            )
            watch = WatchedSandbox(ctx.tool.sandbox, scratch)
            ctx.tool.sandbox = watch
            ctx.tool.deadline = min(self.until, ctx.tool.deadline or self.until)
            yield scratch, ctx, watch
        finally:
            scratch.discard()
