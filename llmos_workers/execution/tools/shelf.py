"""The tools of one run: which stand in the prompt, and which are found when they are needed.

With few tools all stand in the prompt, and nothing is searched. With many, the basic ones stand
there and the others are deferred: the model finds them with ``search_tools``. An endpoint that
knows tool references gets all definitions marked ``defer_loading`` and keeps its prompt cache;
elsewhere a found tool joins the prompt of the next turn, behind what was there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmos_workers.contracts.tools import RUN_SEQUENCE, SEARCH_TOOLS, Effect, ToolSpec
from llmos_workers.execution.sequence_schema import SEQUENCE_SPEC
from llmos_workers.execution.tools.search_engine import Embed, ToolSearchEngine

MAX_AREAS_CHARS = 400

CODE_EXECUTION = "code_execution_20260521"
"""Type of the endpoint's tool that runs code, and of callers that are such code."""

SEARCH_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "minLength": 1, "maxLength": 1_000},
        "limit": {"type": "integer", "minimum": 1, "maximum": 20},
    },
    "required": ["query"],
    "additionalProperties": False,
}

SEARCH_SPEC = ToolSpec(
    name=SEARCH_TOOLS,
    description="Find tools that are not shown.",
    input_schema=SEARCH_SCHEMA,
    effect=Effect.READ,
    informative=True,
)
"""As the gate knows it; the model is told more, see ``_search_spec``."""

Examples = Mapping[str, Sequence[dict[str, Any]]]
"""Inputs that worked before, by name of the tool."""


@dataclass(frozen=True)
class ToolUse:
    """How tools are offered to the model; see the settings of the same meaning."""

    search: bool = True
    defer_by_default: bool = True
    defer_threshold: int = 20
    """Up to so many tools all stand in the prompt."""
    top_k: int = 5
    references: bool = False
    """The endpoint knows defer_loading, tool_reference blocks and input_examples."""
    sequences: bool = True
    max_sequence_calls: int = 200
    code_execution: bool = False
    """Offer the endpoint's own programmatic tool calling."""
    compact_tokens: int = 120_000
    embed: Callable[[], Embed | None] = field(default=lambda: None)
    """Asked at the first search."""


class ToolShelf:
    """What a run's model is offered. ``needed`` are names that stand in the prompt anyway."""

    def __init__(
        self,
        specs: Iterable[ToolSpec],
        use: ToolUse,
        *,
        examples: Examples | None = None,
        needed: Iterable[str] = (),
    ) -> None:
        every = sorted(specs, key=lambda spec: spec.name)
        self._use = use
        self._examples = examples or {}
        self._deferred = {
            spec.name: spec for spec in _deferrable(every, use) if spec.name not in set(needed)
        }
        self._loaded = [spec for spec in every if spec.name not in self._deferred]
        self._found: list[ToolSpec] = []
        self._engine: ToolSearchEngine | None = None

    @property
    def references(self) -> bool:
        """Whether a search is answered with references."""
        return self._use.references

    @property
    def deferred(self) -> list[str]:
        """Names of the tools that have to be found."""
        return list(self._deferred)

    @property
    def offers(self) -> frozenset[str]:
        """Which of the run's own tools the model has."""
        own = {SEARCH_TOOLS} if self._deferred else set()
        return frozenset(own | ({RUN_SEQUENCE} if self._use.sequences and self._loaded else set()))

    def search(self, query: str, limit: int | None = None) -> list[str]:
        """Names of the deferred tools that fit, best first; they count as found from now on."""
        if self._engine is None:
            self._engine = ToolSearchEngine(self._deferred.values(), embed=self._use.embed())
        names = [f.spec.name for f in self._engine.search_tools(query, limit or self._use.top_k)]
        self.found(names)
        return names

    def found(self, names: Iterable[str]) -> None:
        """Put deferred tools into the prompt of the next turn."""
        for name in names:
            spec = self._deferred.get(name)
            if spec is not None and spec not in self._found:
                self._found.append(spec)

    def describe(self, name: str) -> str:
        """A deferred tool in one line."""
        return f"{name}: {self._deferred[name].description.splitlines()[0]}"

    def blocks(self) -> list[dict[str, Any]]:
        """The tools as the Messages API takes them. The beginning never changes in a run."""
        blocks = [self._block(spec) for spec in self._loaded]
        if SEARCH_TOOLS in self.offers:
            blocks.append(_plain(_search_spec(self._deferred)))
        if RUN_SEQUENCE in self.offers:
            blocks.append(_plain(SEQUENCE_SPEC))
        if self._use.code_execution:
            blocks.append({"type": CODE_EXECUTION, "name": "code_execution"})
        if self._use.references:
            blocks += [self._block(s) | {"defer_loading": True} for s in self._deferred.values()]
        else:
            blocks += [self._block(spec) for spec in self._found]
        return blocks

    def _block(self, spec: ToolSpec) -> dict[str, Any]:
        block = _plain(spec)
        if self._use.code_execution:
            block["allowed_callers"] = ["direct", CODE_EXECUTION]
        examples = [dict(example) for example in self._examples.get(spec.name, ())]
        if examples and self._use.references:
            block["input_examples"] = examples
        elif examples:
            block["description"] += _in_words(examples)
        return block


def _deferrable(specs: Sequence[ToolSpec], use: ToolUse) -> list[ToolSpec]:
    if not use.search or len(specs) <= use.defer_threshold:
        return []
    return [
        spec
        for spec in specs
        if (use.defer_by_default if spec.defer_loading is None else spec.defer_loading)
    ]


def _plain(spec: ToolSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "description": spec.description,
        "input_schema": spec.input_schema,
    }


def _in_words(examples: list[dict[str, Any]]) -> str:
    from llmos_workers.execution.tools.examples import canonical

    return "\nInputs that worked before: " + " ".join(canonical(e) for e in examples)


def _search_spec(deferred: Mapping[str, ToolSpec]) -> ToolSpec:
    areas = sorted({_area(name) for name in deferred})
    told = ", ".join(areas)
    if len(told) > MAX_AREAS_CHARS:
        told = told[:MAX_AREAS_CHARS].rpartition(",")[0] + ", …"
    words = (
        f"Find tools that are not shown: there are {len(deferred)} more, about {told}. "
        "Say in a few words what the tool has to do; those that fit best can be called from then "
        "on. Search before you say that something cannot be done."
    )
    return SEARCH_SPEC.model_copy(update={"description": words})


def _area(name: str) -> str:
    """``github`` of ``github_create_issue`` and of ``mcp__github__create_issue``."""
    parts = name.split("__")
    return parts[1] if len(parts) > 2 else name.split("_", maxsplit=1)[0]
