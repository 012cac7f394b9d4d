"""Learn: a verified success becomes a trace, or a new wording of a known one."""

from __future__ import annotations

import logging
import os
from functools import partial

from llmos_workers.contracts.errors import BrokerUnavailable, GoalStateError, LLMOSError
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.execution.agent import AgentResult, AgentTask
from llmos_workers.execution.llm_contracts import CallContext
from llmos_workers.flow.followed import agent_digest
from llmos_workers.flow.notes import ask_for_notes
from llmos_workers.flow.prove import Before, prove, supervised
from llmos_workers.flow.run import Run
from llmos_workers.flow.verdict_label import label
from llmos_workers.kernel.clock import iso
from llmos_workers.kernel.redact import named_secrets, redact
from llmos_workers.learning.answers import answers_alike
from llmos_workers.learning.checks import unseen_failures
from llmos_workers.learning.distill import RunFacts, distill
from llmos_workers.learning.notes import Notes
from llmos_workers.learning.perturbation import forms_of
from llmos_workers.learning.secrets import without_secrets
from llmos_workers.learning.trace_store import same_calls

log = logging.getLogger(__name__)

TOLD = "a hook told the model something in mid-run"
"""How a trace says that what it does may depend on a hook's words."""


def learn(
    run: Run,
    task: AgentTask,
    result: AgentResult,
    before: Before,
    context: CallContext,
    *,
    duration_s: float,
    tainted: bool = False,
    premises: tuple[str, ...] = (),
    told_later: bool = False,
    reached: bool = False,
) -> ExecutionTrace | None:
    """Distil, prove and save the run; returns the trace, or None when there is nothing to keep.

    ``premises`` are digests of what hooks told the model at first; ``told_later``: they told more
    in mid-run, which no replay can look at before it begins.

    A run that did the very same calls as the trace that helped it adds its goal as an alias
    of that trace. Failing to save never fails the goal: its work is done, and paid. Raises
    LeaseLost, GoalFinished, BrokerUnavailable.
    """
    runtime, goal_id = run.runtime, run.record.goal_id
    if result.steps and not result.steps[-1].ok:
        runtime.notice(goal_id, "not learned: the last step of the run failed.")
        return None
    healed = _same_job(run)
    facts = RunFacts(
        project=run.project,
        goal_id=goal_id,
        agent=task.agent.name,
        model=task.model,
        mode=run.decision.mode,
        created_at=iso(runtime.clock.now()),
        cost_micro=result.cost_micro,
        usage=result.usage,
        duration_s=duration_s,
        tainted=tainted,
        reached=reached,
    )
    if healed is not None and healed.steps and not result.steps:
        # It says what is there now, which no later replay could know.
        runtime.notice(goal_id, "not learned: the model did nothing, and its trace does things.")
        return None
    goal = healed.goal_text if healed else run.record.text
    made = partial(
        distill,
        goal,
        result.steps,
        answer=result.text,
        specs=runtime.tools.all_specs(),
        facts=facts,
    )
    trace = made()
    run.guards.keeper.check()
    label(run, trace)
    try:
        known = _same_calls(run, trace) if healed is None else None
        if known is not None and known.premises == premises and not told_later:
            lease = run.guards.keeper.lease
            runtime.traces.add_alias(run.project, known.trace_id, run.record.text, lease=lease)
            seen = supervised(trace, known)
            if seen.proved and not known.proved:
                _prove_known(run, known, seen)
            return None
        notes = _notes_of(healed) if healed else _notes(run, task, result, context, trace)
        trace = made(
            declared=notes.slots,
            aliases=notes.paraphrases,
            hidden=notes.hidden,
            destructive=notes.destructive,
        )
        if healed is not None:
            trace = trace.model_copy(update={"trace_id": healed.trace_id})
        trace = trace.model_copy(update={"agent_digest": agent_digest(task.agent)})
        trace = supervised(_explained(prove(run, trace, result.steps, before)), healed)
        trace = without_secrets(trace, named_secrets(os.environ), redact)
        trace = _with_premises(trace, premises, told_later=told_later)
        run.guards.keeper.check()
        return runtime.traces.save_trace(trace, lease=run.guards.keeper.lease)
    except (GoalStateError, BrokerUnavailable):
        raise
    except LLMOSError as error:
        log.warning("goal %s: its trace could not be saved: %s", goal_id, error)
        runtime.notice(goal_id, f"done, but not learned: {error}")
        return None


