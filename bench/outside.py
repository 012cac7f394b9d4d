"""Other people's words: python -m bench.outside REQUESTS.nl [--store N] [--ask N]

REQUESTS.nl holds one request a line, and REQUESTS.cm beside it the shell command each meant.
N requests are stored as traces that run their command, with the slots that are found without a
model's word; others are asked, and every pair that would be followed is printed to be read, with
the command that would run and the one that was meant. Equal commands are only a hint: the same
can be done by two commands, and one request can be worded too loosely for either.

JSON: ``followed`` counts both kinds, ``bound`` those with another value in a slot,
``same_command`` those whose command came out letter by letter.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.report import finish
from llmos_workers.config import DispatcherConfig
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep
from llmos_workers.learning.index.edge import EdgeIndex
from llmos_workers.learning.matching.embedder import MiniLMEmbedder, bundled_embedder
from llmos_workers.learning.matching.matcher import GoalMatcher
from llmos_workers.learning.matching.slots import discover_slots, fill
from llmos_workers.learning.outbox import entries_of
from llmos_workers.learning.signature import goal_signature

PROJECT = "default"
THRESHOLD = DispatcherConfig().follower_threshold


class Shelf:
    """Traces in memory."""

    def __init__(self) -> None:
        self.traces: dict[str, ExecutionTrace] = {}

    def find_exact(self, _project: str, signature: str) -> ExecutionTrace | None:
        """By the goal's own wording."""
        return self.traces.get(signature)

    def get_many(self, _project: str, trace_ids: Sequence[str]) -> dict[str, ExecutionTrace]:
        """Those there are."""
        return {key: self.traces[key] for key in trace_ids if key in self.traces}


@dataclass(frozen=True)
class Followed:
    """A request that would be answered by another's command."""

    asked: str
    stored: str
    meant: str
    would_run: str
    bound: bool


def read(file: Path) -> list[tuple[str, str]]:
    """(request, command) of each line; the same request twice counts once."""
    requests = file.read_text(encoding="utf-8").splitlines()
    commands = file.with_suffix(".cm").read_text(encoding="utf-8").splitlines()
    found = dict(zip(map(str.strip, requests), map(str.strip, commands), strict=True))
    by_signature = {goal_signature(text): (text, command) for text, command in found.items()}
    return list(by_signature.values())


def trace_of(request: str, command: str) -> ExecutionTrace:
    """A trace that runs the command."""
    signature = goal_signature(request)
    steps = (TraceStep(call=ToolCall(name="Bash", arguments={"command": command})),)
    return ExecutionTrace(
        trace_id=signature,
        project=PROJECT,
        goal_signature=signature,
        goal_text=request,
        slots=discover_slots(request, steps),
        steps=steps,
    )


def follow(
    stored: Sequence[tuple[str, str]],
    asked: Sequence[tuple[str, str]],
    folder: Path,
    embedder: MiniLMEmbedder,
) -> list[Followed]:
    """Store all of ``stored``, ask all of ``asked``."""
    shelf, index = Shelf(), EdgeIndex(folder / "index", embedder.dim)
    try:
        for request, command in stored:
            trace = trace_of(request, command)
            shelf.traces[trace.trace_id] = trace
            index.upsert(entries_of(trace, embedder))
        matcher = GoalMatcher(shelf, index, embedder)
        found = []
        for request, command in asked:
            best = matcher.match(request, PROJECT).best
            if best is None or best.confidence < THRESHOLD:
                continue
            trace = shelf.traces[best.trace_id]
            steps = fill(trace.steps, trace.slots, best.slots)
            would_run = str(steps[0].call.arguments["command"])
            bound = best.slots != {slot.name: slot.value for slot in trace.slots}
            found.append(Followed(request, trace.goal_text, command, would_run, bound))
        return found
    finally:
        index.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="requests, one a line; commands beside it in .cm")
    parser.add_argument("--store", type=int, default=2_000)
    parser.add_argument("--ask", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    pairs = read(given.file)
    random.Random(given.seed).shuffle(pairs)
    stored, asked = pairs[: given.store], pairs[given.store :][: given.ask]
    with tempfile.TemporaryDirectory(prefix="llmos-bench-") as folder:
        found = follow(stored, asked, Path(folder), bundled_embedder())
    for at, pair in enumerate(found, 1):
        same = "same command" if pair.would_run == pair.meant else f"meant:  {pair.meant}"
        print(f"{at}. {pair.asked}\n   stored: {pair.stored}\n   runs:   {pair.would_run}")
        print(f"   {same}")
    finish(
        {
            "stored": len(stored),
            "asked": len(asked),
            "followed": len(found),
            "bound": sum(pair.bound for pair in found),
            "same_command": sum(pair.would_run == pair.meant for pair in found),
        }
    )


if __name__ == "__main__":
    main()
