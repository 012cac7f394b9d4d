"""Why a mode was chosen, in words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmos_workers.contracts.decision import MatchCandidate
from llmos_workers.learning.complexity import complexity
from llmos_workers.learning.posterior import Threshold
from llmos_workers.learning.trace_prose import one_line

if TYPE_CHECKING:
    from llmos_workers.learning.strategies import ModeContext


def describe(candidate: MatchCandidate) -> str:
    """Why a candidate fits, in words."""
    goal = repr(one_line(candidate.goal_text, 80))
    if candidate.stage == "exact":
        return f"exact repeat of {goal}"
    if candidate.stage == "alias":
        return f"known wording of {goal}"
    confidence = f"{candidate.confidence:.2f}"
    if candidate.stage == "template":
        values = candidate.agreed[-1] if candidate.agreed else "other values"
        return f"{confidence}: {goal} with {values}"
    return f"{confidence}: means the same as {goal}"


def why_not(context: ModeContext, candidate: MatchCandidate, threshold: float) -> str:
    """Why a candidate is not followed."""
    blockers = context.blockers_of(candidate)
    own = context.thresholds.get(candidate.trace_id)
    if candidate.confidence >= threshold and not context.sure(candidate, threshold) and own:
        return f"{likeness(candidate)}, below {_above(own)}"
    if candidate.confidence >= threshold and blockers:
        return f"{describe(candidate)}, but {'; '.join(blockers)}"
    if candidate.confidence == 0 and blockers:
        return "; ".join(blockers)
    differed = f" ({'; '.join(candidate.differed[:3])})" if candidate.differed else ""
    return f"{likeness(candidate)}{differed}, below {threshold:.2f}"


def _above(own: Threshold) -> str:
    """A trace's own threshold in words."""
    if own.value > 1:
        return f"anything this trace is followed for now: {own.why}"
    return f"the {own.value:.3g} that this trace needs: {own.why}"


def likeness(candidate: MatchCandidate) -> str:
    """How near a candidate is."""
    goal = repr(one_line(candidate.goal_text, 80))
    return (
        f"like {goal}: confidence {candidate.confidence:.2f}, "
        f"relatedness {candidate.relatedness:.2f}"
    )


def nothing_known(context: ModeContext) -> str:
    """Why nothing known does."""
    if context.index_down:
        return "no exact repeat is known, and the index cannot be asked for others"
    best = context.match.best
    if best is None:
        return "nothing like it is known"
    if best.blockers and best.confidence == 0:
        known = describe(best) if best.stage in ("exact", "alias") else likeness(best)
        return f"{known}, but {'; '.join(best.blockers)}"
    if not best.helps:
        return f"{likeness(best)}, but another job: {'; '.join(best.differed[:4])}"
    return f"nothing close is known (relatedness {context.match.relatedness:.2f} at most)"


def why_split(context: ModeContext, pieces: int) -> str:
    """Why a goal is split."""
    return f"{nothing_known(context)}; it asks for {pieces} pieces of work"


def why_learn(context: ModeContext, complex_from: int) -> str:
    """Why a model does the goal from nothing. ``complex_from``: pieces that are several."""
    reason = nothing_known(context)
    pieces = complexity(context.goal)
    if pieces >= complex_from:
        why = "the agent it names does" if context.options.agent else "one learner does"
        reason += f"; it asks for {pieces} pieces of work, and {why} them all"
    return reason
