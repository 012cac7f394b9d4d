"""The one gate: every tool call of every mode passes here, in this order:

    known tool, schema -> grant -> PreToolUse hooks -> schema and policy of what they made of it
    -> state rules -> taint -> a person's yes -> record -> run -> scrub -> PostToolUse hooks
    -> scrub

Whatever cannot be decided is denied, and each decision is in the audit log before anything
runs. A refused or failed call is a result, never an exception, and OnError hooks see it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from llmos_workers.contracts.bounds import ToolBounds
from llmos_workers.contracts.errors import (
    ApprovalNeeded,
    BrokerUnavailable,
    InfrastructureError,
    LeaseLost,
    LLMOSError,
    ToolDenied,
)
from llmos_workers.contracts.gate import GateRecord
from llmos_workers.contracts.hooks import HookKind
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.state import CognitivePolicy
from llmos_workers.contracts.tools import COMMAND_TOOLS, Effect, ToolCall, ToolResult, ToolSpec
from llmos_workers.execution.gate_record import Record, record_allowed, record_refused
from llmos_workers.execution.gate_steps import (
    denial,
    event_of,
    premises_of,
    refused,
    say_loudly,
    take_note,
    tell,
    unless_denied,
)
from llmos_workers.execution.hooks.base import HookAction, HookDecision
from llmos_workers.execution.hooks.chain import HookChain, Verdict
from llmos_workers.execution.hooks.state_rules import state_decision
from llmos_workers.execution.run_secrets import REFERENCE_USED, named_in
from llmos_workers.execution.spans import traced_tool
from llmos_workers.execution.taint import RunTaint
from llmos_workers.execution.tools.base import Tool, ToolContext
from llmos_workers.execution.tools.registry import ToolRegistry
from llmos_workers.execution.tools.schema import validate
from llmos_workers.kernel.clock import Clock
from llmos_workers.kernel.redact import redact

logger = logging.getLogger(__name__)

CHANGED = "hook:changed"
"""``denied_by`` of calls of a trace that a hook would have run with other arguments."""

PROMPT = "(model call)"
"""Stands in the audit log for the tool where a hook refused a model call."""

Ask = Callable[[ToolCall, HookDecision], None]
"""Asks a person about a call: returns after a yes to exactly it, raises ToolDenied after a no and
ApprovalNeeded before an answer."""


Source = Literal["model", "trace", "proof"]
"""Who makes calls: a model, a replay, or a trial that proves and perturbs what was just learned."""

Admitted = tuple[ToolCall, HookDecision | None]
"""A call as hooks changed it, and what a person has to say yes to."""

HooksOf = Callable[[str], HookChain]
"""The hooks of a project. Raises MalformedFile when they cannot be known."""


@dataclass
class GateContext:
    """Who calls, under which grants, in which state."""

    grants: frozenset[str]
    mode: Mode
    project: str
    goal_id: str
    agent: str
    policy: CognitivePolicy
    tool: ToolContext
    source: Source = "model"
    bounds: tuple[ToolBounds, ...] = ()
    """Ranges of numbers that the agent and the project demand."""
    injected: list[str] = field(default_factory=list)
    """What hooks want the model to be told; whoever talks to the model takes it from here."""
    told: list[str] = field(default_factory=list)
    """Digests of what hooks told before the first model call and what is done may depend on."""
    told_later: list[str] = field(default_factory=list)
    """The same, of what they told in mid-run."""
    said: set[str] = field(default_factory=set)
    """Digests of what prompt hooks told: nothing is said twice in a run."""
    notice: Callable[[str], None] = field(default=lambda _words: None, repr=False)
    """Tells who watches the goal."""
    noted: list[GateRecord] = field(default_factory=list)
    """What was refused, and what ran after a person's yes."""
    ask: Ask | None = None
    """None: nobody can be asked, and what needs a yes is denied."""
    taint: RunTaint = field(default_factory=RunTaint)
    """What the run has taken in from outside."""


