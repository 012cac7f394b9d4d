"""The dispatcher's matcher: has a goal been done before, and how sure is that?

Cheapest first: the exact wording (no model, no index), then the nearest references of the
index, each verified by structure, then the same with the trace's slots bound to new values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from llmos_workers.config import DispatcherConfig
from llmos_workers.contracts.decision import MatchCandidate, MatchResult
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.learning.index_contract import IndexHit, TraceIndex, TraceSource
from llmos_workers.learning.matching.bind import Binding, bind
from llmos_workers.learning.matching.compare import Comparison, compare
from llmos_workers.learning.matching.compound import hold_parts
from llmos_workers.learning.matching.embedder import Embedder
from llmos_workers.learning.matching.model import Model
from llmos_workers.learning.matching.parse import parse
from llmos_workers.learning.signature import goal_signature, normalize_goal

OBJECTION_FLOOR = 0.1
"""A stored rewording counts only if the trace's own goal is at least this likely too."""
REFERENCES_PER_TRACE = 4
"""On average; how many index hits are asked for beyond one per candidate."""
VETOED = "a user or a judge said that this goal must not follow this trace"


@dataclass(frozen=True, slots=True)
class _Question:
    """A goal as asked once."""

    goal: str
    project: str
    signature: str


@dataclass(frozen=True, slots=True)
class Found:
    """What was matched, with the candidates' traces as they were read for it."""

    result: MatchResult
    traces: dict[str, ExecutionTrace]


