"""Cost and correctness of kinds of memory on one stream of realistic goals.

    python -m bench.workload [--goals N] [--seed S] [--svg FILE] [--faults]

A seeded stream (popular tasks and rare ones, other words, other values, look-alikes that are
other jobs, inputs that change between repeats, goals that cannot be done) runs through no
memory, caches of results, and llmos: without a judge of new wordings, with one that is always
right and has earned its trust before, and with a new one that errs in 5 % of its verdicts.
The model is the scripted rehearsal model; calls, tokens and dollars are those of its own log,
at the list prices of the configured model.

Each runs on a system of its own, the first three side by side; llmos with a trusted judge, whose
latencies are figures, has the machine for itself.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.report import finish, percentile, table
from bench.workload.arms import Arm, cosine_caches, exact_cache, floor_micro
from bench.workload.chart import Line, cost_curves
from bench.workload.stream import Ask, stream
from bench.workload.system import run_stream, trust_the_judge

COSINES = (0.80, 0.90, 0.95)
SMALL = "haiku"
SMALL_MODEL = {
    "judge": {"model": SMALL},
    "learning": {"notes_model": SMALL, "notes_share": 0.5, "perturb_timeout_secs": 60},
}
"""The small model judges, as it does by default at Anthropic, and makes the learner's notes: the
rehearsal's runs are too short for notes by the model itself to be worth their price. What is
followed may not hang on how fast the machine is that day: all slots are perturbed."""
NO_MEMORY = {"learning": {"perturb_timeout_secs": 0}}
"""No trace is used, so none is perturbed to find out how far it could be."""
NO_JUDGE = SMALL_MODEL | {"judge": {"backend": "none"}}
JUDGE_ERROR = 0.05


def main() -> None:
    """Run all arms and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--goals", type=int, default=100)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--svg", type=Path, help="draw the cost per goal here")
    options.add_argument("--faults", action="store_true", help="list every wrong result")
    given = options.parse_args()
    asks = stream(given.goals, given.seed)
    plain, no_judge, erring = _side_by_side(asks)
    judged = run_stream("llmos", asks, settings=SMALL_MODEL, prepare=trust_the_judge)
    caches = [
        *(exact_cache(asks, plain, digests=digests) for digests in (False, True)),
        *cosine_caches(asks, plain, COSINES),
    ]
    arms = [plain, *caches, no_judge, erring, judged]
    show(asks, arms, floor_micro(asks, plain))
    if given.faults:
        list_faults(asks, arms)
    if given.svg:
        given.svg.write_text(chart(arms), encoding="utf-8")
    figures(plain, caches, (judged, no_judge, erring), floor_micro(asks, plain))


def _side_by_side(asks: Sequence[Ask]) -> tuple[Arm, Arm, Arm]:
    """No memory, llmos without a judge, and with one that errs."""
    with ThreadPoolExecutor() as pool:
        runs = (
            pool.submit(run_stream, "no memory", asks, settings=NO_MEMORY, mode="learner"),
            pool.submit(run_stream, "llmos, no judge", asks, settings=NO_JUDGE),
            pool.submit(
                run_stream,
                "llmos, judge errs 5 %",
                asks,
                settings=SMALL_MODEL,
                rehearsal={"judge_error": JUDGE_ERROR},
            ),
        )
        plain, no_judge, erring = (run.result() for run in runs)
    return plain, no_judge, erring


def show(asks: Sequence[Ask], arms: Sequence[Arm], floor: int) -> None:
    """One row a kind of memory."""
    base = arms[0].micro
    rows = [
        (
            arm.name,
            arm.calls,
            f"{arm.tokens:,}",
            f"${arm.micro / 1e6:.4f}",
            f"{arm.micro / base:.3f}",
            len(arm.faults),
            f"{percentile([run.ms for run in arm.runs], 0.5):.0f}",
            f"{percentile([run.ms for run in arm.runs], 0.99):.0f}",
            " ".join(f"{mode}:{n}" for mode, n in Counter(r.mode for r in arm.runs).most_common()),
        )
        for arm in arms
    ]
    head = ("memory", "calls", "tokens", "cost", "ratio", "wrong", "p50 ms", "p99 ms", "runs")
    distinct = len({ask.identity for ask in asks})
    table(f"{len(asks)} goals, {distinct} distinct tasks and states of their inputs", head, rows)
    print(f"paying once for each of those: ${floor / 1e6:.4f}, ratio {floor / base:.3f}")


def list_faults(asks: Sequence[Ask], arms: Sequence[Arm]) -> None:
    """Every wrong result with its goal."""
    for arm in arms:
        for number, fault in arm.faults:
            print(f"{arm.name} #{number + 1}: {asks[number].goal!r}: {fault}")


def chart(arms: Sequence[Arm]) -> str:
    """The lines that tell the story."""
    styles = {
        "no memory": ("#c2410c", False),
        "exact text": ("#64748b", False),
        "cosine 0.90": ("#7c3aed", True),
        "llmos": ("#15803d", False),
        "llmos, no judge": ("#65a30d", False),
    }
    lines = [
        Line(
            arm.name,
            [run.spent.micro for run in arm.runs],
            styles[arm.name][0],
            note=f"{len(arm.faults)} wrong results",
            dashed=styles[arm.name][1],
        )
        for arm in arms
        if arm.name in styles
    ]
    return cost_curves(
        lines,
        title="What a goal costs as the stream goes on",
        note="Mean of the last tenth of the stream; scripted rehearsal model at list prices.",
    )


def figures(plain: Arm, caches: Sequence[Arm], ours: tuple[Arm, Arm, Arm], floor: int) -> None:
    """The last line."""
    by_name = {arm.name: arm for arm in caches}
    judged, no_judge, erring = ours
    base = plain.micro
    finish(
        {
            "cost_ratio": judged.micro / base,
            "floor_ratio": floor / base,
            "wrong": len(judged.faults),
            "wrong_no_judge": len(no_judge.faults),
            "cost_ratio_no_judge": no_judge.micro / base,
            "wrong_judge05": len(erring.faults),
            "cost_ratio_judge05": erring.micro / base,
            "exact_cost_ratio": by_name["exact text"].micro / base,
            "exact_wrong": len(by_name["exact text"].faults),
            "cosine80_wrong": len(by_name["cosine 0.80"].faults),
            "cosine90_cost_ratio": by_name["cosine 0.90"].micro / base,
            "cosine90_wrong": len(by_name["cosine 0.90"].faults),
            "cosine95_wrong": len(by_name["cosine 0.95"].faults),
            "p50_ms": percentile([run.ms for run in judged.runs], 0.5),
            "p99_ms": percentile([run.ms for run in judged.runs], 0.99),
            "no_memory_wrong": len(plain.faults),
        }
    )


if __name__ == "__main__":
    main()
