"""Fit the matcher's weights on labelled pairs: python -m bench.train_matching PAIRS.jsonl [...]

Prints what cross-validation by family says (each family is judged by weights that never saw
it), then fits on everything and writes the shipped data/model.json. The same files always give
the same weights.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.strangers import is_family, pairs_of
from llmos_workers.learning.matching.compare import compare
from llmos_workers.learning.matching.embedder import Embedder, bundled_embedder
from llmos_workers.learning.matching.features import FEATURES, as_vector
from llmos_workers.learning.matching.model import GREY, MODEL_PATH, Matrix, Model, fit

THRESHOLD = 0.92
FOLDS = 5
_UNFITTED = Model(0.5, dict.fromkeys(GREY, 0.0), 0.0)


@dataclass(frozen=True)
class Rows:
    """Evidence of labelled pairs. A template pair is not the same goal: its value differs."""

    pairs: list[dict[str, Any]]
    evidence: Matrix
    labels: Matrix

    def only(self, keep: Sequence[bool]) -> Rows:
        """The rows whose flag is set."""
        mask = np.asarray(keep, dtype=bool)
        chosen = [pair for pair, kept in zip(self.pairs, mask, strict=True) if kept]
        return Rows(chosen, self.evidence[mask], self.labels[mask])


def read_pairs(paths: Iterable[str | Path], *, to_fit: bool = False) -> list[dict[str, Any]]:
    """The lines of JSONL files of pairs {a, b, label, kind, family}, or the pairs of families."""
    found: list[dict[str, Any]] = []
    for path in paths:
        lines = Path(path).read_text("utf-8").splitlines()
        read = [json.loads(line) for line in lines if line.strip()]
        found += [line for line in read if not is_family(line)]
        found += pairs_of([line for line in read if is_family(line)], to_fit=to_fit)
    return found


def gather(pairs: list[dict[str, Any]], embedder: Embedder) -> Rows:
    """Evidence of each pair, except those whose texts are equal."""
    compared = [compare(p["a"], p["b"], embedder.embed, model=_UNFITTED) for p in pairs]
    used = [(pair, c) for pair, c in zip(pairs, compared, strict=True) if c.confidence < 1]
    evidence = np.array([as_vector(c.features) for _, c in used])
    labels = np.array([float(pair["label"] == "same") for pair, _ in used])
    return Rows([pair for pair, _ in used], evidence, labels)


def folds(families: Iterable[str], count: int = FOLDS) -> list[set[str]]:
    """Families dealt into folds, always the same way."""
    names = sorted(set(families))
    np.random.default_rng(0).shuffle(names)
    return [set(names[start::count]) for start in range(count)]


def probabilities(rows: Rows, model: Model) -> Matrix:
    """P(same) of each row."""
    found = [dict(zip(FEATURES, row, strict=True)) for row in rows.evidence]
    return np.array([model.probability(evidence) for evidence in found])


def cross_validate(rows: Rows) -> Matrix:
    """P(same) of each row by weights fitted without its family."""
    result = np.zeros(len(rows.labels))
    for held in folds(pair["family"] for pair in rows.pairs):
        outside = [pair["family"] in held for pair in rows.pairs]
        model = fit_rows(rows.only([not out for out in outside]))
        result[np.asarray(outside)] = probabilities(rows.only(outside), model)
    return result


def fit_rows(rows: Rows) -> Model:
    """Weights fitted on all rows."""
    return fit(rows.evidence, rows.labels)


def report(title: str, rows: Rows, found: Matrix) -> None:
    """Print shares followed verbatim, and each pair that was followed wrongly."""
    follow = found >= THRESHOLD
    for kind in ("paraphrase", "paraphrase-pair"):
        of_kind = np.array([pair["kind"] == kind for pair in rows.pairs])
        if of_kind.any():
            print(f"{title}: {kind} followed {follow[of_kind].mean():.3f}")
    different = np.array([pair["label"] != "same" for pair in rows.pairs])
    wrong = follow & different
    print(f"{title}: followed wrongly {int(wrong.sum())} of {int(different.sum())}")
    for pair, bad, p in zip(rows.pairs, wrong, found, strict=True):
        if bad:
            print(f"  {p:.3f} {pair['kind']}: {pair['a']!r} / {pair['b']!r}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", nargs="+", help="JSONL files of pairs to fit on")
    parser.add_argument("--judge", nargs="*", default=[], help="files only judged, not fitted on")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    options = parser.parse_args()
    embedder = bundled_embedder()
    rows = gather(read_pairs(options.files, to_fit=True), embedder)
    report("by family", rows, cross_validate(rows))
    model = fit_rows(rows)
    for path in options.judge:
        other = gather(read_pairs([path]), embedder)
        report(Path(path).name, other, probabilities(other, model))
    if not options.dry:
        MODEL_PATH.write_text(model.to_json(), encoding="utf-8")
        print(f"wrote {MODEL_PATH}")
    for name, weight in model.weights.items():
        print(f"  {name:20} {weight:9.3f}")


if __name__ == "__main__":
    main()
