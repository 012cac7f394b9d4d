"""Programmatic tool calling: a recorded sequence runs again without a model, each step checked.

A step runs only while the world is as it was when the step was recorded, and counts only when
it did what it did then. The first difference ends the replay; what was done so far is handed
on. What a slot's new value changes, directly or through a file, cannot be compared and is only
required to succeed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from llmos_workers.contracts.errors import ToolError
from llmos_workers.contracts.tools import ToolCall, ToolResult
from llmos_workers.contracts.trace import Check, TraceStep
from llmos_workers.execution.gate import GateContext, ToolGate
from llmos_workers.execution.once import OnceOnly
from llmos_workers.execution.recording import failure_text, output_digest, steady_digest
from llmos_workers.execution.references import handle, refers_to, resolved
from llmos_workers.kernel.clock import Clock
from llmos_workers.kernel.workspace import digest_file


@dataclass(frozen=True)
class ToolSequence:
    """Calls in order, as they are to run now.

    ``recorded`` are the same steps as they ran when they were learned, before slots were
    filled; a step whose arguments differ from them is touched by a slot. Without it, a step is
    taken as touched when a slot's value occurs in its arguments.
    """

    steps: Sequence[TraceStep]
    slots: Mapping[str, str] = field(default_factory=dict)
    recorded: Sequence[TraceStep] = ()
    checks: Sequence[Check] = ()
    """Calls in between that have to fail as they did."""
    answer_depends: bool = False
    """Whether the recorded answer is given again, so that every output must be as it was."""

    def touched(self, index: int) -> bool:
        """Whether a slot changed the step's arguments."""
        arguments = self.steps[index].call.arguments
        if self.recorded:
            return arguments != self.recorded[index].call.arguments
        text = json.dumps(arguments, ensure_ascii=False)
        return any(value and json.dumps(value)[1:-1] in text for value in self.slots.values())

    def followed(self, index: int) -> bool:
        """Whether a model saw the step's output before it wrote what comes later."""
        turn = self.steps[index].turn
        return self.answer_depends or any(step.turn > turn for step in self.steps[index + 1 :])


@dataclass(frozen=True)
class SequenceResult:
    """How far a sequence came. ``results`` are those of all steps that ran, the last one
    included when it was the one that differed.
    """

    results: list[ToolResult]
    completed: bool
    diverged_at: int | None = None
    """Index of the step that differed or could not start."""
    reason: str = ""
    check: tuple[TraceStep, ToolResult] | None = None
    """The call that should have failed as it did, where it was that which differed."""


class StepProgram(Protocol):
    """Code that makes a sequence's calls (a generated tool)."""

    def objection(self, call: ToolCall | None) -> str:
        """Why the next call that it asks for is not this one; None: the end. "" when it is."""
        ...

    def told(self, result: ToolResult) -> None:
        """What came of the call that it asked for."""
        ...


