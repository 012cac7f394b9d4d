"""Calls that run at most once for a goal, however often its runs are broken off.

What finished is read from the journal. What may have effects outside of the project writes its
intent first: intent without a result is a call in doubt. Confined ones of these work in the run's
stage only and are run again; of the others nobody knows whether they had their effect, and
``Doubt`` decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llmos_workers.contracts.errors import ApprovalNeeded, ToolDenied
from llmos_workers.contracts.tools import (
    COMMAND_TOOLS,
    CONFINED_TOOLS,
    Effect,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from llmos_workers.execution.gate import GateContext, ToolGate
from llmos_workers.execution.journal import RunJournal

IN_DOUBT = (
    "this call was begun by an earlier run that was interrupted: whether it had its effect is not "
    "known, so it is not repeated. Look at what is there, and say if a person has to decide."
)

Doubt = Callable[[ToolCall], None]
"""Asked about a call in doubt: returns when it may run again; raises ToolDenied when whoever made
the call is to be told that it may have happened, ApprovalNeeded before a person's answer, and
CallInDoubt when the goal is to end."""


def never_again(call: ToolCall) -> None:
    """A Doubt that repeats nothing. Raises ToolDenied."""
    raise ToolDenied(f"{call.name} is not repeated.", rule="in_doubt")


@dataclass(frozen=True)
class OnceOnly:
    """Runs the calls of one run through the gate."""

    gate: ToolGate
    journal: RunJournal
    doubt: Doubt = never_again
    notice: Callable[[str], None] = lambda _words: None
    """Tells who watches."""

    def outside(self, call: ToolCall, ctx: GateContext) -> bool:
        """Whether a call may have effects that no stage holds."""
        tool = self.gate.registry.find(call.name)
        networked = ctx.tool.network is not None and call.name in COMMAND_TOOLS
        return tool is not None and (networked or is_outside(tool.spec))

    def call(self, turn: int, call: ToolCall, ctx: GateContext) -> ToolResult:
        """The result of the call, made now or by an earlier run.

        Raises as the gate does and as ``doubt`` does, but ToolDenied; LeaseLost, GoalFinished.
        """
        kept = self.journal.result(turn, call)
        tool = self.gate.registry.find(call.name)
        if kept is not None:
            ctx.taint.learn(tool.spec if tool else None, call, kept)
            ctx.told_later.extend(kept.told)
            return kept
        external = tool is not None and tool.spec.effect is Effect.EXTERNAL
        outside = self.outside(call, ctx)
        if external and self.journal.in_doubt(turn, call):
            refused = self._again(call, outside=outside)
            if refused is not None:
                self.journal.finish(turn, call, refused, outside=outside)
                return refused
        elif external:
            self.journal.intend(turn, call, outside=outside)
        try:
            result = self.gate.call(call, ctx)
        except ApprovalNeeded:
            if external:
                self.journal.void(turn, call)
            raise
        self.journal.finish(turn, call, result, outside=outside)
        return result

    def _again(self, call: ToolCall, *, outside: bool) -> ToolResult | None:
        """None when the call may run again."""
        try:
            if outside:
                self.doubt(call)
        except ToolDenied as denied:
            return ToolResult(ok=False, error=f"{IN_DOUBT} {denied.message}", denied_by=denied.rule)
        self.notice(f"{call.name} was interrupted in an earlier run and is run again.")
        return None


def is_outside(spec: ToolSpec) -> bool:
    """Whether a tool may have effects that no stage holds."""
    return spec.effect is Effect.EXTERNAL and spec.name not in CONFINED_TOOLS
