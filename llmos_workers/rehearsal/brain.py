"""Which script answers, and what comes next in it: a pure function of the request."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import Any

from llmos_workers.contracts.rehearsal import FAILED_PREFIX, NO_SKILL_PREFIX, SIGNATURE
from llmos_workers.rehearsal.goal_text import GoalText
from llmos_workers.rehearsal.insights import asks_for_insights, insights_reply
from llmos_workers.rehearsal.judging import is_question, judge_reply
from llmos_workers.rehearsal.notes import asks_for_notes, notes_on
from llmos_workers.rehearsal.planning import planning_reply
from llmos_workers.rehearsal.protocol import blocks_of, canonical
from llmos_workers.rehearsal.reply import Reply
from llmos_workers.rehearsal.skills import Call, Family, NumberOf
from llmos_workers.rehearsal.templates import Renderer, TemplateFailure
from llmos_workers.rehearsal.toolsmithing import asks_for_tool, tool_reply
from llmos_workers.rehearsal.values import find

__all__ = ["Brain", "Reply", "goal_of"]

MAX_SHOWN_ERROR = 600


@dataclass
class _History:
    """What the script did so far, as the request tells it."""

    results: list[dict[str, Any]] = field(default_factory=list)
    """Tool results in the order of their calls: output and ok."""
    spoken: str = ""
    """Text already given since the last tool result (an answer that was cut off)."""


class Brain:
    """Answers requests from the scripts of its families. Holds no state between requests."""

    def __init__(self, families: list[Family], *, judge_error: float = 0.0) -> None:
        """``judge_error``: share of pairs of goals that it judges wrongly, always the same ones."""
        self._families = families
        self._judge_error = judge_error
        self._renderer = Renderer()

    def recognise(self, goal: str) -> tuple[Family, dict[str, str]] | None:
        """The family of a goal with the goal's values, None when no family fits."""
        parsed = GoalText.parse(goal)
        best: tuple[int, Family, dict[str, str]] | None = None
        for family in self._families:
            values = self._values(family, parsed)
            if values is None:
                continue
            score = len(family.all) + len(family.where) + family.weight
            if best is None or score > best[0]:
                best = (score, family, values)
        return best[1:] if best else None

    def reply(self, request: dict[str, Any]) -> Reply:
        """The next message for a request; an answer that was cut off is gone on with."""
        for asked, answer in (
            (asks_for_notes, self._notes),
            (asks_for_insights, insights_reply),
            (asks_for_tool, lambda asked: tool_reply(asked, self.recognise)),
        ):
            if asked(request):
                return answer(request)
        planning = planning_reply(
            request, goal_of(request["messages"]), self.recognise, self._render
        )
        if planning is not None:
            return planning
        if is_question(request):
            return judge_reply(request, self.recognise, error=self._judge_error)
        reply = self._reply(request)
        spoken = _history(request["messages"]).spoken
        if reply.stop_reason == "end_turn" and spoken:
            text = reply.content[0]["text"]
            if text.startswith(spoken):
                return replace(reply, content=[_text(text[len(spoken) :] or SIGNATURE)])
        return reply

    def _reply(self, request: dict[str, Any]) -> Reply:
        known = self.recognise(goal_of(request["messages"]))
        if known is None:
            return self._end(self._no_skill(), "", 0)
        family, values = known
        if missing := self._missing_tools(family, request):
            return self._end(missing, family.name, 0)
        try:
            return self._next(family, values, request)
        except (TemplateFailure, ValueError, TypeError, LookupError, ArithmeticError) as error:
            # What was read is not what the script takes it for, e.g. no JSON.
            said = f"{FAILED_PREFIX} the script cannot work with what it was given: {error}"
            return self._end(said, family.name, 0)

    def _notes(self, request: dict[str, Any]) -> Reply:
        """What may vary in a run of one of the scripts, as structured output."""
        goal = goal_of(request["messages"])
        text = notes_on(goal, _asked(request["messages"]), self.recognise, self._render)
        known = self.recognise(goal)
        return Reply([_text(text)], "end_turn", known[0].name if known else "")

    @staticmethod
    def _missing_tools(family: Family, request: dict[str, Any]) -> str:
        """What to say when the request lacks a tool of the script; empty when it has all."""
        offered = {tool["name"] for tool in request.get("tools") or [] if "name" in tool}
        missing = [tool for tool in family.tools if tool not in offered]
        if not missing:
            return ""
        return (
            f"{NO_SKILL_PREFIX} the scripted skill '{family.name}' needs the tool"
            f"{'s' if len(missing) > 1 else ''} {', '.join(missing)}, which this request "
            "does not offer. Grant it to the agent, or use an agent that has it."
        )

    def _next(self, family: Family, values: dict[str, str], request: dict[str, Any]) -> Reply:
        """Walk the script over the results so far; the first call without a result is next."""
        history = _history(request["messages"])
        context: dict[str, Any] = {**values, "r": {}}
        # Texts may use values; scripts may use texts.
        context["texts"] = {
            name: self._render(text, context) for name, text in family.texts.items()
        }
        at = 0
        for number, turn in enumerate(family.turns):
            if turn.when and not self._renderer.holds(turn.when, context):
                continue
            results = history.results[at : at + len(turn.calls)]
            if len(results) < len(turn.calls):
                return self._calls(family, number, context, request)
            at += len(turn.calls)
            for call, result in zip(turn.calls, results, strict=True):
                context["r"][call.id] = result
                if not result["ok"] and not call.may_fail:
                    return self._end(_failed(call, result), family.name, number)
        text = self._render(family.answer, context).strip()
        return self._end(text, family.name, len(family.turns))

    def _calls(
        self, family: Family, number: int, context: dict[str, Any], request: dict[str, Any]
    ) -> Reply:
        turn = family.turns[number]
        content = [_text(self._render(turn.say, context))] if turn.say else []
        seed = hashlib.sha256(canonical(request["messages"]))
        for index, call in enumerate(turn.calls):
            digest = hashlib.sha256(seed.digest() + bytes([index])).hexdigest()[:20]
            arguments = {n: self._argument(given, context) for n, given in call.args.items()}
            content.append(
                {
                    "type": "tool_use",
                    "id": f"toolu_rehearsal_{digest}",
                    "name": call.tool,
                    "input": arguments,
                }
            )
        return Reply(content, "tool_use", family.name, number)

    def _argument(self, given: Any, context: dict[str, Any]) -> Any:
        """Raises TemplateFailure, and ValueError for a number that is none."""
        if isinstance(given, NumberOf):
            return json.loads(self._render(given.number, context))
        return self._render(given, context) if isinstance(given, str) else given

    def _values(self, family: Family, goal: GoalText) -> dict[str, str] | None:
        """The goal's values when it is of this family, else None."""
        if goal.has(family.none) if family.none else False:
            return None
        if not all(goal.has(words) for words in family.all):
            return None
        values: dict[str, str] = {"goal": goal.text}
        for name, rule in family.values.items():
            found = next((v for e in rule.take if (v := find(e, goal, values)) is not None), None)
            if found is None and rule.required:
                return None
            if found is None and rule.default is not None:
                found = self._render(rule.default, values)
            values[name] = found if found is not None else ""
        fits = all(values.get(name) in allowed for name, allowed in family.where.items())
        return values if fits else None

    def _render(self, template: str, context: dict[str, Any]) -> str:
        return self._renderer.render(template, context)

    def _end(self, text: str, family: str, turn: int) -> Reply:
        return Reply([_text(f"{text}\n\n{SIGNATURE}")], "end_turn", family, turn)

    def _no_skill(self) -> str:
        known = "\n".join(f'- {f.short}, e.g. "{f.example}"' for f in self._families)
        return (
            f"{NO_SKILL_PREFIX} this answer comes from llmos's scripted rehearsal model, which is "
            "not a language model and has no script for this kind of goal. It knows these:\n"
            f"{known}\n"
            "For any other goal, set ANTHROPIC_API_KEY to use Claude, or sdk.base_url "
            "(LLMOS_BASE_URL) to use an endpoint that speaks the Messages API, such as "
            "Ollama, llama.cpp or LM Studio."
        )