def _with_premises(
    trace: ExecutionTrace, premises: tuple[str, ...], *, told_later: bool
) -> ExecutionTrace:
    """What hooks told is an input like any other: the trace holds while they tell it still."""
    trace = trace.model_copy(update={"premises": premises})
    if not told_later or not trace.proved:
        return trace
    notes = "; ".join(filter(None, (trace.error_notes, TOLD)))
    return trace.model_copy(update={"proved": False, "proved_by": "", "error_notes": notes})


def _notes(
    run: Run, task: AgentTask, result: AgentResult, context: CallContext, trace: ExecutionTrace
) -> Notes:
    """What the model says of its run; the call counts among those of the run."""
    asked = ask_for_notes(
        run, list(trace.steps), context, model=task.model, run_micro=result.cost_micro
    )
    result.llm_calls += asked.calls
    result.usage = result.usage + asked.usage
    return asked.notes


def _notes_of(healed: ExecutionTrace) -> Notes:
    """What was noted of the version before holds of the one that heals it, as far as it fits."""
    declared = tuple(slot for slot in (*healed.slots, *healed.fixed) if slot.declared)
    return Notes(slots=declared, hidden=healed.hidden, destructive=healed.destructive)


def _explained(trace: ExecutionTrace) -> ExecutionTrace:
    """Without the hidden parameters that were made from a value which is fixed anyway."""
    forms = [form.lower() for slot in trace.fixed for form in forms_of(slot.value)]
    open_ones = [h for h in trace.hidden if not any(form in h.lower() for form in forms)]
    return trace.model_copy(update={"hidden": tuple(open_ones)})


def _same_job(run: Run) -> ExecutionTrace | None:
    """The trace that a run heals: its goal is the trace's own or a known wording of it, but the
    trace could not be followed to its end. What was learned is that trace's next version; under
    the wording of this goal it would leave the old one in the way of all others.
    """
    decision = run.decision
    if decision.mode is not Mode.MIXED or decision.trace_id is None:
        return None
    helped = (c for c in decision.match.candidates if c.trace_id == decision.trace_id)
    if next((c.stage for c in helped), "") not in ("exact", "alias"):
        return None
    return run.runtime.traces.get(run.project, decision.trace_id)


def _prove_known(run: Run, known: ExecutionTrace, seen: ExecutionTrace) -> None:
    """The known trace's next version: the same, and proved by what was seen."""
    proof = ("proved", "proved_by", "error_notes")
    better = known.model_copy(
        update={name: getattr(seen, name) for name in proof}
        | {"slots": (), "fixed": (*known.slots, *known.fixed)}
    )
    run.runtime.traces.save_trace(better, lease=run.guards.keeper.lease)


def _same_calls(run: Run, trace: ExecutionTrace) -> ExecutionTrace | None:
    """The trace that helped a MIXED run, when the run made exactly its calls and, where the
    answer is all that came of them, gave its answer: then its goal is another wording of that
    trace's goal.
    """
    if run.decision.mode is not Mode.MIXED or not trace.steps:
        return None
    known = run.runtime.traces.get(run.project, run.decision.trace_id or "")
    if known is None or known.goal_signature == trace.goal_signature:
        return None
    if unseen_failures(known, trace):
        return None
    if trace.tainted and not known.tainted:
        return None  # what a page talked a run into is no word on a trace without pages
    return known if same_calls(known, trace) and answers_alike(known, trace) else None
