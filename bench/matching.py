"""Does the matcher follow what it should, and only that? python -m bench.matching PAIRS.jsonl

Each line is {a, b, label, kind, family, slots?}. For each distinct ``a`` a trace is stored in a
project of its own, through TraceManager and a Qdrant Edge index; ``b`` is asked of the
dispatcher's GoalMatcher. Nothing here decides anything: the bench only counts.

The trace for ``a`` declares as slots the values that the family's template pairs name where
they occur in ``a``; its tool arguments hold just those.

different_followed_upper95 is the one-sided 95 % Clopper-Pearson bound. ece: ten bins of equal
width; a pair counts as right if replaying (with the slots found) is what ``b`` asks. Pairs of
label different that bound a changed value are left out of it: they may be right; read them.

With --judge, what structure can neither grant nor refuse goes to a judge that answers from the
file's labels and errs in --judge-error of the pairs. That measures machinery, not a judge: which
share of the rewordings reaches it, what it costs at list prices, and how its errors come through.
bench.judge measures a real one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import redis

from bench.judging import LabelJudge, question_of
from bench.pair_slots import changed_values, equal, slots_for
from bench.train_matching import fit_rows, folds, gather, read_pairs
from llmos_workers.config import DispatcherConfig
from llmos_workers.config_learning import JudgeConfig
from llmos_workers.contracts.decision import MatchCandidate
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import ExecutionTrace, Slot, TraceStep
from llmos_workers.embedded.server import EmbeddedServer
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.workspace import Workspace
from llmos_workers.learning.index.edge import EdgeIndex
from llmos_workers.learning.judge import worth_asking
from llmos_workers.learning.matching.embedder import MiniLMEmbedder, bundled_embedder
from llmos_workers.learning.matching.matcher import GoalMatcher
from llmos_workers.learning.matching.model import Model, shipped_model
from llmos_workers.learning.outbox import IndexOutbox
from llmos_workers.learning.signature import goal_signature
from llmos_workers.learning.traces import TraceManager

THRESHOLD = DispatcherConfig().follower_threshold
Pair = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What came back for one pair."""

    pair: Pair
    best: MatchCandidate | None
    recorded: dict[str, str]
    seconds: float

    @property
    def confidence(self) -> float:
        """Of the best candidate; 0 without one."""
        return self.best.confidence if self.best else 0.0

    @property
    def replays(self) -> bool:
        """Whether the trace would be followed at all."""
        return self.confidence >= THRESHOLD

    @property
    def bound(self) -> bool:
        """Followed with another value in a slot."""
        return self.replays and self.best is not None and self.best.slots != self.recorded

    @property
    def followed(self) -> bool:
        """Followed verbatim."""
        return self.replays and not self.bound

    @property
    def right(self) -> bool:
        """Whether the replay, as proposed, is what the query asks."""
        if self.pair["label"] == "template":
            return self.best is not None and self._values_right(self.best.slots)
        unchanged = self.best is not None and self.best.slots == self.recorded
        return bool(self.pair["label"] == "same" and unchanged)

    def _values_right(self, found: dict[str, str]) -> bool:
        wanted = dict(self.recorded)
        for old, new in changed_values(self.pair):
            for name, value in self.recorded.items():
                if equal(value, old):
                    wanted[name] = new
        return all(equal(found.get(name, ""), value) for name, value in wanted.items())


class Bench:
    """The stores, filled with one trace per distinct ``a``."""

    def __init__(
        self,
        traces: TraceManager,
        outbox: IndexOutbox,
        index: EdgeIndex,
        embedder: MiniLMEmbedder,
    ) -> None:
        self._traces, self._outbox = traces, outbox
        self._index, self._embedder = index, embedder
        self._recorded: dict[str, dict[str, str]] = {}

    def store(self, pairs: Sequence[Pair]) -> None:
        """Save a trace for each distinct ``a``, each in its own project."""
        values: dict[str, list[str]] = defaultdict(list)
        for pair in pairs:
            if pair["label"] == "template":
                values[pair["family"]] += [old for old, _ in changed_values(pair)]
        for pair in pairs:
            if project_of(pair) not in self._recorded:
                self._store_one(pair, slots_for(pair["a"], values[pair["family"]]))
        self._outbox.drain(self._index, self._embedder, self._traces)

    def _store_one(self, pair: Pair, slots: tuple[Slot, ...]) -> None:
        project, goal = project_of(pair), pair["a"]
        call = ToolCall(name="Recorded", arguments={slot.name: slot.value for slot in slots})
        trace = ExecutionTrace(
            trace_id=goal_signature(goal),
            project=project,
            goal_signature=goal_signature(goal),
            goal_text=goal,
            slots=slots,
            steps=(TraceStep(call=call),),
        )
        self._traces.save_trace(trace)
        self._recorded[project] = {slot.name: slot.value for slot in slots}

    def ask(self, pairs: Sequence[Pair], model_for: Callable[[str], Model]) -> list[Answer]:
        """Ask each ``b``, with the weights meant for its family."""
        answers = []
        matchers: dict[int, GoalMatcher] = {}
        for pair in pairs:
            model = model_for(pair["family"])
            matcher = matchers.setdefault(
                id(model), GoalMatcher(self._traces, self._index, self._embedder, model=model)
            )
            project = project_of(pair)
            started = time.perf_counter()
            result = matcher.match(pair["b"], project)
            seconds = time.perf_counter() - started
            answers.append(Answer(pair, result.best, self._recorded[project], seconds))
        return answers


