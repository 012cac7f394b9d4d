"""The chain of hooks. Whatever goes wrong in a hook is a denial, and is logged."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from llmos_workers.contracts.hooks import HookKind
from llmos_workers.execution.hooks.base import (
    ALLOW,
    METHODS,
    Hook,
    HookAction,
    HookDecision,
    HookEvent,
    deny,
)
from llmos_workers.kernel.redact import redact

logger = logging.getLogger(__name__)

MAX_CONTEXT_CHARS = 20_000

Answer = Callable[[HookEvent], HookDecision]

_NAME = re.compile(r"[^\w.:-]+")


@dataclass(frozen=True)
class Told:
    """What a hook wants the model to be told."""

    source: str
    """The hook's name."""
    text: str
    """Without secrets, capped."""
    advice: bool = False
    """About how to work, so that no trace depends on it."""
    tainted: bool = False
    """The words of others."""
    premises: tuple[str, ...] = ()
    """What a trace remembers of advice."""

    @property
    def digest(self) -> str:
        """Source and a digest of the text: what a trace remembers of it."""
        return f"{self.source}@{hashlib.sha256(self.text.encode()).hexdigest()[:16]}"

    def marked(self) -> str:
        """The text as the model gets it: told from what tools and people say."""
        return f'<hook name="{self.source}">\n{self.text.replace("</hook", "< /hook")}\n</hook>'


@dataclass(frozen=True)
class Verdict:
    """What the chain as a whole says: the first refusal, or all changes in order."""

    event: HookEvent
    """The event with the changed arguments or output."""
    refusal: HookDecision | None = None
    """DENY or ASK; None: the call may go on."""
    told: tuple[Told, ...] = ()
    changed_by: str = ""
    """The last hook that changed arguments or output."""
    fault: str = ""
    """The hook that failed, when the refusal stands for that."""


@dataclass
class HookChain:
    """Hooks in the order in which they are asked. Hooks see what the earlier ones changed."""

    hooks: tuple[Hook, ...] = field(default=())

    @classmethod
    def of(cls, hooks: Iterable[Hook]) -> HookChain:
        """A chain in which each hook is asked for the events it handles."""
        return cls(tuple(hooks))

    def ask(self, event: HookEvent) -> Verdict:
        """Ask all hooks of the event's kind but those that judge; the first no ends it.

        A hook that wants a person asked does not silence the ones after it: a later no is a no.
        """
        return self._ask(event, [hook for hook in self.hooks if not hook.judges])

    def judge(self, event: HookEvent) -> Verdict:
        """Ask those that judge a call as it will run. They change nothing."""
        return self._ask(event, [hook for hook in self.hooks if hook.judges])

    def told(self, event: HookEvent) -> Verdict:
        """What a model would be told for the event by all hooks on which traces depend."""
        return self._ask(event, [h for h in self.hooks if not (h.judges or h.advises)])

    def _ask(self, event: HookEvent, hooks: Iterable[Hook]) -> Verdict:
        told: list[Told] = []
        asked: HookDecision | None = None
        changed_by = ""
        for hook in hooks:
            if not hook.handles(event.kind):
                continue
            name = name_of(hook)
            decision, failed = _fail_closed(name, getattr(hook, METHODS[event.kind]), event)
            if hook.judges and decision.action in (HookAction.MODIFY, HookAction.INJECT):
                decision, failed = _failed(name, event.kind, "it judges and may change nothing")
            match decision.action:
                case HookAction.DENY:
                    named = replace(decision, rule=decision.rule or name)
                    return Verdict(event, named, tuple(told), changed_by, name if failed else "")
                case HookAction.ASK:
                    asked = asked or replace(decision, rule=decision.rule or name)
                case HookAction.MODIFY:
                    event, changed_by = _changed(event, decision), name
                case HookAction.INJECT:
                    told.append(_told(name, hook, decision))
        return Verdict(event, asked, tuple(told), changed_by)


def name_of(hook: Hook) -> str:
    """What a hook is called in rules, logs and prompts."""
    return _NAME.sub("_", hook.name or type(hook).__name__)


def _told(name: str, hook: Hook, decision: HookDecision) -> Told:
    text = redact(decision.context[:MAX_CONTEXT_CHARS])
    return Told(
        name,
        text,
        advice=hook.advises,
        tainted=bool(decision.tainted),
        premises=tuple(map(str, decision.premises)) if hook.advises else (),
    )


def _fail_closed(name: str, answer: Answer, event: HookEvent) -> tuple[HookDecision, bool]:
    """The hook's answer, and whether it stands for a fault: a fault in it, or a senseless
    answer, is a denial.
    """
    try:
        decision = answer(event)
        fault = _senseless(decision, event)
    # Any fault in a hook means that nobody checked the call: deny, whatever the fault is.
    except Exception as error:
        logger.exception("hook %s failed on %s; the call is denied", name, event.kind)
        fault = f"it raised {type(error).__name__}"
        decision = ALLOW
    return _failed(name, event.kind, fault) if fault else (decision, False)


def _failed(name: str, kind: HookKind, fault: str) -> tuple[HookDecision, bool]:
    logger.error("hook %s on %s: %s; the call is denied", name, kind, fault)
    words = f"the hook {name} failed ({fault}), so the call is denied"
    return deny(f"hook:{name}", words), True


def _senseless(decision: object, event: HookEvent) -> str:
    """Why an answer cannot be used; empty when it can."""
    if not isinstance(decision, HookDecision):
        return f"it answered {type(decision).__name__} instead of a decision"
    if not isinstance(decision.action, HookAction):
        return "it answered an unknown action"
    if decision.action is HookAction.MODIFY:
        before = event.kind is HookKind.PRE_TOOL_USE
        value: object = decision.arguments if before else decision.output
        if event.kind not in (HookKind.PRE_TOOL_USE, HookKind.POST_TOOL_USE):
            return f"there is nothing to modify at {event.kind}"
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
