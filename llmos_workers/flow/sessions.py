"""Sessions: upkeep writes down how goals went, from their records and journals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from llmos_workers.contracts.errors import CodecError
from llmos_workers.contracts.goal import FINAL_STATES, GoalRecord
from llmos_workers.contracts.memory import Session, SessionStep
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.contracts.tools import ToolCall, ToolResult
from llmos_workers.execution.journal import RunJournal
from llmos_workers.execution.recording import summarize
from llmos_workers.kernel import keys
from llmos_workers.kernel.clock import iso
from llmos_workers.kernel.redact import redact
from llmos_workers.learning.patterns import call_shape
from llmos_workers.learning.trace_prose import one_line
from llmos_workers.runtime import Runtime

OVERLAP_S = 60.0
"""How far looking for ended goals goes back each time: clocks of a fleet differ by less."""
MAX_A_ROUND = 1_000
MAX_FRESH = 500
"""So many sessions wait to be looked through; older ones are not."""
MAX_STEPS = 200
MAX_GOAL_CHARS, MAX_ANSWER_CHARS, MAX_ERROR_CHARS = 4_000, 2_000, 400


def write_sessions(runtime: Runtime) -> str:
    """Write the sessions of goals that ended since the last time; remove the oldest ones."""
    memory = runtime.config.memory
    if memory.sessions == "off":
        return "off"
    now = runtime.clock.now()
    ended = _ended(runtime, now)
    written = 0
    for record in filter(None, runtime.goals.get_many([goal_id for goal_id, _ in ended])):
        outcome = record.outcome
        if outcome is None or not (memory.sessions == "all" or _tells(outcome)):
            continue
        session = session_of(runtime, record, outcome)
        if not runtime.sessions.has(session.project, session.goal_id):
            runtime.sessions.write(session)
            if memory.insights:
                fresh = f"{session.project}/{session.goal_id}"
                runtime.redis.zadd(keys.SESSIONS_FRESH, {fresh: now})
                runtime.redis.zremrangebyrank(keys.SESSIONS_FRESH, 0, -MAX_FRESH - 1)
            written += 1
    if ended:
        runtime.redis.zadd(keys.SESSIONS_SEEN, dict(ended))
    gone = runtime.sessions.rotate(now=now, days=memory.session_days, megabytes=memory.session_mb)
    return f"{written} written, {gone} removed"


def session_of(runtime: Runtime, record: GoalRecord, outcome: Outcome) -> Session:
    """A goal that ended, as it is remembered: without secrets, without bulk."""
    steps, outside = _steps(runtime, record, outcome)
    decision = record.decision
    thought = outcome.mode is None or outcome.mode.calls_model
    return Session(
        goal_id=record.goal_id,
        project=record.project,
        at=iso(record.created_at + outcome.duration_s),
        status=outcome.status,
        goal=_clean(record.text, MAX_GOAL_CHARS),
        mode=outcome.mode.value if outcome.mode else "",
        agent=record.options.agent or "",
        trace_id=outcome.learned_trace_id or (decision.trace_id if decision else None),
        learned=outcome.learned_trace_id is not None,
        tainted=bool(outcome.tainted) or outside,
        cost_micro=outcome.cost_micro,
        llm_calls=outcome.llm_calls,
        steps=tuple(steps)[:MAX_STEPS],
        error=_clean(outcome.error.message, MAX_ERROR_CHARS) if outcome.error else "",
        answer=_clean(outcome.text, MAX_ANSWER_CHARS) if thought else "",
    )


def _ended(runtime: Runtime, now: float) -> list[tuple[str, float]]:
    """Goals that ended and were not looked at yet, oldest first, with the time of their end.

    Goals whose cursor was lost are looked at again from the start: their files are there.
    """
    redis = runtime.redis
    cursor = cast(bytes | None, redis.get(keys.SESSIONS_CURSOR))
    since: Any = "-inf" if cursor is None else float(cursor) - OVERLAP_S
    found: dict[str, float] = {}
    for state in FINAL_STATES:
        raw: Any = redis.zrangebyscore(keys.goals_in_state(state), since, "+inf", withscores=True)
        found |= {goal_id.decode(): at for goal_id, at in raw}
    if not found:
        redis.set(keys.SESSIONS_CURSOR, repr(now))
        return []
    ids = sorted(found, key=lambda goal_id: (found[goal_id], goal_id))
    seen = cast(list[Any], redis.zmscore(keys.SESSIONS_SEEN, ids))
    new = [goal_id for goal_id, known in zip(ids, seen, strict=True) if known is None]
    rest = len(new) > MAX_A_ROUND
    new = new[:MAX_A_ROUND]
    upto = found[new[-1]] if rest else now
    redis.set(keys.SESSIONS_CURSOR, repr(upto))
    redis.zremrangebyscore(keys.SESSIONS_SEEN, "-inf", upto - 2 * OVERLAP_S)
    return [(goal_id, found[goal_id]) for goal_id in new]


def _tells(outcome: Outcome) -> bool:
    """Whether there is something to learn from it that its trace does not say."""
    return not outcome.ok or outcome.llm_calls > 0 or outcome.mode in (None, Mode.LEARNER)


def _steps(
    runtime: Runtime, record: GoalRecord, outcome: Outcome
) -> tuple[list[SessionStep], bool]:
    """The calls, and whether one of them brought in what others wrote."""
    try:
        journal = RunJournal(runtime.goals.journal(record.goal_id))
    except CodecError:
        journal = RunJournal()
    steps, outside = [], False
    for step in journal.done:
        failed = "" if step.ok else step.output
        steps.append(_step(step.call, ok=step.ok, error=failed))
    for turn in range(journal.turns):
        response = journal.response(turn)
        for call in response.tool_uses if response else ():
            result = journal.result(turn, call)
            steps.append(_step(call, ok=bool(result and result.ok), error=_why(result)))
            outside = outside or bool(result and result.tainted)
    if steps:
        return steps, outside
    return list(_listed(outcome)), outside


def _listed(outcome: Outcome) -> Iterable[SessionStep]:
    """What an outcome says of the calls of a replay."""
    for call in outcome.tool_calls:
        failed = "" if call.exit_code is None else f"exit code {call.exit_code}"
        error = "" if call.ok else failed
        yield SessionStep(tool=call.name, summary=redact(call.summary), ok=call.ok, error=error)


def _step(call: ToolCall, *, ok: bool, error: str) -> SessionStep:
    return SessionStep(
        tool=call.name[:100],
        summary=_clean(summarize(call), 200),
        shape=call_shape(call),
        ok=ok,
        error="" if ok else _clean(error, MAX_ERROR_CHARS),
    )


def _why(result: ToolResult | None) -> str:
    if result is None:
        return "it did not end"
    return result.error or result.output


def _clean(text: str, most: int) -> str:
    return one_line(redact(text), most)
