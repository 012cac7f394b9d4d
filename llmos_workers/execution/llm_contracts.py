"""What goes to the model and what comes back, as the rest of llmos speaks of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from llmos_workers.contracts.base import Contract, Micro, Record
from llmos_workers.contracts.errors import NewerFormat
from llmos_workers.contracts.outcome import Usage
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.kernel import codec
from llmos_workers.kernel.lease import Lease

JOURNAL_KIND = "model"
JUDGE_KIND = "judge"
"""Kind of a verdict's entry: it is no turn of the run."""

PLAN_KIND = "plan"
"""Kind of what a planner, a summary's writer or a reviewer said."""

JOURNAL_VERSION = 1

CODE_CALLER = "code_execution_"
"""How the type of a caller begins that is code of the endpoint's container."""


class ModelRequest(Contract):
    """One call of a model. Blocks are the API's own; cache_control is passed on as it is."""

    model: str
    """Id or alias (haiku, sonnet, opus)."""
    system: list[dict[str, Any]] = Field(default_factory=list)
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] = Field(default_factory=list)
    max_tokens: int = Field(ge=1)
    purpose: str = "learn"
    """Why the call is made, for the ledger: learn, mixed, judge, plan, ..."""
    output_schema: dict[str, Any] | None = None
    """JSON schema that the answer's text must follow."""
    effort: str | None = None
    """low, medium, high, xhigh or max; None leaves it to the model."""
    turn: int = Field(default=0, ge=0)
    """Which turn of its run this is, for the journal."""
    container: str = ""
    """Id of the endpoint's container in which earlier code of this run lives."""
    journal_kind: str = JOURNAL_KIND
    """What the journal files the response under: only ``model`` is a turn of the run."""

    def body(self, model_id: str) -> dict[str, Any]:
        """The request as the Messages API takes it."""
        body: dict[str, Any] = {
            "model": model_id,
            "max_tokens": self.max_tokens,
            "messages": self.messages,
        }
        if self.system:
            body["system"] = self.system
        if self.tools:
            body["tools"] = self.tools
        if self.container:
            body["container"] = self.container
        config: dict[str, Any] = {}
        if self.output_schema is not None:
            config["format"] = {"type": "json_schema", "schema": self.output_schema}
        if self.effort is not None:
            config["effort"] = self.effort
        if config:
            body["output_config"] = config
        return body


class ModelResponse(Record):
    """One message of a model."""

    content: list[dict[str, Any]]
    """Blocks as they came, to be sent back unmodified."""
    stop_reason: str
    usage: Usage
    cost_micro: Micro
    model: str
    request_id: str = ""
    container: str = ""
    """Id of the container that code of this message runs in."""

    @property
    def text(self) -> str:
        """All text blocks, joined."""
        return "".join(block["text"] for block in self.content if block.get("type") == "text")

    @property
    def tool_uses(self) -> list[ToolCall]:
        """The tool calls asked for. Only with stop_reason ``tool_use`` are they whole."""
        return [
            ToolCall(name=block["name"], arguments=block.get("input") or {}, call_id=block["id"])
            for block in self.content
            if block.get("type") == "tool_use"
        ]

    @property
    def answers_code(self) -> bool:
        """Whether code waits for the results: the API takes nothing but results then."""
        callers = [b.get("caller") or {} for b in self.content if b.get("type") == "tool_use"]
        return any(str(caller.get("type")).startswith(CODE_CALLER) for caller in callers)


@dataclass
class CallContext:
    """For whom a call is made, and when to stop it."""

    goal_id: str
    project: str
    lease: Lease | None = None
    """With one, reservation and settling are fenced, and the response is journaled."""
    goal_budget_micro: int | None = None
    cancelled: Callable[[], bool] = lambda: False
    """Asked between stream events and by a watching thread: must be cheap and thread-safe."""
    deadline: float | None = None
    """Unix time in seconds, as in the goal's options."""
    on_event: Callable[[str, dict[str, Any]], None] = lambda _kind, _data: None


def journal_entry(response: ModelResponse, turn: int, kind: str = JOURNAL_KIND) -> bytes:
    """A response as the goal's journal keeps it."""
    return codec.pack(
        {
            "v": JOURNAL_VERSION,
            "kind": kind,
            "turn": turn,
            "response": response.model_dump(mode="json"),
        }
    )


def read_journal_entry(data: bytes, kind: str = JOURNAL_KIND) -> tuple[int, ModelResponse] | None:
    """(turn, response) of a journal entry, None when it is of another kind.

    Raises CodecError for bytes that cannot be read, NewerFormat for other versions.
    """
    entry = codec.unpack(data)
    if not isinstance(entry, dict) or entry.get("kind") != kind:
        return None
    if entry.get("v") != JOURNAL_VERSION:
        raise NewerFormat("a journaled response", entry.get("v"), JOURNAL_VERSION)
    return entry["turn"], ModelResponse.model_validate(entry["response"])