class PTCExecutor:
    """Runs sequences through the gate."""

    def __init__(self, gate: ToolGate, clock: Clock) -> None:
        self._gate = gate
        self._clock = clock

    def execute_sequence(
        self,
        sequence: ToolSequence,
        ctx: GateContext,
        *,
        once: OnceOnly | None = None,
        on_step: Callable[[int, TraceStep, ToolResult], None] | None = None,
        before_step: Callable[[], None] = lambda: None,
        program: StepProgram | None = None,
    ) -> SequenceResult:
        """Run the steps in order until the end or the first difference, which is never raised.

        Steps with effects that no stage holds run through ``once``: a replay that begins again
        does not repeat them, and raises what it raises. ``before_step`` may raise to stop.
        A ``program`` makes the calls: one that is not the step's is a difference.
        """
        results: list[ToolResult] = []
        varying: set[str] = set()
        for index, planned in enumerate(sequence.steps):
            if otherwise := self._checked(sequence, index, ctx, before_step):
                return SequenceResult(results, False, index, otherwise[2], otherwise[:2])
            before_step()
            step = resolved(planned, results)
            touched = sequence.touched(index) or step.call != planned.call
            reason = program.objection(step.call) if program is not None else ""
            reason = reason or self._before(step, touched, varying, ctx)
            if reason:
                return SequenceResult(results, False, index, reason)
            varies = touched or _reads_any(step, varying)
            if once is not None and once.outside(step.call, ctx):
                result = once.call(index, step.call, ctx)
            else:
                result = self._gate.call(step.call, ctx)
            results.append(result)
            if on_step is not None:
                on_step(index, step, result)
            if program is not None:
                program.told(result)
            followed = sequence.followed(index) and not (
                # What was taken from it is taken again, as long as it is one word still.
                refers_to(sequence.steps, index) and handle(result.output) is not None
            )
            reason = _after(step, result, ctx, varies=varies, followed=followed)
            if reason:
                return SequenceResult(results, False, index, reason)
            if varies:
                varying.update(written.path for written in (*result.writes, *step.writes))
        if otherwise := self._checked(sequence, len(results), ctx, before_step):
            return SequenceResult(results, False, len(results), otherwise[2], otherwise[:2])
        if program is not None and (reason := program.objection(None)):
            return SequenceResult(results, False, len(results), reason)
        return SequenceResult(results, True)

    def _checked(
        self, sequence: ToolSequence, index: int, ctx: GateContext, before: Callable[[], None]
    ) -> tuple[TraceStep, ToolResult, str] | None:
        """The first call before a step that does not fail as it did, and why; None: all do."""
        for step in (check.step for check in sequence.checks if check.at == index):
            before()
            reason = self._before(step, True, set(), ctx)
            if reason:
                return step, ToolResult(ok=False, error=reason), reason
            result = self._gate.call(step.call, ctx)
            if why := _not_alike(step, result):
                return step, result, f"{step.call.name}, which failed when it was learned, {why}"
        return None

    def _before(self, step: TraceStep, touched: bool, varying: set[str], ctx: GateContext) -> str:
        """Why the step may not run; empty when it may."""
        if ctx.tool.cancelled():
            return "the goal was cancelled"
        if ctx.tool.deadline is not None and self._clock.steady() >= ctx.tool.deadline:
            return "the goal's deadline has passed"
        tool = self._gate.registry.find(step.call.name)
        if tool is None or (step.tool_version and tool.spec.version != step.tool_version):
            return f"the tool {step.call.name} {'has changed since' if tool else 'is gone'}"
        # A step that a slot touched reads what the slot names now, not what it read then.
        for read in () if touched else step.reads:
            if read.path not in varying and _now(ctx, read.path) != read.digest:
                return f"the file {read.path} has changed since"
        return ""


def _now(ctx: GateContext, path: str) -> str | None:
    """Digest of a file now; a value no digest has when it cannot be taken."""
    try:
        return digest_file(ctx.tool.area, path).digest
    except ToolError:
        return "unreadable"


def _reads_any(step: TraceStep, varying: set[str]) -> bool:
    return any(read.path in varying for read in step.reads)


def _after(
    step: TraceStep, result: ToolResult, ctx: GateContext, *, varies: bool, followed: bool
) -> str:
    """What came out differently; empty when nothing did."""
    if result.ok != step.ok:
        return result.error or "it succeeded, where it failed before"
    if result.exit_code != step.exit_code:
        return f"exit code {result.exit_code} instead of {step.exit_code}"
    if varies:
        return ""
    if changed := _written_otherwise(step, result, ctx):
        return f"it left {changed} with another content"
    return _said_otherwise(step, result, followed=followed)


def _said_otherwise(step: TraceStep, result: ToolResult, *, followed: bool) -> str:
    if step.informative and followed and step.output_digest != output_digest(result.output):
        return "its output differs, and later steps relied on it"
    if step.said and step.said != steady_digest(result.output):
        return "its output differs, and that nothing more was to be done rested on it"
    return ""


def _not_alike(step: TraceStep, result: ToolResult) -> str:
    """How a call that failed once ended otherwise now; empty when it did not."""
    if (result.ok, result.exit_code) != (step.ok, step.exit_code):
        return "ends in another way now"
    if result.writes:
        return "changes files now"
    if output_digest(result.output) != step.output_digest:
        return "says something else now"
    if not result.output and failure_text(result) != step.output:
        return "fails for another reason now"
    return ""


def _written_otherwise(step: TraceStep, result: ToolResult, ctx: GateContext) -> str:
    """A path that was not left as it was then; empty when all were.

    A file that the recorded run changed and this one found right already is no difference.
    """
    then = {written.path: written.digest for written in step.writes}
    now = {written.path: written.digest for written in result.writes}
    for path, digest in now.items():
        if then.get(path, "not written") != digest:
            return path
    for path in then.keys() - now.keys():
        if _now(ctx, path) != then[path]:
            return path
    return ""
