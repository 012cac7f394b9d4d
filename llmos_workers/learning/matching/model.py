"""From evidence to probability.

A pair is *clean* if every word is accounted for and nothing speaks against it; such pairs are
right in nearly all cases, and that measured share is their probability. For all others a small
logistic regression says how often a pair of that look was a rewording after all. It never comes
near the thresholds of following (see DOUBT_CAP): it tells people, and the judge, what is worth
a second look.

What it looks at is how much of the wording the two share. A look-alike repeats the sentence and
changes a word; a rewording changes the sentence. Which words differ is left to the structure.

``fit`` needs nothing but numpy and gives the same weights for the same data. The shipped
weights are data/model.json, written by ``python -m bench.train_matching``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmos_workers.contracts.errors import DataError
from llmos_workers.learning.matching.features import FEATURES

MODEL_PATH = Path(__file__).parent / "data" / "model.json"

GREY = (
    "cosine",
    "overlap",
    "containment",
    "value_replaced",
    "value_missing",
    "value_added",
)
"""What the probability of a pair that is not clean depends on."""

KNOWN = 0.2
"""How much a clean pair counts when the grey zone is fitted, beside 1 of a grey one. The word
tables grew beside the files that the weights are fitted on, so in these files more rewordings
are clean than in those of an author nobody has read: some of them would be grey there. No derived
constant: chosen between 0 and 0.5 by the calibration errors on both authors' files, which
therefore are no independent check.
"""

DOUBT_CAP = 0.9
"""Largest confidence of a pair with an objection: below every threshold of following."""

Matrix = NDArray[np.float64]
Evidence = Mapping[str, float]


@dataclass(frozen=True)
class Model:
    """Share of clean pairs that are right; weights and offset for the others."""

    clean: float
    weights: dict[str, float]
    bias: float

    def probability(self, evidence: Evidence) -> float:
        """P(same), 0 to 1."""
        if is_clean(evidence):
            return self.clean
        looks = zip(self.weights.values(), grey(evidence), strict=True)
        total = self.bias + sum(weight * value for weight, value in looks)
        return min(DOUBT_CAP, 1.0 / (1.0 + math.exp(-max(-500.0, min(500.0, total)))))

    def to_json(self) -> str:
        """The file's text."""
        weights = {name: round(value, 6) for name, value in self.weights.items()}
        data = {"clean": round(self.clean, 6), "bias": round(self.bias, 6), "weights": weights}
        return json.dumps(data, indent=1) + "\n"


def is_clean(evidence: Evidence) -> bool:
    """Whether nothing speaks against a pair and no word is left."""
    return bool(evidence["clean"]) and not (evidence["doubt"] or evidence["plural"])


def grey(evidence: Evidence) -> list[float]:
    """The numbers of GREY."""
    missing, added = evidence["anchor_missing"] > 0, evidence["anchor_added"] > 0
    plain = [evidence["cosine"], evidence["overlap"], evidence["containment"]]
    return [*plain, float(missing and added), float(missing), float(added)]


def read_model(text: str) -> Model:
    """Weights from a file's text. Raises DataError if they are of other features."""
    data = json.loads(text)
    if tuple(data["weights"]) != GREY:
        raise DataError(
            "the matcher's weights belong to another version of its features.",
            fix="Run python -m bench.train_matching on the labelled pairs.",
        )
    return Model(clean=data["clean"], weights=data["weights"], bias=data["bias"])


@cache
def shipped_model() -> Model:
    """The weights that come with the package."""
    return read_model(MODEL_PATH.read_text(encoding="utf-8"))


def fit(rows: Matrix, labels: Matrix, *, penalty: float = 1.0, steps: int = 50) -> Model:
    """Weights by penalized maximum likelihood (Newton's method); ``rows`` are FEATURES."""
    found = [dict(zip(FEATURES, row, strict=True)) for row in rows]
    clean = np.array([is_clean(evidence) for evidence in found])
    right = float(labels[clean].sum())
    share = (right + 1.0) / (int(clean.sum()) + 2.0)
    looks = np.array([grey(evidence) for evidence in found])
    theta = _newton(looks, labels, np.where(clean, KNOWN, 1.0), penalty, steps)
    return Model(share, dict(zip(GREY, map(float, theta[:-1]), strict=True)), float(theta[-1]))


def _newton(looks: Matrix, labels: Matrix, counts: Matrix, penalty: float, steps: int) -> Matrix:
    """Weights, then the offset, for the looks as they are; ``counts`` weigh the rows."""
    middle = np.average(looks, axis=0, weights=counts)
    scale = np.sqrt(np.average((looks - middle) ** 2, axis=0, weights=counts)) + 1e-6
    inputs = np.c_[(looks - middle) / scale, np.ones(len(looks))]
    ridge = np.full(inputs.shape[1], penalty)
    ridge[-1] = 1e-6
    theta = np.zeros(inputs.shape[1])
    for _ in range(steps):
        guess = 1.0 / (1.0 + np.exp(-np.clip(inputs @ theta, -30, 30)))
        slope = inputs.T @ ((guess - labels) * counts) + ridge * theta
        curve = (inputs * (guess * (1 - guess) * counts)[:, None]).T @ inputs + np.diag(ridge)
        theta = theta - np.linalg.solve(curve, slope)
    weights = theta[:-1] / scale
    return np.append(weights, theta[-1] - weights @ middle)
