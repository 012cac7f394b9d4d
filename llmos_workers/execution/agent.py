"""The agent loop: a model and tools take turns until the goal is done or cannot be.

Every stop reason of the API has its handling (see AgentLoop._ended). The loop never decides
what may run: each call goes through the gate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llmos_workers.contracts.agents import AgentDefinition
from llmos_workers.contracts.errors import (
    BudgetExceeded,
    Cancelled,
    DeadlineExceeded,
    LLMOSError,
    ModelError,
    RateLimited,
    Refused,
    ToolDenied,
)
from llmos_workers.contracts.outcome import ErrorInfo, Usage
from llmos_workers.contracts.rehearsal import is_rehearsal_failure
from llmos_workers.contracts.tools import ToolResult
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep
from llmos_workers.execution.conversation import Conversation, text_block, tool_result_block
from llmos_workers.execution.crystal.offer import Offer
from llmos_workers.execution.endings import describe, turn_limit
from llmos_workers.execution.gate import GateContext, ToolGate
from llmos_workers.execution.journal import RunJournal
from llmos_workers.execution.llm import CallContext, ModelGateway, ModelRequest, ModelResponse
from llmos_workers.execution.once import Doubt, OnceOnly, never_again
from llmos_workers.execution.prompts import (
    first_message,
    system_blocks,
    with_cache_breakpoint,
)
from llmos_workers.execution.tool_user import RunParts, ToolUser
from llmos_workers.execution.tools.registry import ToolRegistry
from llmos_workers.execution.tools.shelf import Examples, ToolShelf, ToolUse

ENDINGS = (ModelError, Refused, ToolDenied, Cancelled, DeadlineExceeded)
"""What ends a run with a result instead of a crash."""

WHOLE = frozenset({"tool_use", "end_turn", "stop_sequence", "pause_turn"})
"""Stop reasons with which the calls of a response are whole. Only ``tool_use`` announces them,
but endpoints that speak the API loosely end a turn beside a call, and that is no finished goal.
"""

MAX_CONTINUATIONS = 3
"""How often an answer cut off at max_tokens is continued."""


@dataclass(frozen=True)
class AgentTask:
    """What one run of the loop is to do."""

    goal: str
    agent: AgentDefinition
    model: str
    max_turns: int
    max_tokens: int
    context: str = ""
    """Internal state and memory, for the changing part of the system prompt."""
    experience: ExecutionTrace | None = None
    done: tuple[TraceStep, ...] = ()
    purpose: str = "learn"
    examples: Examples = field(default_factory=dict)
    """Inputs of tools that worked before."""
    generated: Mapping[str, Offer] = field(default_factory=dict)
    """Generated tools that the agent may use, by name."""


@dataclass
class AgentResult:
    """What came of it. ``error`` is None exactly when the model finished the goal."""

    text: str = ""
    steps: list[TraceStep] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    cost_micro: int = 0
    llm_calls: int = 0
    discovered: list[str] = field(default_factory=list)
    """Tools that were searched for, found, and did their work."""
    error: ErrorInfo | None = None


class AgentLoop:
    """Runs an AgentTask with a gateway to the model and a gate to the tools."""

    def __init__(
        self,
        gateway: ModelGateway,
        gate: ToolGate,
        registry: ToolRegistry,
        use: ToolUse | None = None,
    ) -> None:
        self._gateway = gateway
        self._gate = gate
        self._registry = registry
        self._use = use or ToolUse()

    def run(
        self,
        task: AgentTask,
        gate_context: GateContext,
        call_context: CallContext,
        *,
        journal: RunJournal | None = None,
        doubt: Doubt = never_again,
        before_step: Callable[[], None] = lambda: None,
        on_breach: Callable[[BudgetExceeded], LLMOSError] = lambda error: error,
    ) -> AgentResult:
        """Take turns until the model ends, a limit is met or the endpoint fails.

        What ``journal`` holds of an earlier run is neither bought nor done again; ``doubt``
        decides about calls of which it says only that they began.

        RateLimited and ApprovalNeeded are raised: the goal waits without a worker, and a
        successor reads the journal.
        ``before_step`` is asked before each call of the model or a tool and may raise to stop
        the run. A cancel, a passed deadline, a spent budget and a failing endpoint end in a
        result with what was done so far; LeaseLost and WorkerStopping are raised, and so is a
        refusal (BudgetExceeded, ToolDenied) before the first call. ``on_breach`` is asked when
        the money is spent in mid-run: it gives the error to end with, or raises ApprovalNeeded.
        """
        result = AgentResult(steps=list(task.done))
        conversation = Conversation(
            first_message(task.goal, experience=task.experience, done=task.done)
        )
        request_parts = _fixed_parts(task)
        for step in task.done:
            tool = self._registry.find(step.call.name)
            gate_context.taint.learn_step(tool.spec if tool else None, step)
        once = OnceOnly(self._gate, journal or RunJournal(), doubt, _notices(call_context))
        parts = RunParts(gate_context, call_context, once, before_step)
        shelf = ToolShelf(
            [
                *self._registry.specs(sorted(gate_context.grants)),
                *(offer.spec for offer in task.generated.values()),
            ],
            self._use,
            examples=task.examples,
            needed=_used_before(task),
        )
        user = ToolUser(
            parts,
            shelf,
            result.steps,
            max_sequence_calls=self._use.max_sequence_calls,
            generated=task.generated,
            discovered=result.discovered,
        )
        for turn in range(task.max_turns):
            try:
                before_step()
                conversation.tell(self._gate.prompt(task.goal, gate_context, turn=turn))
                if turn == 0:
                    _keep_told(once.journal, gate_context)
                request = request_parts | {"tools": shelf.blocks()}
                response = self._ask(conversation, request, turn, parts)
            except RateLimited:
                # The queue waits, not a worker: what was done is journaled.
                raise
            except ENDINGS as error:
                if isinstance(error, Refused | ToolDenied) and not result.llm_calls:
                    raise
                ending = on_breach(error) if isinstance(error, BudgetExceeded) else error
                result.error = describe(ending)
                return result
            self._account(result, response, turn, call_context)
            if response.tool_uses and response.stop_reason in WHOLE:
                conversation.assistant(response)
                conversation.partial = ""
                blocks, result.error = user.answer(response.tool_uses, turn)
                if result.error is not None:
                    return result
                conversation.user(blocks)
                self._make_room(response, conversation, call_context)
            elif self._ended(response, conversation, result):
                return result
        result.error = turn_limit(task.max_turns)
        return result

    def _ask(
        self,
        conversation: Conversation,
        request: dict[str, Any],
        turn: int,
        parts: RunParts,
    ) -> ModelResponse:
        kept = parts.once.journal.response(turn)
        if kept is not None:
            return kept
        messages = with_cache_breakpoint(conversation.messages)
        parts.call.on_event("model_call", {"turn": turn, "model": request["model"]})
        return self._gateway.complete(
            ModelRequest(messages=messages, turn=turn, container=conversation.container, **request),
            parts.call,
        )

    def _make_room(
        self, response: ModelResponse, conversation: Conversation, context: CallContext
    ) -> None:
        """Take old results out of a prompt that has grown long.

        Decided by what the endpoint counted, which is journaled: a resumed run does the same. It
        costs the prompt cache once, so it waits until about a quarter can go (four characters
        are about a token).
        """
        usage = response.usage
        if usage.total_tokens - usage.output_tokens <= self._use.compact_tokens:
            return
        if gone := conversation.compact(least=self._use.compact_tokens):
            context.on_event(
                "notice", {"message": f"{gone:,} characters of old results left the prompt."}
            )

    @staticmethod
    def _account(
        result: AgentResult, response: ModelResponse, turn: int, context: CallContext
    ) -> None:
        result.llm_calls += 1
        result.usage = result.usage + response.usage
        result.cost_micro += response.cost_micro
        context.on_event(
            "model_response",
            {
                "turn": turn,
                "stop_reason": response.stop_reason,
                "tokens": response.usage.total_tokens,
                "cost_micro": response.cost_micro,
            },
        )

    def _ended(
        self, response: ModelResponse, conversation: Conversation, result: AgentResult
    ) -> bool:
        """Handle a response that calls no tool; True when the run is over."""
        match response.stop_reason:
            case "end_turn" | "stop_sequence":
                result.text = conversation.finish(response.text)
                result.error = _no_skill(result.text)
                return True
            case "max_tokens":
                return self._continue_cut_off(response, conversation, result)
            case "pause_turn":
                conversation.resume(response)
                return False
            case "tool_use":
                result.error = ErrorInfo(
                    kind="UnknownStop",
                    message="the endpoint said that the model calls a tool, but sent no call.",
                    fix="Check the endpoint: its tool calling does not work with this model.",
                )
            case "refusal":
                result.error = ErrorInfo(
                    kind="Refusal",
                    message=f"the model refused this goal. {response.text}".strip(),
                    fix="Reword the goal, or do this step by hand.",
                )
            case "model_context_window_exceeded":
                result.error = ErrorInfo(
                    kind="ContextExceeded",
                    message="the conversation no longer fits the model's context window.",
                    fix="Split the goal, or let tools read less at a time.",
                )
            case other:
                result.error = ErrorInfo(
                    kind="UnknownStop",
                    message=f"the endpoint stopped with {other!r}, which this version does not "
                    "know.",
                    fix="Upgrade llmos or check the endpoint.",
                )
        return True

    @staticmethod
    def _continue_cut_off(
        response: ModelResponse, conversation: Conversation, result: AgentResult
    ) -> bool:
        """max_tokens: a cut-off call is never run; a cut-off text is continued a few times."""
        conversation.continuations += 1
        if conversation.continuations > MAX_CONTINUATIONS:
            result.error = ErrorInfo(
                kind="TokenLimit",
                message="the model's answers were cut off at sdk.max_tokens again and again.",
                fix="Raise sdk.max_tokens, or split the goal.",
            )
            return True
        conversation.assistant(response)
        if response.tool_uses:
            refused = ToolResult(
                ok=False,
                error="this call was cut off at the token limit and was not run; "
                "make it again in smaller pieces.",
            )
            conversation.user([tool_result_block(c, refused) for c in response.tool_uses])
        else:
            conversation.partial += response.text
            conversation.user(
                [text_block("Your answer was cut off. Go on exactly where you stopped.")]
            )
        return False


def _keep_told(journal: RunJournal, context: GateContext) -> None:
    """Keep in the journal what hooks told at first. A resumed run is told as things are now, but
    what an earlier one bought was written under what it was told then.
    """
    told = tuple(sorted(set(context.told)))
    if journal.turns and told != journal.told:
        context.told_later.extend(set(told) ^ set(journal.told))
    elif told != journal.told:
        journal.tell(told)


def _fixed_parts(task: AgentTask) -> dict[str, Any]:
    return {
        "model": task.model,
        "system": system_blocks(task.agent, task.context),
        "max_tokens": task.max_tokens,
        "purpose": task.purpose,
    }


def _used_before(task: AgentTask) -> set[str]:
    """Tools that the task itself speaks of: they are not worth a search."""
    steps = (*task.done, *(task.experience.steps if task.experience else ()))
    return {step.call.name for step in steps}


def _notices(context: CallContext) -> Callable[[str], None]:
    return lambda words: context.on_event("notice", {"message": words})


def _no_skill(text: str) -> ErrorInfo | None:
    """The scripted rehearsal model says in its text that it could not do the job."""
    if not is_rehearsal_failure(text):
        return None
    _, _, words = text.partition(":")
    return ErrorInfo(kind="RehearsalFailure", message=words.strip())
