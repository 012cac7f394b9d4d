"""The chain of hooks. Whatever goes wrong in a hook is a denial, and is logged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from llmos_workers.config import LLMOSConfig
from llmos_workers.execution.hooks.base import (
    ALLOW,
    Hook,
    HookAction,
    HookDecision,
    HookEvent,
    HookKind,
    deny,
)
from llmos_workers.execution.hooks.external import load_hook
from llmos_workers.execution.hooks.security import SecurityHook
from llmos_workers.execution.hooks.web import WebHook

logger = logging.getLogger(__name__)

MAX_CONTEXT_CHARS = 20_000

Answer = Callable[[HookEvent], HookDecision]


@dataclass(frozen=True)
class Verdict:
    """What the chain as a whole says: the first refusal, or all changes in order."""

    event: HookEvent
    """The event with the changed arguments or output."""
    refusal: HookDecision | None = None
    """DENY or ASK; None: the call may go on."""
    context: tuple[str, ...] = ()


class HookChain:
    """Hooks in the order in which they are asked. Hooks see what the earlier ones changed."""

    def __init__(
        self,
        pre: Sequence[Hook] = (),
        post: Sequence[Hook] = (),
        on_error: Sequence[Hook] = (),
        prompt: Sequence[Hook] = (),
    ) -> None:
        self._answers: dict[HookKind, list[tuple[str, Answer]]] = {
            HookKind.PRE_TOOL_USE: [(_name(hook), hook.pre_tool) for hook in pre],
            HookKind.POST_TOOL_USE: [(_name(hook), hook.post_tool) for hook in post],
            HookKind.ON_ERROR: [(_name(hook), hook.on_error) for hook in on_error],
            HookKind.USER_PROMPT_SUBMIT: [(_name(hook), hook.prompt) for hook in prompt],
        }

    @classmethod
    def of(cls, hooks: Iterable[Hook]) -> HookChain:
        """A chain in which each hook is asked for the events whose method it overrides."""
        every = list(hooks)

        def overriding(method: str) -> list[Hook]:
            return [h for h in every if getattr(type(h), method) is not getattr(Hook, method)]

        return cls(*(overriding(name) for name in ("pre_tool", "post_tool", "on_error", "prompt")))

    @classmethod
    def from_config(cls, config: LLMOSConfig, *more: Hook) -> HookChain:
        """SecurityHook, WebHook, then ``more``, then the user's hooks.

        A user hook that cannot be loaded is replaced by one that denies every call. With
        ``sdk.enable_hooks`` off the user's hooks are left out; ours always stay.
        """
        wanted = config.security.hooks if config.sdk.enable_hooks else ()
        user = [load_hook(where) for where in wanted]
        security = config.security
        ours = SecurityHook(security.protected_paths, security.allowed_hosts)
        web = WebHook(security.allowed_hosts)
        return cls.of([ours, web, *more, *user])

    def ask(self, event: HookEvent) -> Verdict:
        """Ask all hooks of the event's kind; the first no ends it.

        A hook that wants a person asked does not silence the ones after it: a later no is a no.
        """
        context: list[str] = []
        asked: HookDecision | None = None
        for name, answer in self._answers[event.kind]:
            decision = _fail_closed(name, answer, event)
            match decision.action:
                case HookAction.DENY:
                    named = replace(decision, rule=decision.rule or name)
                    return Verdict(event, named, tuple(context))
                case HookAction.ASK:
                    asked = asked or replace(decision, rule=decision.rule or name)
                case HookAction.MODIFY:
                    event = _changed(event, decision)
                case HookAction.INJECT:
                    context.append(decision.context[:MAX_CONTEXT_CHARS])
        return Verdict(event, asked, tuple(context))


def _name(hook: Hook) -> str:
    return hook.name or type(hook).__name__


def _fail_closed(name: str, answer: Answer, event: HookEvent) -> HookDecision:
    """The hook's answer; a fault in it, or a senseless answer, is a denial."""
    try:
        decision = answer(event)
        fault = _senseless(decision, event)
    # Any fault in a hook means that nobody checked the call: deny, whatever the fault is.
    except Exception as error:
        logger.exception("hook %s failed on %s; the call is denied", name, event.kind)
        fault = f"it raised {type(error).__name__}"
        decision = ALLOW
    if fault:
        logger.error("hook %s on %s: %s; the call is denied", name, event.kind, fault)
        return deny(f"hook:{name}", f"the hook {name} failed ({fault}), so the call is denied")
    return decision


def _senseless(decision: object, event: HookEvent) -> str:
    """Why an answer cannot be used; empty when it can."""
    if not isinstance(decision, HookDecision):
        return f"it answered {type(decision).__name__} instead of a decision"
    if not isinstance(decision.action, HookAction):
        return "it answered an unknown action"
    if decision.action is HookAction.MODIFY:
        before = event.kind is HookKind.PRE_TOOL_USE
        value: object = decision.arguments if before else decision.output
        if not isinstance(value, dict if before else str):
            return "it answered modify without saying to what"
    if decision.action is HookAction.INJECT and not isinstance(decision.context, str):
        return "it answered inject without text"
    return ""


def _changed(event: HookEvent, decision: HookDecision) -> HookEvent:
    if event.kind is HookKind.PRE_TOOL_USE and event.call is not None:
        call = event.call.model_copy(update={"arguments": decision.arguments})
        return replace(event, call=call)
    if event.result is not None:
        return replace(event, result=event.result.model_copy(update={"output": decision.output}))
    return event
