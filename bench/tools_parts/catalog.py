"""Two hundred tools as an office and an operations team would connect them, and what people ask.

``catalog.tsv`` holds name, description and arguments; ``queries.tsv`` a query and its right
answers, written before there was a ranking.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmos_workers.contracts.tools import Effect, ToolResult, ToolSpec
from llmos_workers.execution.tools.base import ToolContext, success

HERE = Path(__file__).parent
KINDS: dict[str, dict[str, Any]] = {
    "": {"type": "string"},
    "i": {"type": "integer"},
    "n": {"type": "number"},
    "b": {"type": "boolean"},
    "a": {"type": "array", "items": {"type": "string"}},
}


@dataclass(frozen=True)
class CatalogTool:
    """A tool that only says what it was asked."""

    spec: ToolSpec

    def run(self, arguments: dict[str, Any], ctx: ToolContext) -> ToolResult:
        """The arguments, as a sentence."""
        del ctx
        return success(f"{self.spec.name}: done with {arguments}")


def catalog() -> list[ToolSpec]:
    """The tools."""
    lines = (HERE / "catalog.tsv").read_text().splitlines()
    return [_spec(*line.split("\t")) for line in lines]


def queries() -> list[tuple[str, set[str]]]:
    """Each query with the tools that serve it."""
    lines = (HERE / "queries.tsv").read_text().splitlines()
    pairs = (line.split("\t") for line in lines if not line.startswith("#"))
    return [(query, set(names.split(","))) for query, names in pairs]


def _spec(name: str, description: str, arguments: str) -> ToolSpec:
    properties: dict[str, Any] = {}
    required = []
    for argument in arguments.split():
        plain, _, kind = argument.partition(":")
        if plain.endswith("!"):
            plain = plain[:-1]
            required.append(plain)
        told = {"description": plain.replace("_", " ").capitalize()}
        choices = {"type": "string", "enum": kind.split("/")} if "/" in kind else KINDS.get(kind)
        properties[plain] = {**(choices or {}), **told}
    schema = {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    return ToolSpec(
        name=name,
        description=description,
        input_schema=schema,
        effect=Effect.EXTERNAL,
        informative=True,
    )
