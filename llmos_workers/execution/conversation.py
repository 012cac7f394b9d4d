"""The messages that a model and its tools have exchanged so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmos_workers.contracts.tools import ToolCall, ToolResult
from llmos_workers.execution.llm_contracts import ModelResponse

SPOKEN = frozenset({"text", "thinking", "redacted_thinking"})
"""Blocks of the model's own; all others come from tools."""


KEEP_RESULTS = 4
LONG_RESULT_CHARS = 600


class Conversation:
    """The messages so far. Assistant blocks go back to the API unmodified."""

    def __init__(self, first: str) -> None:
        self.messages: list[dict[str, Any]] = [{"role": "user", "content": [text_block(first)]}]
        self.partial = ""
        self.continuations = 0
        self.container = ""
        """Of the endpoint, in which code of the model lives."""
        self._code_waits = False
        self._held: list[dict[str, Any]] = []
        """What is said as soon as no code waits for results."""

    def assistant(self, response: ModelResponse) -> None:
        """Add what the model said."""
        # An assistant turn without blocks is refused by the API.
        if response.content:
            self.messages.append({"role": "assistant", "content": response.content})
        self.container = response.container or self.container
        self._code_waits = response.answers_code

    def resume(self, response: ModelResponse) -> None:
        """A paused turn goes back as it is, and goes on."""
        self.assistant(response)
        if not response.content or response.content[-1].get("type") in SPOKEN:
            # Words of the assistant at the end would be a prefill, which models refuse.
            self.user([text_block("Go on.")])

    def user(self, blocks: list[dict[str, Any]]) -> None:
        """Add what it is told. Code that waits gets results only; words follow after it."""
        if self._code_waits:
            self._held += [block for block in blocks if block["type"] != "tool_result"]
            blocks = [block for block in blocks if block["type"] == "tool_result"]
        else:
            blocks, self._held = [*blocks, *self._held], []
        self.messages.append({"role": "user", "content": blocks})

    def tell(self, context: tuple[str, ...]) -> None:
        """Add what hooks want said to the message that is about to be sent."""
        if context and self._code_waits:
            self._held += [text_block(said) for said in context]
        elif context:
            blocks = self.messages[-1]["content"]
            self.messages[-1] = self.messages[-1] | {
                "content": [*blocks, *(text_block(said) for said in context)]
            }

    def compact(self, least: int, *, keep: int = KEEP_RESULTS) -> int:
        """Replace the long results of tools by a note, but for the newest ``keep``, if that saves
        ``least`` characters; returns how many it saved. What the assistant said stays as it is,
        as the API demands.
        """
        gone, changed = 0, list(self.messages)
        places = [
            (at, number)
            for at, message in enumerate(self.messages)
            for number, block in enumerate(message["content"])
            if message["role"] == "user" and block.get("type") == "tool_result"
        ]
        for at, number in places[: max(0, len(places) - keep)]:
            blocks = list(changed[at]["content"])
            said = blocks[number]["content"]
            if isinstance(said, str) and len(said) > LONG_RESULT_CHARS:
                gone += len(said)
                note = f"[removed to save room: {len(said):,} characters; call again if needed]"
                blocks[number] = blocks[number] | {"content": f"{said[:200]}\n{note}"}
                changed[at] = changed[at] | {"content": blocks}
        if gone < least:
            return 0
        self.messages = changed
        return gone

    def finish(self, text: str) -> str:
        """The whole of an answer that came in pieces."""
        return (self.partial + text).strip()


def text_block(text: str) -> dict[str, Any]:
    """A text block."""
    return {"type": "text", "text": text}


def tool_result_block(call: ToolCall, result: ToolResult) -> dict[str, Any]:
    """A tool's result as the Messages API takes it."""
    text = result.output if result.ok else "\n".join(filter(None, (result.error, result.output)))
    return {
        "type": "tool_result",
        "tool_use_id": call.call_id,
        "content": text or "(no output)",
        "is_error": not result.ok,
    }


def references_block(call: ToolCall, names: Sequence[str]) -> dict[str, Any]:
    """The answer to a search for tools, for endpoints that look the tools up themselves."""
    references = [{"type": "tool_reference", "tool_name": name} for name in names]
    return {"type": "tool_result", "tool_use_id": call.call_id, "content": references}
