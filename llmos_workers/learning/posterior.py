"""How sure a trace has to be matched, by what became of following it: its own threshold. Pure.

A labelled outcome (a user's verdict, an audit, a judge's verdict that came out) counts as right
or wrong at the *standing* it was followed with: how the match was found and how sure it was.
Above each threshold the error is a Beta posterior; a trace is followed from the smallest
threshold at which its mean stays within ``dispatcher.max_replay_error``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, lgamma, log, log1p

FLOOR = 0.92
"""No configuration, strategy, state or evidence replays below this confidence."""

PRIOR_OUTCOMES = 20.0
"""How many outcomes the prior weighs. Before any evidence the error is taken to be half of what
is allowed; one wrong outcome then needs about a hundred right ones to be outweighed at 1 %."""

ALIAS = 0.995
"""Standing of a wording that somebody said means the same: below the goal's own text only."""

EXACT = 1.0
NEVER = 1.01
"""Threshold that no match reaches: the trace itself was wrong."""

_NAMED = {"exact": EXACT, "alias": ALIAS, "judged": ALIAS}
_BUCKETS = {**{str(n): n / 100 for n in range(92, 100)}, "alias": ALIAS, "exact": EXACT}
_RIGHT, _WRONG = "right_", "wrong_"


@dataclass(frozen=True, slots=True)
class Threshold:
    """From where a trace is followed, and what that rests on."""

    value: float
    right: int = 0
    """Labelled outcomes of the trace in all."""
    wrong: int = 0
    error: float = 0.0
    """Estimated share of wrong replays from ``value`` on."""

    @property
    def why(self) -> str:
        """In words, for a decision's reason; empty without evidence."""
        if not self.right + self.wrong:
            return ""
        return f"{self.wrong} of {self.right + self.wrong} known outcomes were wrong"


def standing(stage: str, confidence: float) -> float:
    """How sure a match is, on the scale that evidence is kept on: 0 to 1."""
    return _NAMED.get(stage, min(confidence, 0.9949))


def evidence_field(stage: str, confidence: float, *, right: bool) -> str:
    """Name of the counter that one labelled outcome adds to."""
    level = standing(stage, max(confidence, FLOOR))
    bucket = max((floor, name) for name, floor in _BUCKETS.items() if floor <= level)[1]
    return (_RIGHT if right else _WRONG) + bucket


def own_threshold(evidence: Mapping[str, int], base: float, max_error: float) -> Threshold:
    """From which standing a trace with this evidence is followed.

    ``base``: the threshold of all traces, never taken below FLOOR. ``max_error``: share of
    wrong replays that is allowed, in (0, 1). Unknown counters are passed over.
    """
    base = max(FLOOR, base)
    counts = {floor: _counts(evidence, name) for name, floor in _BUCKETS.items()}
    right, wrong = (sum(c[i] for c in counts.values()) for i in (0, 1))
    base = min(base, EXACT)
    steps = [base, *(floor for floor in sorted(counts) if floor > base)]
    for value in steps:
        error = _error(counts, value, max_error)
        if error <= max_error:
            return Threshold(value, right, wrong, error)
    return Threshold(NEVER, right, wrong, _error(counts, EXACT, max_error))


def _counts(evidence: Mapping[str, int], bucket: str) -> tuple[int, int]:
    return max(0, evidence.get(_RIGHT + bucket, 0)), max(0, evidence.get(_WRONG + bucket, 0))


def _error(counts: Mapping[float, tuple[int, int]], value: float, max_error: float) -> float:
    """Mean of the posterior over what stands at ``value`` or above."""
    # A bucket holds a whole hundredth: the one that the threshold lies in counts too.
    lowest = max(floor for floor in counts if floor <= value)
    held = [count for floor, count in counts.items() if floor >= lowest]
    right, wrong = sum(r for r, _ in held), sum(w for _, w in held)
    alpha = PRIOR_OUTCOMES * max_error / 2
    return (alpha + wrong) / (PRIOR_OUTCOMES + right + wrong)


def upper_bound(wrong: int, total: int, *, level: float = 0.95) -> float:
    """One-sided Clopper-Pearson upper bound of a rate; 1 without outcomes.

    The rate at which ``wrong`` or fewer of ``total`` would have probability ``1 - level``.
    """
    if total <= 0 or wrong >= total:
        return 1.0
    low, high = wrong / total, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(wrong, total, middle) > 1 - level else (low, middle)
    return high


def _at_most(hits: int, total: int, p: float) -> float:
    """P(at most ``hits`` of ``total``) at rate ``p``, summed in logarithms."""
    return sum(
        exp(
            lgamma(total + 1) - lgamma(k + 1) - lgamma(total - k + 1)
            + k * log(p) + (total - k) * log1p(-p)
        )
        for k in range(hits + 1)
    )  # fmt: skip
