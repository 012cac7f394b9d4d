"""Tool use that scales: 200 tools, what their prompt costs, whether they are found, and what a
program of calls saves.

    python -m bench.tools [--files N]

Ranking: the queries of ``bench/tools_parts/queries.tsv`` (written before there was a ranking), by
words alone and with meanings. Prompts and programs: the real agent loop, SDK and gate over HTTP
against a server that follows a script and counts tokens by a fixed rule (a quarter of the bytes).
No model decides anything here: these are token counts, not a claim about what a model would do.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bench.report import finish, table
from bench.tools_parts.catalog import catalog, queries
from bench.tools_parts.loop import Counted, Loop, says, uses
from llmos_workers.execution.tools.search_engine import ToolSearchEngine
from llmos_workers.execution.tools.shelf import ToolUse
from llmos_workers.learning.matching.embedder import bundled_embedder
from llmos_workers.rehearsal.brain import Reply
from llmos_workers.runtime_tools import embed_with

PURSE = "stripe_refund_payment"
SEARCH = uses("search_tools", query="give a customer the money of a payment back")
REFUND = uses(PURSE, payment_id="pay_1")
DONE = says("The payment was refunded.")


def main() -> None:
    """Run and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--files", type=int, default=29, help="read in the program of calls")
    files = options.parse_args().files
    figures: dict[str, float] = _ranking()
    with tempfile.TemporaryDirectory(prefix="llmos-bench-") as folder, Loop(Path(folder)) as loop:
        figures |= _prompts(loop)
        figures |= _programs(loop, files)
    finish(figures)


def _ranking() -> dict[str, float]:
    embed = embed_with(bundled_embedder())
    words, both = (
        _rates(ToolSearchEngine(catalog())),
        _rates(ToolSearchEngine(catalog(), embed=embed)),
    )
    rows = [("words (BM25)", *words), ("words and meanings", *both)]
    table(
        f"200 tools, {len(queries())} queries: a right one first, among the first five",
        ("by", "1", "5"),
        [(name, f"{first:.3f}", f"{five:.3f}") for name, first, five in rows],
    )
    return {
        "top1_rate_words": words[0],
        "top5_rate_words": words[1],
        "top1_rate": both[0],
        "top5_rate": both[1],
    }


def _rates(engine: ToolSearchEngine) -> tuple[float, float]:
    first = five = 0
    for query, right in queries():
        names = [found.spec.name for found in engine.search_tools(query, 5)]
        first += bool(right & set(names[:1]))
        five += bool(right & set(names))
    return first / len(queries()), five / len(queries())


def _prompts(loop: Loop) -> dict[str, float]:
    tools = [spec.name for spec in catalog()]
    ways: list[tuple[str, ToolUse, list[Reply]]] = [
        ("all in the prompt", ToolUse(search=False), [REFUND, DONE]),
        ("deferred, references", ToolUse(references=True), [SEARCH, REFUND, DONE]),
        ("deferred, joins the prompt", ToolUse(), [SEARCH, REFUND, DONE]),
    ]
    counted = {name: loop.run(answers, use, tools) for name, use, answers in ways}
    table(
        "One goal that needs one of 200 tools",
        ("tools", "turns", "first prompt", "all prompts", "micro-dollars"),
        [(n, c.turns, c.first_prompt, c.prompt, c.cost_micro) for n, c in counted.items()],
    )
    all_in, references, joins = counted.values()
    return {
        "tools": float(len(tools)),
        "prompt_token_ratio": max(_share(c, all_in) for c in (references, joins)),
        "run_prompt_token_ratio": max(c.prompt / all_in.prompt for c in (references, joins)),
    }


def _share(one: Counted, all_in: Counted) -> float:
    return one.first_prompt / all_in.first_prompt


def _programs(loop: Loop, files: int) -> dict[str, float]:
    """Which of many reports hold an error? A Glob and a Read for each report."""
    names = loop.reports(files)
    look = uses("Glob", pattern="*.log")
    reads = [uses("Read", path=name) for name in names]
    program = uses(
        "run_sequence",
        steps=[
            {"id": "files", "tool": "Glob", "arguments": {"pattern": "*.log"}},
            {
                "id": "logs",
                "for_each": "${{ files.output | lines }}",
                "tool": "Read",
                "arguments": {"path": "${{ item }}"},
            },
            {
                "id": "bad",
                "filter": "${{ logs }}",
                "where": [{"left": "${{ item.output }}", "op": "contains", "right": "ERROR"}],
            },
        ],
        **{"return": "${{ bad.item }}"},
    )
    end = says("Found.")
    at_once = Reply([block for read in reads for block in read.content], "tool_use")
    counted = {
        "one call a turn": loop.run([look, *reads, end]),
        "all reads in one turn": loop.run([look, at_once, end]),
        "run_sequence": loop.run([program, end]),
    }
    table(
        f"One goal of {files + 1} calls",
        ("way", "calls", "turns", "tokens", "micro-dollars"),
        [(n, c.calls, c.turns, c.tokens, c.cost_micro) for n, c in counted.items()],
    )
    single, together, sequence = counted.values()
    return {
        "calls": float(sequence.calls),
        "sequence_token_ratio": sequence.tokens / single.tokens,
        "sequence_token_ratio_parallel": sequence.tokens / together.tokens,
        "sequence_cost_ratio": sequence.cost_micro / single.cost_micro,
    }


if __name__ == "__main__":
    main()
