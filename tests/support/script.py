"""A model whose replies a test writes down, served by the rehearsal server over HTTP."""

from __future__ import annotations

from typing import Any

from llmos_workers.rehearsal.brain import Brain, Reply


class Script(Brain):
    """Gives its replies in order, the last one as often as it is asked; keeps the requests."""

    def __init__(self, *replies: Reply) -> None:
        super().__init__([])
        self.replies = list(replies)
        self.requests: list[dict[str, Any]] = []

    def reply(self, request: dict[str, Any]) -> Reply:
        self.requests.append(request)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


def text(words: str) -> dict[str, Any]:
    """A text block."""
    return {"type": "text", "text": words}


def use(name: str, number: int = 1, **arguments: Any) -> dict[str, Any]:
    """A block that calls a tool."""
    return {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": arguments}


def says(*blocks: dict[str, Any], stop: str = "end_turn") -> Reply:
    """A reply that ends the turn."""
    return Reply(list(blocks), stop)


def calls(*blocks: dict[str, Any]) -> Reply:
    """A reply that calls tools."""
    return Reply(list(blocks), "tool_use")
