"""How a plan ends: summed up, reviewed against what was expected, published, learned.

Known plans whose parts were all replayed are not looked at by a model: each part was checked step
by step as it was replayed, and the files it was to leave are looked for here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from llmos_workers.contracts.commits import CommitFacts
from llmos_workers.contracts.errors import (
    BudgetExceeded,
    LLMOSError,
    ModelError,
    PublishConflict,
    RateLimited,
    WorkspaceUnwritable,
)
from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.outcome import ErrorInfo, FileDigest, Outcome, Usage
from llmos_workers.contracts.plan import Plan, PlanStep, PlanView
from llmos_workers.flow.outcomes import error_info, make_outcome
from llmos_workers.flow.plan import limits
from llmos_workers.flow.plan_desk import REVIEW_TURN, SUMMARY_TURN, Desk, Planned
from llmos_workers.flow.plan_members import Standing
from llmos_workers.flow.run import Run
from llmos_workers.kernel import tree
from llmos_workers.kernel.board import Board
from llmos_workers.learning.plan_prompts import (
    REVIEW_SCHEMA,
    REVIEWER,
    SUMMARY,
    StepResult,
    plain_summary,
    results_question,
)
from llmos_workers.learning.planning import BadPlan, check_plan, layers

log = logging.getLogger(__name__)

KNOWN_PARTS = "known parts"
REVIEWED = "reviewer"


@dataclass(frozen=True)
class Visit:
    """One look at a plan under way."""

    run: Run
    desk: Desk
    planned: Planned
    standing: Sequence[Standing]
    board: Board

    @property
    def results(self) -> list[StepResult]:
        """What came of each step, held against the files that are there."""
        return [_result(each, self.board) for each in self.standing]


@dataclass(frozen=True)
class Review:
    """What is said of the whole."""

    complete: bool
    missing: tuple[str, ...] = ()
    repairs: tuple[PlanStep, ...] = ()
    by: str = REVIEWED


def _result(each: Standing, board: Board) -> StepResult:
    outcome = each.outcome
    absent = tuple(p for p in each.step.outputs if tree.look(board.area, p) is None)
    if outcome is None:
        return StepResult(each.step, "not begun", error="what it needs is not there", absent=absent)
    return StepResult(
        each.step,
        outcome.status,
        answer=outcome.text,
        files=tuple(file.path for file in outcome.files),
        error=outcome.error.message if outcome.error else "",
        absent=absent,
    )


def review(visit: Visit, round_: int) -> Review:
    """What is missing, and what would bring it. ``round_`` counts the rounds of repair so far."""
    run, results = visit.run, visit.results
    faults = _faults(results)
    if visit.planned.known and not faults and not _paid(visit.standing):
        return Review(complete=True, by=KNOWN_PARTS)
    question = results_question(run.record.text, results)
    messages: list[dict[str, Any]] = [{"role": "user", "content": question}]
    try:
        said = visit.desk.ask(
            REVIEW_TURN + round_, REVIEWER, messages, purpose="review", schema=REVIEW_SCHEMA
        )
        found = _read_review(said.text)
    except RateLimited:
        raise
    except (ModelError, BudgetExceeded, ValueError) as error:
        words = error.message if isinstance(error, LLMOSError) else "the answer cannot be read"
        missing = (*faults, f"nobody reviewed it: {words}")
        return Review(complete=False, missing=missing, by="nobody")
    missing = tuple(dict.fromkeys((*faults, *found.missing)))
    repairs = _usable(visit, found.repairs)
    return Review(found.complete and not missing, missing, repairs)


def _faults(results: Sequence[StepResult]) -> tuple[str, ...]:
    found = []
    for each in results:
        if each.status != GoalState.SUCCEEDED.value:
            why = f": {each.error}" if each.error else ""
            found.append(f"step {each.step.id} is {each.status}{why}")
        else:
            found += [f"step {each.step.id} did not leave {path}" for path in each.absent]
    return tuple(found)


def _paid(standing: Sequence[Standing]) -> bool:
    """Whether a model worked on any part."""
    return any(each.outcome is None or each.outcome.llm_calls for each in standing)


def _read_review(text: str) -> Review:
    """Raises ValueError for an answer that is none."""
    data = json.loads(text)
    try:
        repairs = tuple(PlanStep.model_validate(each) for each in data.get("repairs") or ())
    except ValidationError:
        repairs = ()
    except AttributeError:
        raise ValueError("no review") from None
    missing = tuple(str(each)[:500] for each in data.get("missing") or ())
    return Review(data.get("complete") is True, missing, repairs)


def _usable(visit: Visit, repairs: tuple[PlanStep, ...]) -> tuple[PlanStep, ...]:
    """The steps that a reviewer wants added, or none when the plan would not be sound with them
    or they hang on what did not succeed.
    """
    run, plan = visit.run, visit.planned.plan
    kept = tuple(each.step for each in visit.standing if each.ok)
    known = {step.id for step in plan.steps}
    reachable = {step.id for step in (*kept, *repairs)}
    stray = any(step.id in known for step in repairs) or any(
        need not in reachable for step in repairs for need in step.needs
    )
    bounds = limits(run)
    if not repairs or stray or len(plan.steps) + len(repairs) > bounds.max_steps:
        return ()
    agents = {agent.name for agent in run.runtime.agents.load_agents()}
    try:
        whole = Plan(steps=(*kept, *repairs))
        check_plan(whole, bounds, agents, goal=run.record.text, done=len(kept))
    except (BadPlan, ValidationError) as error:
        run.runtime.notice(run.record.goal_id, f"the reviewer's repair is not used: {error}")
        return ()
    return repairs


def finish(visit: Visit, found: Review, *, repaired: int) -> Outcome:
    """Publish what is there, in one commit, and say what came of the goal. The board of a plan
    that published nothing stays until the outcome is stored: a run that comes after one which died
    here sees what this one saw.
    """
    run, standing, answers = visit.run, visit.standing, visit.desk.answers
    runtime, goal_id = run.runtime, run.record.goal_id
    state = _state(standing, found, repaired)
    text = _summary(visit, found)
    error = None if state is GoalState.SUCCEEDED else _incomplete(found)
    taint = runtime.children.taint(goal_id)
    if state is not GoalState.FAILED and (conflict := _publish(visit, taint)):
        state, error = GoalState.FAILED, conflict
    parts = [each.outcome for each in standing if each.outcome is not None]
    outcome = make_outcome(
        run.record,
        state,
        now=runtime.clock.now(),
        decision=run.decision,
        text=text,
        usage=sum((p.usage for p in parts), sum((a.usage for a in answers.values()), Usage())),
        llm_calls=len(answers) + sum(part.llm_calls for part in parts),
        cost_micro=runtime.spent_on(goal_id),
        saved_micro=sum(part.saved_micro for part in parts),
        error=error,
    )
    files = _files(standing) if state is not GoalState.FAILED else ()
    view = view_of(visit.planned, standing, found, repaired)
    return outcome.model_copy(update={"plan": view, "tainted": taint, "files": files})


def _publish(visit: Visit, taint: str) -> ErrorInfo | None:
    """One commit of all that the members made; why there is none."""
    run, runtime = visit.run, visit.run.runtime
    if taint and (member := run.record.options.member):
        runtime.children.mark_tainted(member.parent_id, taint)
    facts = CommitFacts(mode=run.decision.mode, trace_id=run.decision.trace_id or "")
    reads = runtime.children.reads(run.record.goal_id)
    try:
        runtime.boards.publish(visit.board, run.guards.keeper.lease, facts, reads)
    except (PublishConflict, WorkspaceUnwritable) as error:
        return error_info(error)
    return None


def view_of(
    planned: Planned, standing: Sequence[Standing], found: Review | None = None, repaired: int = 0
) -> PlanView:
    """The plan as an outcome shows it."""
    layer = {s.id: n for n, row in enumerate(layers(planned.plan), 1) for s in row}
    return PlanView(
        steps=tuple(_row(each, layer.get(each.step.id, 0)) for each in standing),
        source=planned.source,
        repaired=repaired,
        missing=found.missing if found else (),
        review=found.by if found else "",
    )


def _row(each: Standing, layer: int) -> dict[str, Any]:
    row = each.step.model_dump(mode="json") | {"layer": layer}
    if each.goal_id:
        row |= {"goal_id": each.goal_id, "tries": each.tries}
    if (outcome := each.outcome) is not None:
        row |= {
            "status": outcome.status,
            "mode": outcome.mode.value if outcome.mode else None,
            "llm_calls": outcome.llm_calls,
            "cost_micro": outcome.cost_micro,
            "error": outcome.error.message if outcome.error else None,
        }
    return row


def _state(standing: Sequence[Standing], found: Review, repaired: int) -> GoalState:
    """SUCCEEDED only when nothing is missing; FAILED when nothing was done. A step that failed
    is made good by a repair that brought what the reviewer missed.
    """
    mended = standing[len(standing) - repaired :] if repaired else ()
    whole = all(each.ok for each in standing) or (mended and all(each.ok for each in mended))
    if whole and found.complete:
        return GoalState.SUCCEEDED
    return GoalState.PARTIAL if any(each.ok for each in standing) else GoalState.FAILED


def _incomplete(found: Review) -> ErrorInfo:
    missing = "; ".join(found.missing) or "the reviewer does not call it complete"
    return ErrorInfo(
        kind="PlanIncomplete",
        message=f"missing: {missing}.",
        fix="The plan in the outcome shows each part; submit the missing ones as goals.",
    )


def _summary(visit: Visit, found: Review) -> str:
    run, results = visit.run, visit.results
    plain = plain_summary(results)
    if found.by != REVIEWED or not any(each.ok for each in visit.standing):
        return plain
    question = results_question(run.record.text, results)
    messages: list[dict[str, Any]] = [{"role": "user", "content": question}]
    try:
        said = visit.desk.ask(SUMMARY_TURN, SUMMARY, messages, purpose="summary").text.strip()
    except RateLimited:
        raise
    except (ModelError, BudgetExceeded) as error:
        run.runtime.notice(run.record.goal_id, f"nobody summed up: {error.message}")
        return plain
    return said or plain


def _files(standing: Sequence[Standing]) -> tuple[FileDigest, ...]:
    last: dict[str, FileDigest] = {}
    for each in standing:
        for file in each.outcome.files if each.outcome and each.ok else ():
            last[file.path] = file
    return tuple(last[path] for path in sorted(last))
