"""Self-improvement: what could be better is found by counting, kept once, and applied by upkeep
when a person, or the settings, say so.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, cast

from llmos_workers.contracts.base import Record
from llmos_workers.contracts.errors import LLMOSError, NotThere
from llmos_workers.contracts.memory import Session
from llmos_workers.contracts.state import TriggerType
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.evolution.agent_choice import rank_agents
from llmos_workers.evolution.agent_rules import Author
from llmos_workers.flow.agents import DEFAULT_AGENT
from llmos_workers.flow.crystallize import crystallize
from llmos_workers.kernel import keys
from llmos_workers.kernel.clock import iso
from llmos_workers.kernel.redis import Client
from llmos_workers.learning.matching.parse import parse
from llmos_workers.learning.matching.tokens import Kind
from llmos_workers.learning.patterns import call_shape, trace_candidates
from llmos_workers.learning.signature import normalize_goal
from llmos_workers.learning.trace_prose import one_line
from llmos_workers.runtime import Runtime
from llmos_workers.sentience.improvement import (
    AgentFacts,
    ImprovementFacts,
    PatternFacts,
    SelfImprovementSuggestion,
    SelfImprovementType,
)

log = logging.getLogger(__name__)

UNUSED_S = 7 * 86_400.0
"""A trace that nobody used for so long after it was made is unused."""
MAX_SESSIONS = 200
MAX_KEPT = 200
MAX_LESSONS = 8
MAX_TOPICS = 3
LEAST_TOPIC = 4
"""Letters of a word that may name a topic."""
APPLIED = frozenset(
    {
        SelfImprovementType.CRYSTALLIZE_PATTERN,
        SelfImprovementType.CLEANUP_TRACES,
        SelfImprovementType.REFACTOR_AGENT,
    }
)
"""Kinds that llmos can apply; the others are for people to act on."""
HEADING = "## What went wrong lately"


class Improvement(Record):
    """A suggestion as it is kept."""

    key: str
    """What ``apply`` takes."""
    project: str
    suggestion: SelfImprovementSuggestion
    state: Literal["open", "wanted", "applied", "failed", "dismissed"] = "open"
    at: str = ""
    result: str = ""

    @property
    def applicable(self) -> bool:
        """Whether llmos can do it."""
        return self.suggestion.type in APPLIED


# -- the list ----------------------------------------------------------------------------------


def improvements(redis: Client, project: str) -> list[Improvement]:
    """All that is kept of a project, by priority. Raises BrokerUnavailable."""
    raw = cast(dict[bytes, bytes], redis.hgetall(keys.improvements(project)))
    found = [Improvement.model_validate_json(value) for value in raw.values()]
    return sorted(found, key=lambda each: (-each.suggestion.priority, each.key))


def decide(redis: Client, project: str, key: str, *, apply: bool) -> Improvement:
    """Note that a person wants a suggestion applied, or dismissed for good. Raises NotThere."""
    raw = cast(bytes | None, redis.hget(keys.improvements(project), key))
    if raw is None:
        raise NotThere(f"there is no suggestion {key!r:.60}.", fix="See llmos improve list.")
    kept = Improvement.model_validate_json(raw)
    changed = kept.model_copy(update={"state": "wanted" if apply else "dismissed"})
    _keep(redis, changed)
    return changed


def _keep(redis: Client, one: Improvement) -> None:
    redis.hset(keys.improvements(one.project), one.key, one.model_dump_json())


# -- finding -----------------------------------------------------------------------------------


def find_improvements(runtime: Runtime) -> str:
    """Look for what could be better, each project after its cooldown; apply what is wanted."""
    if not runtime.config.sentience.enable_sentience:
        return "off"
    projects = sorted({*runtime.traces.projects(), *runtime.sessions.projects()})
    new = sum(_look(runtime, project) for project in projects)
    done = [result for project in projects if (result := _apply_one(runtime, project))]
    return "; ".join([f"{new} new", *done])


def _look(runtime: Runtime, project: str) -> int:
    redis, now = runtime.redis, runtime.clock.now()
    last = cast(bytes | None, redis.get(keys.improvements_at(project)))
    state = runtime.sentience.get_state(project)
    facts = ImprovementFacts(secs_since_last=None if last is None else now - float(last))
    kernel, policy = runtime.cognitive_kernel, runtime.policy(project)
    waited = facts.secs_since_last
    if waited is not None and waited < policy.improvement_cooldown_secs:
        return 0
    redis.set(keys.improvements_at(project), repr(now))
    facts = facts_of(runtime, project, secs_since_last=waited)
    found = kernel.detect_improvement_opportunities(state, facts)
    known = {each.key: each for each in improvements(redis, project)}
    new = 0
    for suggestion in found[: MAX_KEPT - len(known)]:
        key = key_of(suggestion)
        if key not in known:
            _keep(redis, Improvement(key=key, project=project, suggestion=suggestion, at=iso(now)))
            new += 1
    # What no longer holds is no suggestion any more; what was decided stays known.
    current = {key_of(suggestion) for suggestion in found}
    for key, kept in known.items():
        if kept.state == "open" and key not in current and policy.enable_auto_improvement:
            redis.hdel(keys.improvements(project), key)
    return new


def key_of(suggestion: SelfImprovementSuggestion) -> str:
    """Kind and subject in 8 hex digits: the same thing is suggested once."""
    text = f"{suggestion.type}\n{suggestion.subject}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def facts_of(
    runtime: Runtime, project: str, *, secs_since_last: float | None = None
) -> ImprovementFacts:
    """What has been counted."""
    traces = runtime.traces.list(project)
    sessions = runtime.sessions.newest(project, limit=MAX_SESSIONS)
    names = [agent.name for agent in runtime.agents.load_agents()]
    candidates = trace_candidates(sessions, {trace.trace_id for trace in traces})
    return ImprovementFacts(
        patterns=tuple(_pattern(trace, sessions) for trace in traces),
        agents=tuple(
            AgentFacts(name=name, runs=each.succeeded + each.failed, successes=each.succeeded)
            for name, each in runtime.agent_records.of(names).items()
        ),
        unserved_topics=unserved_topics(runtime, sessions),
        repeated_commands=_commands(traces),
        unused_traces=len(_unused(runtime, project)),
        untraced={
            each.key: f"{len(each.goal_ids)} goals, {one_line(' then '.join(each.shape), 200)}"
            for each in candidates
        },
        secs_since_last=secs_since_last,
    )


def _pattern(trace: ExecutionTrace, sessions: list[Session]) -> PatternFacts:
    costs = [s.cost_micro / 1e6 for s in sessions if s.trace_id == trace.trace_id and s.ok]
    return PatternFacts(
        trace_id=trace.trace_id,
        goal_text=one_line(trace.goal_text, 120),
        usage_count=trace.usage_count,
        success_rate=min(1.0, trace.success_rating),
        recent_costs_usd=tuple(reversed(costs)),
        crystallized=trace.crystallized_into_tool is not None,
    )


def unserved_topics(runtime: Runtime, sessions: Sequence[Session]) -> dict[str, int]:
    """What goals that the default agent did are about, where no other agent says that it knows
    that: nouns with the number of different goals. Goals of runs that held the words of others
    suggest no agent.
    """
    others = [each for each in runtime.agents.load_agents() if each.name != DEFAULT_AGENT]
    goals = {
        normalize_goal(session.goal): session.goal
        for session in sessions
        if session.llm_calls
        and not session.tainted
        and (session.agent or DEFAULT_AGENT) == DEFAULT_AGENT
    }
    about: Counter[str] = Counter()
    for goal in goals.values():
        if not rank_agents(goal, others, {}):
            nouns = (t for t in parse(goal).said if t.kind is Kind.WORD and t.action is None)
            about.update({noun.word for noun in nouns if len(noun.word) >= LEAST_TOPIC})
    return dict(about.most_common(MAX_TOPICS))


def _commands(traces: Sequence[ExecutionTrace]) -> dict[str, int]:
    shapes: Counter[str] = Counter()
    for trace in traces:
        shapes.update({call_shape(s.call) for s in trace.steps if "command" in s.call.arguments})
    return dict(shapes)


def _unused(runtime: Runtime, project: str) -> list[ExecutionTrace]:
    before = iso(runtime.clock.now() - UNUSED_S)
    return [
        trace
        for trace in runtime.traces.list(project)
        if not trace.usage_count and not trace.pinned and trace.created_at < before
    ]


# -- applying ----------------------------------------------------------------------------------


def _apply_one(runtime: Runtime, project: str) -> str:
    """Apply the first that a person wants, or that the settings leave to llmos."""
    policy = runtime.policy(project)
    by_policy = (
        set(runtime.config.sentience.auto_apply) if policy.enable_auto_improvement else set()
    )
    for kept in improvements(runtime.redis, project):
        left_to_us = kept.state == "open" and kept.suggestion.type.value in by_policy
        if kept.state == "wanted" or left_to_us:
            return apply_improvement(runtime, kept)
    return ""


def apply_improvement(runtime: Runtime, kept: Improvement) -> str:
    """Do what is suggested and note what came of it, in words."""
    project = kept.project
    if not runtime.policy(project).allow_self_modification:
        return "waits: the state allows no self-modification now"
    try:
        result, ok = _do(runtime, kept), True
    except LLMOSError as error:
        result, ok = error.message, False
    if kept.suggestion.type is not SelfImprovementType.CRYSTALLIZE_PATTERN or not ok:
        kind = TriggerType.SELF_MODIFICATION_OK if ok else TriggerType.SELF_MODIFICATION_FAILED
        runtime.feel(kind, result, project=project)
    state = "applied" if ok else "failed"
    _keep(runtime.redis, kept.model_copy(update={"state": state, "result": result}))
    return f"{kept.key}: {result}"


def _do(runtime: Runtime, kept: Improvement) -> str:
    suggestion, project = kept.suggestion, kept.project
    match suggestion.type:
        case SelfImprovementType.CRYSTALLIZE_PATTERN:
            trace = runtime.traces.get(project, suggestion.subject)
            if trace is None:
                raise NotThere("the trace is gone.")
            attempt = crystallize(runtime, trace)
            if not attempt.made:
                raise NotThere(attempt.result)
            return f"made the tool {attempt.result}"
        case SelfImprovementType.CLEANUP_TRACES:
            gone = [
                t for t in _unused(runtime, project) if runtime.traces.remove(project, t.trace_id)
            ]
            return f"{len(gone)} traces removed; llmos traces restore brings one back"
        case SelfImprovementType.REFACTOR_AGENT:
            return _draft(runtime, project, suggestion.subject)
        case _:
            raise NotThere("that is for a person to do.")


def _draft(runtime: Runtime, project: str, name: str) -> str:
    """A version of the agent that knows what failed; it is not in force until a person says so."""
    agent = runtime.agents.get(name)
    lessons = _lessons(runtime.sessions.newest(project, limit=MAX_SESSIONS), name)
    if not lessons:
        raise NotThere(f"no session says what failed for {name}.")
    prompt = agent.prompt.partition(HEADING)[0].rstrip()
    prompt = "\n".join((prompt, "", HEADING, "", *(f"- {each}" for each in lessons)))
    made = runtime.agent_factory.draft(name, {"prompt": prompt}, Author(), why="improvement")
    return (
        f"draft {made.number} of {name}; llmos agents rollback {name} {made.number} takes it over"
    )


def _lessons(sessions: list[Session], name: str) -> list[str]:
    """What failed for an agent, most often first. The words of others teach nobody."""
    failed: Counter[str] = Counter()
    for session in sessions:
        if session.tainted or (session.agent or DEFAULT_AGENT) != name:
            continue
        failed.update(f"{s.tool}: {one_line(s.error, 160)}" for s in session.steps if s.error)
        if session.error:
            failed[one_line(session.error, 160)] += 1
    return [text for text, _ in failed.most_common(MAX_LESSONS)]


def as_data(kept: Improvement) -> dict[str, Any]:
    """As JSON shows it."""
    data: dict[str, Any] = json.loads(kept.model_dump_json())
    return data | {"applicable": kept.applicable}
