"""From evidence to probability: a logistic regression whose signs are fixed.

``fit`` needs nothing but numpy and gives the same weights for the same data. The shipped
weights are data/model.json, written by ``python -m bench.train_matching``.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmos_workers.contracts.errors import DataError
from llmos_workers.learning.matching.features import FEATURES

MODEL_PATH = Path(__file__).parent / "data" / "model.json"
FOR = frozenset({"cosine", "clean"})
"""The only features that may raise the probability; all others may only lower it."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Model:
    """Weights of all features, and the offset."""

    weights: dict[str, float]
    bias: float

    def probability(self, evidence: dict[str, float]) -> float:
        """P(same), 0 to 1."""
        total = self.bias + sum(self.weights[name] * evidence[name] for name in FEATURES)
        return 1.0 / (1.0 + math.exp(-max(-500.0, min(500.0, total))))

    def to_json(self) -> str:
        """The file's text."""
        weights = {name: round(value, 6) for name, value in self.weights.items()}
        return json.dumps({"bias": round(self.bias, 6), "weights": weights}, indent=1) + "\n"


def read_model(text: str) -> Model:
    """Weights from a file's text. Raises DataError if they are of other features."""
    data = json.loads(text)
    if set(data["weights"]) != set(FEATURES):
        raise DataError(
            "the matcher's weights belong to another version of its features.",
            fix="Run python -m bench.train_matching on the labelled pairs.",
        )
    return Model(weights=data["weights"], bias=data["bias"])


@cache
def shipped_model() -> Model:
    """The weights that come with the package."""
    return read_model(MODEL_PATH.read_text(encoding="utf-8"))


def fit(rows: Matrix, labels: Matrix, *, penalty: float = 1e-3, steps: int = 4_000) -> Model:
    """Weights by penalized maximum likelihood under the sign constraints (projected Adam)."""
    scale = rows.std(axis=0) + 1e-6
    inputs = rows / scale
    signs = np.array([1.0 if name in FOR else -1.0 for name in FEATURES])
    theta = np.zeros(len(FEATURES) + 1)
    mean, spread = np.zeros_like(theta), np.zeros_like(theta)
    for step in range(1, steps + 1):
        gradient = _gradient(inputs, labels, theta, penalty)
        mean = 0.9 * mean + 0.1 * gradient
        spread = 0.999 * spread + 0.001 * gradient**2
        rate = 0.05 * (1.0 - step / steps) + 1e-4
        theta -= rate * (mean / (1 - 0.9**step)) / (np.sqrt(spread / (1 - 0.999**step)) + 1e-8)
        theta[:-1] = np.where(signs * theta[:-1] < 0, 0.0, theta[:-1])
    weights = theta[:-1] / scale
    return Model(dict(zip(FEATURES, map(float, weights), strict=True)), float(theta[-1]))


def _gradient(inputs: Matrix, labels: Matrix, theta: Matrix, penalty: float) -> Matrix:
    guess = 1.0 / (1.0 + np.exp(-np.clip(inputs @ theta[:-1] + theta[-1], -60, 60)))
    error = (guess - labels) / len(labels)
    return np.append(inputs.T @ error + penalty * theta[:-1], error.sum())
