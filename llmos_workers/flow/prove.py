"""Prove: a fresh trace is replayed in a scratch copy of the project as it was before its run.

Only when that gives the same files, with every check of a replay met, may the trace be followed.
It costs no money, and as much time as the run's calls took.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from llmos_workers.contracts.commits import FileState
from llmos_workers.contracts.errors import BrokerUnavailable, GoalStateError, LLMOSError
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep
from llmos_workers.flow.agents import agent_of
from llmos_workers.flow.perturb import perturb
from llmos_workers.flow.run import Run
from llmos_workers.flow.trial import Trial, Trials
from llmos_workers.kernel.scratch import Scratch, effects
from llmos_workers.learning.answers import needs_model
from llmos_workers.learning.dependence import OPAQUE_TOOLS, is_volatile
from llmos_workers.learning.distill import OUTSIDE, with_last_words

log = logging.getLogger(__name__)

REPLAYED = "replay"
SUPERVISED = "supervised"
CONTRADICTED = "its replay in a scratch copy"
"""How the notes begin of a trace that was tried and did not do the same."""
UNTRIED = "not tried"
"""How they begin where it could not be tried at all."""


@dataclass
class Before:
    """The project as it was before a run, and what the run did to it."""

    scratch: Scratch | None = None
    effects: dict[str, FileState | None] = field(default_factory=dict)
    why_not: str = ""
    """Why there is no scratch copy."""

    def discard(self) -> None:
        """Remove the copy."""
        if self.scratch is not None:
            self.scratch.discard()


def keep_before(run: Run) -> Before:
    """Keep the project as it is until now: to be called before the run is published."""
    runtime, fence = run.runtime, run.guards.keeper.lease.fence
    goal_id = run.record.goal_id
    if fence > 1 and runtime.publisher.log.of_goal(run.place, goal_id):
        return Before(why_not="its run was interrupted after it had published")
    before = Before()
    try:
        before.scratch = runtime.stages.scratch(run.place, goal_id, fence, "before")
        before.effects = effects(run.stage, before.scratch)
    except (GoalStateError, BrokerUnavailable):
        before.discard()
        raise
    except LLMOSError as error:
        before.discard()
        return Before(why_not=f"no scratch copy could be made: {error.message}")
    return before


def prove(
    run: Run, trace: ExecutionTrace, transcript: Sequence[TraceStep], before: Before
) -> ExecutionTrace:
    """The trace with what a replay in scratch showed: proved or not, and what it depends on.

    ``transcript`` is the whole run, failed calls included. A trace that is in doubt already is
    not tried. Raises LeaseLost, Cancelled, BrokerUnavailable.
    """
    if not trace.proved:
        return trace
    if not trace.steps:
        return trace.model_copy(update={"proved_by": REPLAYED})  # nothing that could differ
    runtime = run.runtime
    opaque = OPAQUE_TOOLS & set(trace.tools_used)
    if before.scratch is None or (opaque and runtime.sandbox.level < 1):
        why = before.why_not or "commands are not confined on this host"
        return _unproved(trace, f"{UNTRIED}: {why}")
    return _tried(run, trace, transcript, before, before.scratch)


def _tried(
    run: Run,
    trace: ExecutionTrace,
    transcript: Sequence[TraceStep],
    before: Before,
    scratch: Scratch,
) -> ExecutionTrace:
    """The trace after its trials."""
    runtime = run.runtime
    started = runtime.clock.steady()
    limits = runtime.config.learning
    agent = agent_of(run, trace.agent)
    trials = Trials(run, agent, scratch, started + limits.prove_timeout_secs)
    try:
        fault, trial = _replay(trials, trace, before)
        if fault:
            return _unproved(trace, fault)
        told = [result.output for result in trial.results]
        proved = with_last_words(trace, told).model_copy(update={"proved_by": REPLAYED})
        trials.until = min(trials.until, runtime.clock.steady() + limits.perturb_timeout_secs)
        return perturb(trials, proved, transcript, trial)
    except (GoalStateError, BrokerUnavailable):
        raise
    except LLMOSError as error:
        return _unproved(trace, f"{UNTRIED}: {error.message}")
    finally:
        log.debug(
            "goal %s: %d trials in %.0f ms",
            run.record.goal_id,
            trials.made,
            (runtime.clock.steady() - started) * 1000,
        )


def supervised(trace: ExecutionTrace, known: ExecutionTrace | None) -> ExecutionTrace:
    """The trace of a run that had ``known`` to help it: proved, when the model did the very same
    once more and all that was missing was a place to try it.

    What was tried and came out differently is not proved by that. No value of it may vary.
    """
    if known is None or trace.proved or known.proved or not trace.steps:
        return trace
    reasons = [*trace.error_notes.split("; "), *known.error_notes.split("; ")]
    if not all(why.startswith(UNTRIED) or why.endswith(OUTSIDE) for why in reasons):
        return trace
    if _done(trace) != _done(known):
        return trace
    said = with_last_words(trace, [step.output for step in known.steps])
    return said.model_copy(
        update={
            "proved": True,
            "proved_by": SUPERVISED,
            "error_notes": "",
            "slots": (),
            "fixed": (*trace.slots, *trace.fixed),
        }
    )


def _done(trace: ExecutionTrace) -> tuple[object, ...]:
    """What two runs must have in common to be the same."""
    steps = [(s.call.digest(), s.exit_code, s.output_digest) for s in trace.steps]
    checks = [(c.at, c.step.call.digest(), c.step.output_digest) for c in trace.checks]
    return steps, checks, trace.inputs, trace.outputs


def _replay(trials: Trials, trace: ExecutionTrace, before: Before) -> tuple[str, Trial]:
    """Why the replay in scratch was not the run again ("" when it was), and the replay."""
    result, trial = trials.replay(trace.steps, trace.checks)
    if not result.completed and trials.time_left <= 0:
        return f"{UNTRIED}: it takes longer than learning.prove_timeout_secs", trial
    if not result.completed:
        return (
            f"{CONTRADICTED} differed at step {(result.diverged_at or 0) + 1}: {result.reason}",
            trial,
        )
    if why := needs_model(trace, {}, result.results):
        return f"{CONTRADICTED} did not give its answer: {why}", trial
    other = _differing(before.effects, trial.effects)
    if other:
        more = f" and {len(other) - 3} more" if len(other) > 3 else ""
        return f"{CONTRADICTED} left {', '.join(other[:3])}{more} in another state", trial
    return "", trial


def _differing(
    first: dict[str, FileState | None], second: dict[str, FileState | None]
) -> list[str]:
    paths = first.keys() | second.keys()
    nothing = object()
    return sorted(
        path
        for path in paths
        if not is_volatile(path) and first.get(path, nothing) != second.get(path, nothing)
    )


def _unproved(trace: ExecutionTrace, why: str) -> ExecutionTrace:
    notes = "; ".join(filter(None, (trace.error_notes, why)))
    return trace.model_copy(update={"proved": False, "proved_by": "", "error_notes": notes})