class ToolGate:
    """Decides about calls, runs those that may run, and cleans what comes out."""

    def __init__(
        self,
        registry: ToolRegistry,
        hooks: HookChain | HooksOf,
        clock: Clock,
        *,
        record: Record,
    ) -> None:
        """``record`` writes each decision to the audit log; what it refuses does not run."""
        self.registry = registry
        self._record = record
        self._hooks: HooksOf = hooks if callable(hooks) else lambda _project: hooks
        self._clock = clock

    @traced_tool
    def call(self, call: ToolCall, ctx: GateContext) -> ToolResult:
        """The result of the call. A refused or failed call is a result, not an exception.

        Raises ApprovalNeeded when a person has to be waited for, LeaseLost when asking
        showed that another run has taken over, BrokerUnavailable while no decision can be
        written because Redis is away.
        """
        started, asked_for = self._clock.steady(), call
        told = len(ctx.told_later)
        spec: ToolSpec | None = None
        try:
            tool = self.registry.find(call.name)
            call = self._decide(call, ctx, lambda: self._admit(asked_for, tool, ctx))
            assert tool is not None  # noqa: S101 - what is not there was refused
            spec = tool.spec
            if spec.from_outside:
                # Before it runs: even how it fails may be somebody's words.
                ctx.taint.mark(call.name)
            result = self._run(tool, call, ctx)
            result = self._after(tool.spec, call, result, ctx)
            ctx.taint.learn(spec, call, result)
        except ToolDenied as denied:
            logger.warning("%s of goal %s denied: %s", call.name, ctx.goal_id, redact(str(denied)))
            result = refused(denied)
        except (ApprovalNeeded, LeaseLost, BrokerUnavailable):
            raise
        except Exception as error:
            logger.exception("the gate failed on %s of goal %s", call.name, ctx.goal_id)
            result = refused(_fault(error))
        if not result.ok:
            self._tell_error(spec, call, result, ctx)
        elapsed = (self._clock.steady() - started) * 1000
        update = {
            "duration_ms": elapsed,
            "tainted": result.tainted or (spec is not None and spec.from_outside),
            "tainted_file": ctx.taint.file_in(result),
            "ran": None if call.arguments == asked_for.arguments else call.arguments,
            "told": tuple(ctx.told_later[told:]),
        }
        return result.model_copy(update=update)

    def prompt(self, text: str, ctx: GateContext, *, turn: int = 0) -> tuple[str, ...]:
        """Ask UserPromptSubmit hooks before a model call; returns what they inject, marked.

        Raises ToolDenied when one refuses, which is put on record as well.
        """
        event = event_of(HookKind.USER_PROMPT_SUBMIT, ctx, prompt=text, turn=turn)
        verdict = self._hooks(ctx.project).ask(event)
        self._check_prompt(verdict, text, ctx)
        fresh = [told for told in verdict.told if told.digest not in ctx.said]
        ctx.said.update(told.digest for told in fresh)
        (ctx.told if turn == 0 else ctx.told_later).extend(take_note(fresh, ctx))
        return tuple(told.marked() for told in fresh)

    def premises(self, text: str, ctx: GateContext) -> tuple[str, ...]:
        """Digests of what hooks would tell a model before its first call, and traces depend on.

        Raises ToolDenied when one refuses the goal.
        """
        event = event_of(HookKind.USER_PROMPT_SUBMIT, ctx, prompt=text)
        verdict = self._hooks(ctx.project).told(event)
        self._check_prompt(verdict, text, ctx)
        return premises_of(verdict.told)

    def _check_prompt(self, verdict: Verdict, text: str, ctx: GateContext) -> None:
        if verdict.refusal is None:
            return
        denied = denial(verdict.refusal)
        say_loudly(verdict, ctx)
        record_refused(self._record, ToolCall(name=PROMPT, arguments={"goal": text}), ctx, denied)
        raise denied

    def admit(self, call: ToolCall, spec: ToolSpec, ctx: GateContext) -> ToolCall:
        """A call of one of the agent loop's own tools, as it may run: those need no grant, and pass
        all else before it, the log included. OnError hooks see a refusal.

        Raises ToolDenied, and what ``call`` raises.
        """
        try:
            return self._decide(call, ctx, lambda: self._consider(call, spec, ctx))
        except ToolDenied as denied:
            self._tell_error(spec, call, refused(denied), ctx)
            raise

    def _decide(self, call: ToolCall, ctx: GateContext, check: Callable[[], Admitted]) -> ToolCall:
        """Check the call and put on record what came of it: one record a call, whatever it is."""
        try:
            changed, asked = check()
            if asked is not None:
                # Last, and bound to the call as it will run: nothing may change it after the yes.
                self._confirm(changed, asked, ctx)
        except ToolDenied as denied:
            record_refused(self._record, call, ctx, denied)
            raise
        except (ApprovalNeeded, LeaseLost, BrokerUnavailable):
            raise
        # Anything unforeseen in the gate itself means that the call was not checked to its end.
        except Exception as error:
            record_refused(self._record, call, ctx, _fault(error))
            raise
        rule, reason = (asked.rule, f"confirmed: {asked.reason}") if asked else ("", "")
        record_allowed(self._record, call, changed, ctx, rule=rule, reason=reason)
        return changed

    def _confirm(self, call: ToolCall, asked: HookDecision, ctx: GateContext) -> None:
        """Return after a person's yes."""
        if ctx.ask is None:
            raise denial(asked)
        try:
            ctx.ask(call, asked)
        except ApprovalNeeded:
            waits = ToolDenied(asked.reason, rule=asked.rule)
            record_refused(self._record, call, ctx, waits, asked=True)
            raise

    def _admit(self, call: ToolCall, tool: Tool | None, ctx: GateContext) -> Admitted:
        """Every check of a call; ``tool`` is None when none has its name."""
        if tool is None:
            known = ", ".join(sorted(ctx.grants & set(self.registry.names()))) or "none"
            raise ToolDenied(
                f"there is no tool {call.name!r} (you may use: {known})", rule="unknown_tool"
            )
        _check_arguments(tool.spec, call)
        if call.name not in ctx.grants:
            raise ToolDenied(
                f"the agent {ctx.agent} has no grant for {call.name}",
                rule="grant",
                fix=f"Add {call.name} to the agent's tools.",
            )
        return self._consider(call, tool.spec, ctx)

    def _consider(self, call: ToolCall, spec: ToolSpec, ctx: GateContext) -> Admitted:
        """What schema, hooks, policy, state and taint say of a call that is granted."""
        _check_arguments(spec, call)
        if named := named_in(call.arguments):
            raise ToolDenied(REFERENCE_USED.format(named), rule="secret:reference")
        hooks = self._hooks(ctx.project)
        verdict = hooks.ask(event_of(HookKind.PRE_TOOL_USE, ctx, call=call, spec=spec))
        asked = unless_denied(verdict, ctx)
        tell(verdict.told, ctx)
        changed = verdict.event.call or call
        if changed is not call:
            _check_arguments(spec, changed)
        if changed.arguments != call.arguments and ctx.source != "model":
            # What a replay does was proved; what a hook makes of it now was not.
            raise ToolDenied(
                f"the hook {verdict.changed_by} changes this call, which a trace replays",
                rule=CHANGED,
            )
        # The policy has the last word, on the call as it will run.
        verdict = hooks.judge(event_of(HookKind.PRE_TOOL_USE, ctx, call=changed, spec=spec))
        judged = unless_denied(verdict, ctx)
        asked = asked or judged
        decision = state_decision(changed, spec, ctx.policy)
        if decision.action is HookAction.ASK:
            asked = asked or decision
        elif decision.action is not HookAction.ALLOW:
            raise denial(decision)
        tainted = ctx.taint.decision(changed, spec, ctx.tool.area)
        if tainted.action is not HookAction.ALLOW:
            raise denial(tainted)
        if ctx.tool.dry_run and spec.effect is not Effect.READ:
            raise ToolDenied("this is a dry run: nothing is changed", rule="dry_run")
        return changed, asked

    def _run(self, tool: Tool, call: ToolCall, ctx: GateContext) -> ToolResult:
        """Run the tool; whatever it raises becomes a failed result, but ToolDenied."""
        if ctx.tool.cancelled():
            return ToolResult(ok=False, error="the goal was cancelled")
        if ctx.tool.time_left(1.0) <= 0:
            return ToolResult(ok=False, error="the goal's deadline has passed")
        try:
            result = tool.run(call.arguments, _networked(call, ctx))
        except InfrastructureError as error:
            logger.warning("%s of goal %s: %s", call.name, ctx.goal_id, redact(str(error)))
            return _failed(error)
        except ToolDenied:
            raise  # a rule that a tool holds to itself, such as where a name resolves to
        except LLMOSError as error:
            return _failed(error)
        # A fault in a tool ends the call, not the goal; its text may hold anything: not shown.
        except Exception as error:
            logger.exception("tool %s failed in goal %s", call.name, ctx.goal_id)
            return ToolResult(ok=False, error=f"{call.name} failed: {type(error).__name__}")
        return result

    def _after(
        self, spec: ToolSpec, call: ToolCall, result: ToolResult, ctx: GateContext
    ) -> ToolResult:
        """Scrub secrets, ask PostToolUse hooks, scrub what they put in.

        Before anything else gets to see it: journal, trace, events and the model are given
        the scrubbed result.
        """
        result = ctx.tool.secrets.scrubbed(result, ctx.tool.area)
        kept = {"reads": result.reads, "writes": result.writes, "exit_code": result.exit_code}
        withheld = ctx.taint.withheld(result)
        if withheld.action is not HookAction.ALLOW:
            return refused(denial(withheld)).model_copy(update=kept)
        event = event_of(HookKind.POST_TOOL_USE, ctx, call=call, spec=spec, result=result)
        verdict = self._hooks(ctx.project).ask(event)
        if verdict.refusal is not None:
            # The call ran: its effects stay known, its output is withheld.
            say_loudly(verdict, ctx)
            return refused(denial(verdict.refusal)).model_copy(update=kept)
        tell(verdict.told, ctx)
        changed = verdict.event.result
        if changed is None or changed is result:
            return result
        return ctx.tool.secrets.scrubbed(changed, ctx.tool.area)

    def _tell_error(
        self, spec: ToolSpec | None, call: ToolCall, result: ToolResult, ctx: GateContext
    ) -> None:
        """Hooks may add a word; whatever else they answer changes nothing."""
        event = event_of(HookKind.ON_ERROR, ctx, call=call, spec=spec, result=result)
        try:
            hooks = self._hooks(ctx.project)
        except LLMOSError:
            return  # said already: it is why the call failed
        tell(hooks.ask(event).told, ctx)


def _networked(call: ToolCall, ctx: GateContext) -> ToolContext:
    """What the tool gets: a network, where the run has one, that knows what the run holds."""
    network = ctx.tool.network
    if network is None:
        return ctx.tool
    if call.name not in COMMAND_TOOLS:
        return replace(ctx.tool, network=None)
    held = replace(
        network,
        withheld=ctx.taint.keeps_in(ctx.tool.area),
        # Before it is connected: what comes of it may be somebody's words.
        on_open=lambda host: ctx.taint.mark(f"{call.name}: {host}"),
    )
    return replace(ctx.tool, network=held)


def _fault(error: Exception) -> ToolDenied:
    reason = f"the gate failed ({type(error).__name__}), so the call is denied"
    return ToolDenied(reason, rule="gate")


def _check_arguments(spec: ToolSpec, call: ToolCall) -> None:
    faults = validate(spec.input_schema, call.arguments)
    if faults:
        raise ToolDenied(f"{call.name}: {'; '.join(faults[:5])}", rule="schema")


def _failed(error: LLMOSError) -> ToolResult:
    return ToolResult(ok=False, error=redact(str(error)), error_kind=type(error).__name__)
