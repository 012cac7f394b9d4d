"""Examples of a tool's input, taken from what worked: sent as ``input_examples``.

An example is worth its tokens when it shows what the schema cannot: how the arguments of a call
that succeeded went together. Only steps of proved traces count, and nothing that looks like a
secret leaves here.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from llmos_workers.contracts.tools import ToolCall, ToolSpec
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.execution.tools.schema import validate
from llmos_workers.kernel.redact import redact
from llmos_workers.kernel.secrets import REFERENCE

MAX_EXAMPLE_CHARS = 300
"""Longer inputs cost more tokens in every prompt than they teach."""

_WORD = re.compile(r"\w+")


class ToolExampleGenerator:
    """Chooses at most ``max_per_tool`` inputs for each tool."""

    def __init__(self, max_per_tool: int = 3) -> None:
        self._most = max_per_tool

    def generate_examples(
        self, specs: Iterable[ToolSpec], traces: Iterable[ExecutionTrace]
    ) -> dict[str, list[dict[str, Any]]]:
        """Examples by name of the tool; tools without any are left out.

        The caller chooses traces that it vouches for; of these, unproved, tainted and failing
        ones do not count here. The same traces give the same examples, so that prompts stay
        stable.
        """
        known = {spec.name: spec for spec in specs}
        seen: dict[str, Counter[str]] = {}
        for trace in traces:
            for call in extract_examples(trace):
                spec = known.get(call.name)
                if spec is not None and _fit(spec, call.arguments):
                    seen.setdefault(call.name, Counter())[canonical(call.arguments)] += 1
        chosen = {name: _diverse(found, self._most) for name, found in sorted(seen.items())}
        return {name: examples for name, examples in chosen.items() if examples}


def extract_examples(trace: ExecutionTrace) -> list[ToolCall]:
    """The calls of a trace that may serve as examples: proved, and successful each time."""
    if not trace.proved or trace.tainted or trace.success_rating < 1.0:
        return []
    return [step.call for step in trace.steps if step.ok and not step.exit_code]


def canonical(arguments: dict[str, Any]) -> str:
    """One spelling per input."""
    return json.dumps(arguments, ensure_ascii=False, sort_keys=True)


def _fit(spec: ToolSpec, arguments: dict[str, Any]) -> bool:
    text = canonical(arguments)
    return (
        len(arguments) > 0
        and len(text) <= MAX_EXAMPLE_CHARS
        and not validate(spec.input_schema, arguments)
        and redact(text) == text
        and not REFERENCE.search(text)
    )


def _diverse(found: Counter[str], most: int) -> list[dict[str, Any]]:
    """The most frequent input, then again and again the one least like those chosen."""
    left = sorted(found, key=lambda text: (-found[text], len(text), text))
    chosen: list[str] = []
    while left and len(chosen) < most:
        best = max(left, key=lambda text: _distance(text, chosen)) if chosen else left[0]
        if chosen and _distance(best, chosen) <= 0.2:
            break
        chosen.append(best)
        left.remove(best)
    return [json.loads(text) for text in chosen]


def _distance(text: str, chosen: list[str]) -> float:
    """0..1: how little it shares with the nearest one. Other arguments count before words."""
    return min(_unlike(text, other) for other in chosen)


def _unlike(one: str, other: str) -> float:
    fields = _jaccard(set(json.loads(one)), set(json.loads(other)))
    return 1 - (fields + _jaccard(set(_WORD.findall(one)), set(_WORD.findall(other)))) / 2


def _jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0