def project_of(pair: Pair) -> str:
    """A project of its own for each family and ``a``."""
    text = f"{pair['family']}\0{pair['a']}"
    return "p" + hashlib.sha256(text.encode()).hexdigest()[:16]


def figures(answers: Sequence[Answer]) -> dict[str, float | int]:
    """The contract's JSON."""
    chosen: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        pair = answer.pair
        chosen["unrelated" if pair["kind"] == "unrelated" else pair["label"]].append(answer)
        chosen[f"kind {pair['kind']}"].append(answer)
    different, template = chosen["different"], chosen["template"]
    wrong = sum(a.followed for a in different)
    rated = [a for a in answers if not (a.pair["label"] == "different" and a.bound)]
    times = sorted(a.seconds * 1000 for a in answers)
    return {
        "paraphrase_followed_rate": rate(a.followed for a in chosen["kind paraphrase"]),
        "same_followed_rate": rate(a.followed for a in chosen["same"]),
        "different": len(different),
        "different_followed": wrong,
        "different_followed_rate": rate(a.followed for a in different),
        "different_followed_upper95": round(upper95(wrong, len(different)), 5),
        "different_bound": sum(a.bound for a in different),
        "unrelated": len(chosen["unrelated"]),
        "unrelated_followed": sum(a.replays for a in chosen["unrelated"]),
        "same_bound": sum(a.bound for a in chosen["same"]),
        "template": len(template),
        "template_bound_rate": rate(a.bound and a.right for a in template),
        "template_wrong": sum(a.replays and not a.right for a in template),
        "ece": round(calibration_error(rated), 4),
        "ece_mid": round(calibration_error([a for a in rated if 0.5 <= a.confidence < 0.99]), 4),
        "p50_ms": round(times[len(times) // 2], 2) if times else 0.0,
        "p99_ms": round(times[int(len(times) * 0.99)], 2) if times else 0.0,
    }


def rate(flags: Iterator[bool]) -> float:
    """Share of true ones; 0 for none at all."""
    listed = list(flags)
    return round(sum(listed) / len(listed), 5) if listed else 0.0


def upper95(hits: int, total: int) -> float:
    """One-sided 95 % Clopper-Pearson upper bound of a rate."""
    if total == 0 or hits >= total:
        return 1.0
    low, high = hits / total, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(hits, total, middle) > 0.05 else (low, middle)
    return high


def _at_most(hits: int, total: int, p: float) -> float:
    """P(at most ``hits`` of ``total``) at rate ``p``."""
    logs = (
        math.lgamma(total + 1)
        - math.lgamma(k + 1)
        - math.lgamma(total - k + 1)
        + k * math.log(p)
        + (total - k) * math.log1p(-p)
        for k in range(hits + 1)
    )
    return sum(map(math.exp, logs))


def calibration_error(answers: Sequence[Answer], bins: int = 10) -> float:
    """Mean distance of confidence from the share that was right, weighted by bin size."""
    cells: dict[int, list[Answer]] = defaultdict(list)
    for answer in answers:
        cells[min(int(answer.confidence * bins), bins - 1)].append(answer)
    gaps = (
        abs(sum(a.confidence for a in cell) - sum(a.right for a in cell)) for cell in cells.values()
    )
    return sum(gaps) / max(len(answers), 1)


def weights(options: argparse.Namespace, pairs: list[Pair]) -> Callable[[str], Model]:
    """Which weights judge a family: the shipped ones, or freshly fitted ones."""
    if options.fit:
        fitted = fit_rows(gather(read_pairs(options.fit), bundled_embedder()))
        return lambda _family: fitted
    if not options.cv:
        return lambda _family: shipped_model()
    rows = gather(pairs, bundled_embedder())
    by_family: dict[str, Model] = {}
    for held in folds(pair["family"] for pair in rows.pairs):
        model = fit_rows(rows.only([pair["family"] not in held for pair in rows.pairs]))
        by_family |= dict.fromkeys(held, model)
    return by_family.__getitem__


@contextmanager
def stores() -> Iterator[Bench]:
    """A private server, workspace and index, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="llmos-bench-") as name:
        folder = Path(name)
        with EmbeddedServer(folder / "redis") as server:
            client = redis.Redis.from_url(f"{server.url}/2")
            embedder = bundled_embedder()
            index = EdgeIndex(folder / "index", embedder.dim)
            workspace = Workspace(folder / "workspace")
            workspace.ensure()
            traces = TraceManager(client, workspace, SystemClock())
            try:
                yield Bench(traces, IndexOutbox(client), index, embedder)
            finally:
                index.close()
                client.close()


def doubtful(answer: Answer) -> bool:
    """Whether a judge is asked."""
    related = JudgeConfig().relatedness
    return answer.best is not None and not answer.replays and worth_asking(answer.best, related)


def judged(answers: Sequence[Answer], judge: LabelJudge) -> list[Answer]:
    """The answers after the judge was asked about all that structure leaves open."""
    asked = list[Answer]()
    for answer in answers:
        best = answer.best
        if best is not None and doubtful(answer):
            slots = tuple(
                Slot(name=name, value=value, declared=True)
                for name, value in answer.recorded.items()
            )
            question = question_of(answer.pair["a"], answer.pair["b"], best, slots)
            if judge.says_yes(answer.pair, question, right=answer.right):
                followed = {"stage": "judged", "confidence": 1.0}
                answer = replace(answer, best=best.model_copy(update=followed))  # noqa: PLW2901
        asked.append(answer)
    return asked


def with_judge(answers: Sequence[Answer], error: float) -> tuple[list[Answer], dict[str, Any]]:
    """The answers with a judge, and the figures that it adds or changes."""
    judge = LabelJudge(error)
    after = judged(answers, judge)
    asked = [now for now, before in zip(after, answers, strict=True) if doubtful(before)]
    found: dict[str, Any] = figures(after)
    # Confidence is what structure says; a verdict is none of its estimates.
    found |= {name: value for name, value in figures(answers).items() if name.startswith("ece")}
    found |= {
        "recall": found["same_followed_rate"],
        "recall_with_templates": rate(
            a.replays and a.right for a in after if a.pair["label"] != "different"
        ),
        "judge_calls_wrong": sum(not a.right for a in asked),
        "judge_false_rate": rate(a.replays for a in asked if not a.right),
        "judge_error": error,
        "judge_calls": judge.calls,
        "judge_cost_usd": judge.cost_micro / 1e6,
        "judge_cost_usd_per_verdict": round(judge.cost_micro / 1e6 / max(judge.calls, 1), 7),
        "template_judged_wrong": sum(
            a.best is not None and a.best.stage == "judged" and not a.right
            for a in after
            if a.pair["label"] == "template"
        ),
    }
    return after, found


def show(answers: Sequence[Answer], found: dict[str, float | int]) -> None:
    """A table for people: figures, and every pair to be read."""
    for answer in answers:
        label = answer.pair["label"]
        if label == "different" and answer.replays:
            told = "bound" if answer.bound else "FOLLOWED"
            print(f"{told} {answer.pair['kind']}: {answer.pair['a']!r} / {answer.pair['b']!r}")
        elif label != "different" and answer.replays and not answer.right:
            slots = answer.best.slots if answer.best else {}
            print(f"WRONG VALUE {slots}: {answer.pair['a']!r} / {answer.pair['b']!r}")
    for name, value in found.items():
        print(f"{name:30} {value}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", help="JSONL of labelled pairs")
    parser.add_argument("--limit", type=int, help="only the first N pairs")
    parser.add_argument("--fit", nargs="+", metavar="FILE", help="fit weights on these first")
    parser.add_argument("--cv", action="store_true", help="weights fitted without the family")
    parser.add_argument("--judge", action="store_true", help="ask a judge that knows the labels")
    parser.add_argument("--judge-error", type=float, default=0.0, help="share of its wrong words")
    options = parser.parse_args()
    pairs = read_pairs([options.file])[: options.limit]
    model_for = weights(options, pairs)
    with stores() as bench:
        bench.store(pairs)
        answers = bench.ask(pairs, model_for)
    found = figures(answers)
    if options.judge:
        answers, found = with_judge(answers, options.judge_error)
    show(answers, found)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