class GoalMatcher:
    """Finds the traces that may do what a goal asks. Thread-safe if its parts are."""

    def __init__(
        self,
        traces: TraceSource,
        index: TraceIndex,
        embedder: Embedder,
        config: DispatcherConfig | None = None,
        *,
        model: Model | None = None,
        before_search: Callable[[], None] | None = None,
    ) -> None:
        """``before_search`` is called before the index is asked: what is not known by its exact
        wording is worth bringing the index up to date.
        """
        self._before_search = before_search or (lambda: None)
        self._traces, self._index, self._embedder = traces, index, embedder
        self._threshold = (config or DispatcherConfig()).follower_threshold
        self._model = model

    def match(self, goal: str, project: str, *, top_k: int = 5) -> MatchResult:
        """At most ``top_k`` candidates, best first. Raises IndexUnavailable.

        ``relatedness`` is the largest cosine seen: whether anything known helps.
        """
        return self.find(goal, project, top_k=top_k).result

    def find(self, goal: str, project: str, *, top_k: int = 5) -> Found:
        """As ``match``, with the traces. Raises IndexUnavailable."""
        asked = _Question(goal, project, goal_signature(goal))
        trace = self._exact(asked)
        if trace is not None:
            known = MatchResult(candidates=(_same(asked, trace),), relatedness=1.0)
            return Found(known, {trace.trace_id: trace})
        self._before_search()
        vector = self._embedder.embed(parse(goal).respelled).vector
        hits = self._index.search(vector, project, top_k * REFERENCES_PER_TRACE)
        groups = _by_trace(hits, top_k)
        traces = self._traces.get_many(project, list(groups)) if groups else {}
        candidates = [
            self._candidate(asked, traces[trace_id], group)
            for trace_id, group in groups.items()
            if trace_id in traces
        ]
        candidates.sort(key=lambda c: (-c.confidence, -c.relatedness))
        related = max((hit.score for hit in hits), default=0.0)
        return Found(
            MatchResult(candidates=tuple(candidates), relatedness=_cosine(related)), traces
        )

    def _exact(self, asked: _Question) -> ExecutionTrace | None:
        trace = self._traces.find_exact(asked.project, asked.signature)
        return None if trace is None or asked.signature in trace.vetoes else trace

    def _candidate(
        self, asked: _Question, trace: ExecutionTrace, hits: list[IndexHit]
    ) -> MatchCandidate:
        related = _cosine(max(hit.score for hit in hits))
        if asked.signature in trace.vetoes:
            return _vetoed(trace, related)
        references = [hit.text for hit in hits]
        if trace.is_plan:
            return self._of_plan(asked, trace, related, references)
        best = max(
            (self._judge(trace, hit.text, asked.goal, _cosine(hit.score)) for hit in hits),
            key=lambda held: held.confidence,
        )
        binding = None
        if best.confidence < self._threshold:
            binding = self._bind(trace, references, asked.goal)
        if binding is None:
            return self._describe(trace, related, best, _recorded(trace))
        if binding.confidence >= self._threshold:
            return self._bound(trace, related, best, binding)
        return self._tentative(trace, related, best, binding)

    def _of_plan(
        self, asked: _Question, trace: ExecutionTrace, related: float, references: list[str]
    ) -> MatchCandidate:
        """A plan is carried out for goals that ask for its parts, one by one and in their order;
        what only looks alike as a whole is never sure enough.
        """
        known = list(dict.fromkeys([*references, trace.goal_text]))
        held = (
            hold_parts(
                trace, text, asked.goal, self._compare, self._embedder.embed,
                threshold=self._threshold,
            )
            for text in known
        )  # fmt: skip
        sound = [compound for compound in held if compound is not None]
        if not sound:
            whole = self._compare(trace.goal_text, asked.goal)
            low = replace(whole, confidence=min(whole.confidence, self._threshold - 0.01))
            return self._describe(trace, related, low, _recorded(trace))
        best = max(sound, key=lambda compound: compound.confidence)
        return MatchCandidate(
            trace_id=trace.trace_id,
            goal_text=trace.goal_text,
            stage="template" if best.bound else "structure",
            confidence=best.confidence,
            relatedness=related,
            slots=best.slots,
            agreed=best.agreed,
        )

    def _judge(
        self, trace: ExecutionTrace, reference: str, goal: str, cosine: float | None = None
    ) -> Comparison:
        """Hold a goal against one reference of a trace. A rewording adds evidence, but does not
        overrule a strong objection of the goal the trace was learned from. Without a known
        cosine, the best one is tried first: most pairs need no embedding to be refused.
        """
        held = self._compare(reference, goal, 1.0 if cosine is None else cosine)
        if cosine is None and held.confidence >= self._threshold:
            held = self._compare(reference, goal)
        if held.confidence < self._threshold or reference == trace.goal_text:
            return held
        if normalize_goal(reference) == normalize_goal(goal):
            return held
        own = self._compare(trace.goal_text, goal)
        if own.confidence >= OBJECTION_FLOOR and not own.strong:
            return held
        lowered = min(held.confidence, own.confidence, self._threshold - 0.01)
        return Comparison(lowered, own.features, own.agreed, own.differed, own.strong)

    def _bind(self, trace: ExecutionTrace, references: list[str], goal: str) -> Binding | None:
        """The first binding sure enough to follow, else the surest."""
        surest: Binding | None = None
        for reference in dict.fromkeys([*references, trace.goal_text]):
            found = bind(
                trace,
                reference,
                goal,
                self._embedder.embed,
                judge=lambda text, ref=reference: self._judge(trace, ref, text),  # type: ignore[misc]
            )
            if found is not None and found.confidence >= self._threshold:
                return found
            if found is not None and (surest is None or found.confidence > surest.confidence):
                surest = found
        return surest

    def _compare(self, reference: str, goal: str, cosine: float | None = None) -> Comparison:
        embed = self._embedder.embed
        return compare(reference, goal, embed, model=self._model, cosine=cosine)

    def _tentative(
        self, trace: ExecutionTrace, related: float, best: Comparison, binding: Binding
    ) -> MatchCandidate:
        """What nobody follows unasked: the values are found, the rest is worded otherwise. A judge
        may be asked about the calls with these values, where the recorded ones are certainly wrong
        or fit less well.
        """
        if not best.mismatch and binding.confidence <= best.confidence:
            return self._describe(trace, related, best, _recorded(trace))
        # Values put back make a look-alike look more alike than the weights were fitted on.
        confidence = min(binding.confidence, best.confidence)
        described = self._describe(trace, related, binding.held, binding.slots)
        agreed = (*described.agreed, binding.why)
        update = {"wording": binding.restored, "confidence": confidence, "agreed": agreed}
        return described.model_copy(update=update)

    def _bound(
        self, trace: ExecutionTrace, related: float, best: Comparison, binding: Binding
    ) -> MatchCandidate:
        return MatchCandidate(
            trace_id=trace.trace_id,
            goal_text=trace.goal_text,
            stage="template",
            confidence=binding.confidence,
            relatedness=related,
            slots=binding.slots,
            agreed=(*best.agreed, binding.why),
        )

    def _describe(
        self, trace: ExecutionTrace, related: float, held: Comparison, slots: dict[str, str]
    ) -> MatchCandidate:
        return MatchCandidate(
            trace_id=trace.trace_id,
            goal_text=trace.goal_text,
            stage="structure",
            confidence=held.confidence,
            relatedness=related,
            slots=slots,
            agreed=held.agreed,
            differed=held.differed,
            mismatch=held.mismatch,
            helps=not held.misleading,
        )


def _by_trace(hits: Iterable[IndexHit], limit: int) -> dict[str, list[IndexHit]]:
    """References grouped by trace, nearest traces first, at most ``limit`` traces."""
    groups: dict[str, list[IndexHit]] = {}
    for hit in hits:
        if hit.trace_id in groups or len(groups) < limit:
            groups.setdefault(hit.trace_id, []).append(hit)
    return groups


def _same(asked: _Question, trace: ExecutionTrace) -> MatchCandidate:
    """The trace was learned from this very wording, or is known to do it."""
    return MatchCandidate(
        trace_id=trace.trace_id,
        goal_text=trace.goal_text,
        stage="exact" if trace.goal_signature == asked.signature else "alias",
        confidence=1.0,
        relatedness=1.0,
        slots=_recorded(trace),
        agreed=("the same text",),
    )


def _recorded(trace: ExecutionTrace) -> dict[str, str]:
    return {slot.name: slot.value for slot in trace.slots}


def _vetoed(trace: ExecutionTrace, related: float) -> MatchCandidate:
    return MatchCandidate(
        trace_id=trace.trace_id,
        goal_text=trace.goal_text,
        stage="structure",
        confidence=0.0,
        relatedness=related,
        differed=(VETOED,),
        blockers=(VETOED,),
    )


def _cosine(score: float) -> float:
    """A score of the index, kept inside what a cosine can be."""
    return max(-1.0, min(1.0, score))
