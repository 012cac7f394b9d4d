"""Runs the tool calls of a model's turns: reads side by side, searches, programs, no circles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from llmos_workers.contracts.errors import (
    CallInDoubt,
    Cancelled,
    DeadlineExceeded,
    ToolDenied,
    ToolError,
)
from llmos_workers.contracts.outcome import ErrorInfo
from llmos_workers.contracts.tools import (
    RUN_SEQUENCE,
    SEARCH_TOOLS,
    Effect,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from llmos_workers.contracts.trace import TraceStep
from llmos_workers.execution.conversation import references_block, text_block, tool_result_block
from llmos_workers.execution.crystal.offer import Offer
from llmos_workers.execution.endings import describe, hopeless_result, in_circles
from llmos_workers.execution.gate import GateContext
from llmos_workers.execution.gate_steps import refused
from llmos_workers.execution.llm_contracts import CallContext
from llmos_workers.execution.loops import REFUSED, LoopWatch
from llmos_workers.execution.once import OnceOnly
from llmos_workers.execution.recording import record_step, summarize
from llmos_workers.execution.sequence import Program
from llmos_workers.execution.sequence_schema import SEQUENCE_SPEC
from llmos_workers.execution.tools.shelf import SEARCH_SPEC, ToolShelf
from llmos_workers.kernel.logs import carried

MAX_PARALLEL = 4
"""Independent reads at a time."""


@dataclass(frozen=True)
class RunParts:
    """What every turn of a run works with."""

    gate: GateContext
    call: CallContext
    once: OnceOnly
    before_step: Callable[[], None]


class ToolUser:
    """The tools of one run. ``steps`` grows by each call that ran."""

    def __init__(
        self,
        parts: RunParts,
        shelf: ToolShelf,
        steps: list[TraceStep],
        *,
        max_sequence_calls: int,
        discovered: list[str] | None = None,
        generated: Mapping[str, Offer] | None = None,
    ) -> None:
        self._parts = parts
        self._generated = generated or {}
        self._shelf = shelf
        self._steps = steps
        self._max_calls = max_sequence_calls
        self._loops = LoopWatch()
        self._searched: set[str] = set()
        self.discovered: list[str] = [] if discovered is None else discovered
        """Tools that were searched for, found, and did their work."""
        self._later = 1 + max((step.turn for step in steps), default=-1)
        """What is added to a turn to get that of its steps: behind those of an earlier replay,
        and behind each step of a program, which saw the results of the one before."""

    def answer(
        self, calls: Sequence[ToolCall], turn: int
    ) -> tuple[list[dict[str, Any]], ErrorInfo | None]:
        """The blocks that answer the calls of one response; an error when the run has to end.

        Raises ApprovalNeeded, LeaseLost, WorkerStopping, GoalFinished.
        """
        blocks: list[dict[str, Any]] = []
        try:
            for group in self._groups(calls):
                for call, (block, result) in zip(group, self._run(group, turn), strict=True):
                    blocks.append(block)
                    if ending := hopeless_result(result):
                        return blocks, ending
                    if result is REFUSED and self._loops.hopeless(call):
                        return blocks, in_circles(call)
        except (CallInDoubt, Cancelled, DeadlineExceeded) as error:
            return blocks, describe(error)
        injected = self._parts.gate.injected
        blocks += [text_block(told) for told in injected]
        injected.clear()
        return blocks, None

    def _groups(self, calls: Sequence[ToolCall]) -> Iterator[list[ToolCall]]:
        """Neighbouring reads together, all else one by one."""
        group: list[ToolCall] = []
        for call in calls:
            if group and not (self._reads(call) and self._reads(group[-1])):
                yield group
                group = []
            group.append(call)
        if group:
            yield group

    def _reads(self, call: ToolCall) -> bool:
        spec = self._spec(call.name)
        return spec is not None and spec.effect is Effect.READ

    def _spec(self, name: str) -> ToolSpec | None:
        tool = self._parts.once.gate.registry.find(name)
        return tool.spec if tool else None

    def _run(self, group: Sequence[ToolCall], turn: int) -> list[tuple[dict[str, Any], ToolResult]]:
        first = group[0]
        if first.name == SEARCH_TOOLS and SEARCH_TOOLS in self._shelf.offers:
            return [self._search(first, turn)]
        if first.name == RUN_SEQUENCE and RUN_SEQUENCE in self._shelf.offers:
            result = self._program(first, turn)
            return [(tool_result_block(first, result), result)]
        if first.name in self._generated:
            result = self._offered(first, turn)
            return [(tool_result_block(first, result), result)]
        fresh = [call for call in group if not self._loops.circles(call)]
        results = dict(zip(map(id, fresh), self._calls(fresh, turn), strict=True))
        answers = []
        for call in group:
            result = results.get(id(call), REFUSED)
            if result is not REFUSED:
                self._shelf.found([call.name])
                self._record(call, result, turn + self._later)
                self._loops.note(self._spec(call.name), call, result)
            answers.append((tool_result_block(call, result), result))
        return answers

    def _calls(self, calls: Sequence[ToolCall], turn: int) -> list[ToolResult]:
        """One call, or several reads side by side."""
        for call in calls:
            self._announce(call)
            if self._parts.once.journal.result(turn, call) is None:
                self._parts.before_step()
        if len(calls) <= 1:
            return [self._parts.once.call(turn, call, self._parts.gate) for call in calls]
        contexts = [replace(self._parts.gate, injected=[]) for _ in calls]
        with ThreadPoolExecutor(min(MAX_PARALLEL, len(calls))) as pool:
            running = [
                pool.submit(carried(self._parts.once.call), turn, call, context)
                for call, context in zip(calls, contexts, strict=True)
            ]
        # All have ended here; of several that raise, the first call's counts.
        for context in contexts:
            self._parts.gate.injected.extend(context.injected)
        return [made.result() for made in running]

    def _search(self, call: ToolCall, turn: int) -> tuple[dict[str, Any], ToolResult]:
        """Search is journaled, so that a resumed run finds the same tools."""
        self._announce(call)
        journal = self._parts.once.journal
        result = journal.result(turn, call)
        if result is None:
            result = self._found(call)
            journal.finish(turn, call, result)
        names = result.output.split() if result.ok else []
        self._searched.update(names)
        self._shelf.found(names)
        self._tell(call, result)
        if self._shelf.references and names:
            return references_block(call, names), result
        lines = [self._shelf.describe(name) for name in names if name in self._shelf.deferred]
        words = "\n".join(lines) or "No tool fits. Say it in other words, or do without."
        shown = result.model_copy(update={"output": words}) if result.ok else result
        return tool_result_block(call, shown), result

    def _found(self, call: ToolCall) -> ToolResult:
        try:
            call = self._parts.once.gate.admit(call, SEARCH_SPEC, self._parts.gate)
        except ToolDenied as denied:
            return refused(denied)
        names = self._shelf.search(call.arguments["query"], call.arguments.get("limit"))
        return ToolResult(ok=True, output=" ".join(names))

    def _program(self, call: ToolCall, turn: int) -> ToolResult:
        """Run a program; each of its calls passes the gate and is a step like any other."""
        self._announce(call)
        first, made = turn + self._later, 0

        def run(number: int, name: str, arguments: dict[str, Any]) -> ToolResult:
            nonlocal made
            inner = ToolCall(name=name, arguments=arguments, call_id=f"{call.call_id}.{made}")
            made += 1
            return self._inner(inner, turn, first + number)

        try:
            asked = self._parts.once.gate.admit(call, SEQUENCE_SPEC, self._parts.gate)
            program = Program.parse(asked.arguments, max_calls=self._max_calls)
            self._later += len(program.steps)
            result = program.run(run)
        except ToolDenied as denied:
            result = refused(denied)
        except ToolError as error:
            result = ToolResult(ok=False, error=error.message)
        self._tell(call, result)
        return result

    def _offered(self, call: ToolCall, turn: int) -> ToolResult:
        """Run a generated tool; each of its calls, too, passes the gate and is a step."""
        self._announce(call)
        offer, first, made = self._generated[call.name], turn + self._later, 0

        def run(asked: ToolCall) -> ToolResult:
            nonlocal made
            inner = asked.model_copy(update={"call_id": f"{call.call_id}.{made}"})
            made += 1
            return self._inner(inner, turn, first + made)

        try:
            allowed = self._parts.once.gate.admit(call, offer.spec, self._parts.gate)
            result = offer.run(allowed.arguments, run)
        except ToolDenied as denied:
            result = refused(denied)
        self._later += made
        self._tell(call, result)
        return result

    def _inner(self, call: ToolCall, turn: int, saw: int) -> ToolResult:
        """One call of a program or a generated tool. Raises ToolError when nothing can go on."""
        [result] = self._calls([call], turn)
        self._record(call, result, saw)
        self._loops.note(self._spec(call.name), call, result)
        if fatal := hopeless_result(result):
            raise ToolError(fatal.message)
        return result

    def _announce(self, call: ToolCall) -> None:
        self._parts.call.on_event("tool_call", {"name": call.name, "summary": summarize(call)})

    def _record(self, call: ToolCall, result: ToolResult, turn: int) -> None:
        if result.ok and call.name in self._searched and call.name not in self.discovered:
            self.discovered.append(call.name)
        self._steps.append(record_step(self._spec(call.name), call, result, turn))
        self._tell(call, result)

    def _tell(self, call: ToolCall, result: ToolResult) -> None:
        self._parts.call.on_event(
            "tool_result",
            {
                "name": call.name,
                "ok": result.ok,
                "exit_code": result.exit_code,
                "duration_ms": round(result.duration_ms, 1),
            },
        )
