"""A local model's arguments: python -m bench.agentic [--endpoint URL] [--model NAME]

Asks a model behind chat completions, as run_agentic_follower.py does, for the arguments of
bench/data/agentic.jsonl: known goals with other values, worded alike and reworded. Then, what came
of the follower's checks: how many of these goals and of look-alikes it would run, and how many
wrongly. Without --endpoint: SmolLM2 of ``make edge-model``, which shows the machinery only.

JSON: ``exact_rate`` (all arguments right, of all goals), ``exact_alike_rate``,
``exact_reworded_rate``, ``chance_rate`` (of answers drawn blindly from what the schema allows);
``substituted_rate`` (run without a model), ``followed_rate`` (run at all),
``wrong_followed`` (run with other values, or a look-alike); ``p50_s`` of one answer.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.edge import trace_of
from bench.local_model import missing, smollm2
from bench.report import finish, table
from edge_runtime import run_agentic_follower as agentic
from edge_runtime import run_follower
from llmos_workers.learning.edge_item import edge_item

DATA = Path(__file__).parent / "data" / "agentic.jsonl"
DEVICE: dict[str, Any] = {"words": {}}


@dataclass
class Tally:
    """Counts by kind of goal: alike, reworded, lookalike."""

    asked: Counter[str] = field(default_factory=Counter)
    exact: Counter[str] = field(default_factory=Counter)
    substituted: Counter[str] = field(default_factory=Counter)
    followed: Counter[str] = field(default_factory=Counter)
    chance: float = 0.0
    """How many goals blind answers would get right, on average."""
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Goals that would be run as something else."""


def said(model: agentic.Model, item: dict[str, Any], goal: str) -> Any:
    """What the model says, unchecked; None when it says nothing of use."""
    try:
        asked = agentic.bare(goal)
        return model.fill(item, asked, agentic.choices(item, asked))
    except run_follower.Refusal:
        return None


def chance_of(item: dict[str, Any], goal: str) -> float:
    """How likely a blind choice of the schema's values is to be any one answer."""
    try:
        allowed = agentic.choices(item, agentic.bare(goal))
    except run_follower.Refusal:
        return 0.0
    return 1.0 / math.prod(len(texts) for texts in allowed.values())


def may_ask(item: dict[str, Any], goal: str) -> bool:
    """Whether the follower would ask a model about the goal at all."""
    try:
        agentic.candidate([item], goal, DEVICE, run_follower.NoMatch("", {}))
    except run_follower.Refusal:
        return False
    return True


def checked(item: dict[str, Any], goal: str, answer: Any) -> dict[str, str] | None:
    """With which values the follower would run the goal after this answer; None: not at all."""
    if not may_ask(item, goal):
        return None
    try:
        wordings = agentic.wordings_of(item, DEVICE)
        return agentic.check_values(item, wordings, agentic.bare(goal), answer)
    except run_follower.Refusal:
        return None


@dataclass(frozen=True)
class Question:
    """One goal of some kind; ``wanted`` None: a look-alike, to be refused."""

    kind: str
    goal: str
    wanted: dict[str, str] | None


def ask(tally: Tally, model: agentic.Model, item: dict[str, Any], question: Question) -> None:
    """One goal, first of the model alone, then as the follower would run it."""
    kind, goal, wanted = question.kind, question.goal, question.wanted
    tally.asked[kind] += 1
    answer = None
    if wanted is not None or may_ask(item, goal):
        began = time.perf_counter()
        answer = said(model, item, goal)
        tally.seconds.append(time.perf_counter() - began)
    if wanted is not None:
        tally.exact[kind] += answer == wanted
        tally.chance += chance_of(item, goal)
    values: dict[str, str] | None
    try:
        values = run_follower.match(item, goal)
        tally.substituted[kind] += 1
    except run_follower.Refusal:
        values = checked(item, goal, answer)
    tally.followed[kind] += values is not None
    if values is not None and values != wanted:
        tally.wrong.append(goal)


def cases() -> list[dict[str, Any]]:
    """Known goals with their values, the same otherwise worded, and look-alikes."""
    return [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]


def measure(model: agentic.Model, known: list[dict[str, Any]]) -> Tally:
    """All goals of the set."""
    tally = Tally()
    for case in known:
        item = edge_item(trace_of(case["goal"], case["slots"]))
        for kind in ("alike", "reworded"):
            question = Question(kind, case[kind]["goal"], case[kind]["values"])
            ask(tally, model, item, question)
        for goal in case["lookalikes"]:
            ask(tally, model, item, Question("lookalike", goal, None))
    return tally


def main() -> None:
    """Entry point."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    options.add_argument("--endpoint", help="chat completions: http://127.0.0.1:11434")
    options.add_argument("--model", default="", help="which of its models")
    options.add_argument("--timeout", type=float, default=120.0, help="seconds for one answer")
    given = options.parse_args()
    if not given.endpoint and (why := missing()):
        options.error(f"--endpoint URL, or {why}")
    with nullcontext(given.endpoint) if given.endpoint else smollm2() as endpoint:
        model = agentic.Model(endpoint, given.model, given.timeout)
        tally = measure(model, cases())
    _tell(tally, given.model or ("its only model" if given.endpoint else "SmolLM2-135M"))


def _tell(tally: Tally, name: str) -> None:
    kinds = ("alike", "reworded", "lookalike")
    rows = [
        (kind, tally.asked[kind], tally.exact[kind], tally.substituted[kind], tally.followed[kind])
        for kind in kinds
    ]
    table(name, ("goals", "asked", "model exact", "needs no model", "followed"), rows)
    for goal in tally.wrong:
        print(f"WRONG: {goal}")
    goals = {kind: max(1, tally.asked[kind]) for kind in kinds}
    both = goals["alike"] + goals["reworded"]
    finish(
        {
            "model": name,
            "exact_rate": (tally.exact["alike"] + tally.exact["reworded"]) / both,
            "exact_alike_rate": tally.exact["alike"] / goals["alike"],
            "exact_reworded_rate": tally.exact["reworded"] / goals["reworded"],
            "chance_rate": tally.chance / both,
            "substituted_rate": sum(tally.substituted[kind] for kind in kinds[:2]) / both,
            "followed_rate": sum(tally.followed[kind] for kind in kinds[:2]) / both,
            "wrong_followed": len(tally.wrong),
            "p50_s": statistics.median(tally.seconds),
        }
    )


if __name__ == "__main__":
    main()