def _asked(messages: list[dict[str, Any]]) -> str:
    """The text of the first message."""
    return "\n".join(b.get("text", "") for b in blocks_of(messages[0]) if b.get("type") == "text")


def goal_of(messages: list[dict[str, Any]]) -> str:
    """The user's goal: what stands in the last ``<goal>`` tag of the first message, or all."""
    text = _asked(messages)
    start, end = text.rfind("<goal>"), text.rfind("</goal>")
    return text[start + 6 : end].strip() if 0 <= start < end else text.strip()


def _history(messages: list[dict[str, Any]]) -> _History:
    history = _History()
    for message in messages[1:]:
        blocks = blocks_of(message)
        by_id = {b["tool_use_id"]: b for b in blocks if b.get("type") == "tool_result"}
        if message["role"] == "assistant":
            history.spoken += "".join(b["text"] for b in blocks if b.get("type") == "text")
            order = [b["id"] for b in blocks if b.get("type") == "tool_use"]
        elif by_id:
            history.spoken = ""
            history.results += [_result(by_id[i]) for i in order if i in by_id]
    return history


def _result(block: dict[str, Any]) -> dict[str, Any]:
    content = block.get("content") or ""
    if not isinstance(content, str):
        content = "".join(part.get("text", "") for part in content if isinstance(part, dict))
    return {"output": content, "ok": not block.get("is_error", False)}


def _failed(call: Call, result: dict[str, Any]) -> str:
    said = result["output"].strip()[:MAX_SHOWN_ERROR]
    return f"{FAILED_PREFIX} the script stopped because {call.tool} failed: {said}"


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
