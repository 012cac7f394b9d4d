"""How good is a judge? python -m bench.judge PAIRS.jsonl --model MODEL [--endpoint URL]

Asks a real model about labelled pairs ({a, b, label: same|different, ...}), as llmos asks it about
new wordings, and counts. Without --endpoint the Messages API is used: with ANTHROPIC_API_KEY, or
at ANTHROPIC_BASE_URL. --endpoint is the base of an OpenAI-compatible one, such as
http://127.0.0.1:8080/v1. Costs real money: --limit pairs are asked, --budget is the most it takes.

JSON: recall (share of same pairs it says yes to), false_rate (share of different pairs it says
yes to), cost_usd_per_verdict, p50_ms; false_upper95 is the bound that llmos's own trust rests on,
and unsure counts what it would not say.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from pydantic import SecretStr

from bench.judging import question_of
from bench.report import finish, percentile, table
from bench.train_matching import read_pairs
from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.base import usd_to_micro
from llmos_workers.contracts.decision import MatchCandidate
from llmos_workers.contracts.errors import ModelTransient
from llmos_workers.embedded.server import EmbeddedServer
from llmos_workers.execution.judge_call import WHOLE, Judge, JudgeRequest, make_judge
from llmos_workers.execution.llm import ModelGateway
from llmos_workers.execution.llm_contracts import CallContext
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.economy import TokenEconomy
from llmos_workers.kernel.prices import Prices
from llmos_workers.learning.judge import SCHEMA, SYSTEM, UNSURE, YES, ask_text, read_verdict
from llmos_workers.learning.matching.compare import compare
from llmos_workers.learning.matching.embedder import bundled_embedder
from llmos_workers.learning.posterior import upper_bound

Pair = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """One verdict on one pair."""

    pair: Pair
    answer: str
    """yes, no, unsure; nothing when the endpoint gave no answer."""
    cost_micro: int
    seconds: float


def ask(judge: Judge, pairs: Sequence[Pair]) -> list[Asked]:
    """One verdict a pair, one after the other."""
    embed = bundled_embedder().embed
    told = []
    for number, pair in enumerate(pairs):
        held = compare(pair["a"], pair["b"], embed)
        candidate = MatchCandidate(
            trace_id="0" * 16, goal_text=pair["a"], stage="structure",
            confidence=held.confidence, differed=held.differed,
        )  # fmt: skip
        asked = question_of(pair["a"], pair["b"], candidate)
        context = CallContext(goal_id=f"bench-{number}", project="bench")
        started = time.perf_counter()
        try:
            response = judge.ask(JudgeRequest(SYSTEM, ask_text(asked), SCHEMA), context)
        except ModelTransient as error:
            print(f"no answer: {error}")
            told.append(Asked(pair, "", 0, time.perf_counter() - started))
            continue
        verdict = read_verdict(response.text, asked, whole=response.stop_reason in WHOLE)
        seconds = time.perf_counter() - started
        told.append(Asked(pair, verdict.answer, response.cost_micro, seconds))
    return told


def figures(told: Sequence[Asked]) -> dict[str, Any]:
    """What the judge is worth."""
    same = [one for one in told if one.pair["label"] == "same"]
    different = [one for one in told if one.pair["label"] == "different"]
    false = sum(one.answer == YES for one in different)
    answered = [one for one in told if one.answer]
    return {
        "recall": _share(sum(one.answer == YES for one in same), len(same)),
        "false_rate": _share(false, len(different)),
        "false_upper95": upper_bound(false, len(different)),
        "unsure": sum(one.answer == UNSURE for one in told),
        "unanswered": len(told) - len(answered),
        "same": len(same),
        "different": len(different),
        "cost_usd_per_verdict": round(
            _share(sum(one.cost_micro for one in answered), len(answered)) / 1e6, 7
        ),
        "p50_ms": percentile([one.seconds * 1_000 for one in answered] or [0.0], 0.5),
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def chosen(pairs: Sequence[Pair], limit: int, seed: int) -> list[Pair]:
    """A seeded sample of the pairs that a judge can be asked about."""
    usable = [pair for pair in pairs if pair["label"] in ("same", "different")]
    return random.Random(seed).sample(usable, min(limit, len(usable)))


def settings(model: str, endpoint: str | None) -> LLMOSConfig:
    """Where the judge is, and with which key."""
    key = os.environ.get("ANTHROPIC_API_KEY")
    judge: dict[str, Any] = {"model": model}
    if endpoint:
        judge |= {
            "backend": "openai",
            "base_url": endpoint,
            "api_key": os.environ.get("OPENAI_API_KEY"),
        }
    sdk = {
        "base_url": os.environ.get("ANTHROPIC_BASE_URL"),
        "api_key": SecretStr(key) if key else None,
    }
    return LLMOSConfig.from_dict({"judge": judge, "sdk": sdk})


def measure(config: LLMOSConfig, pairs: Sequence[Pair], budget_usd: float) -> list[Asked]:
    """Ask through the same gateway and ledger as a worker does."""
    prices = Prices.load(config.sdk.price_file)
    if config.judge.backend == "openai":
        prices = prices.with_free(config.judge.model or "")
    with (
        tempfile.TemporaryDirectory(prefix="llmos-bench-") as name,
        EmbeddedServer(Path(name) / "redis") as server,
        redis.Redis.from_url(f"{server.url}/2") as client,
    ):
        clock = SystemClock()
        economy = TokenEconomy(client, clock, prices, limit_micro=usd_to_micro(budget_usd))
        gateway = ModelGateway(config.sdk, economy, clock)
        judge = make_judge(config, economy, lambda: gateway)
        if judge is None:
            raise SystemExit("no judge is configured.")
        try:
            return ask(judge, pairs)
        finally:
            gateway.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", help="JSONL of labelled pairs")
    parser.add_argument("--model", required=True, help="id or alias of the model that judges")
    parser.add_argument("--endpoint", help="base URL of an OpenAI-compatible endpoint")
    parser.add_argument("--limit", type=int, default=200, help="pairs that are asked (200)")
    parser.add_argument("--seed", type=int, default=1, help="which pairs")
    parser.add_argument("--budget", type=float, default=1.0, help="most to spend, in dollars (1)")
    options = parser.parse_args()
    pairs = chosen(read_pairs([options.file]), options.limit, options.seed)
    told = measure(settings(options.model, options.endpoint), pairs, options.budget)
    found = figures(told)
    table(f"Judge {options.model}", ("figure", "value"), list(found.items()))
    for one in told:
        if one.pair["label"] == "different" and one.answer == YES:
            print(f"WRONG YES: {one.pair['a']!r} / {one.pair['b']!r}")
    finish(found)


if __name__ == "__main__":
    main()
