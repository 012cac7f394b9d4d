"""A rehearsal server per test, and the official SDK as its client."""

from __future__ import annotations

from collections.abc import Iterator

import anthropic
import pytest

from llmos_workers.rehearsal.server import RehearsalServer

MODEL = "claude-sonnet-5-5"


@pytest.fixture
def server() -> Iterator[RehearsalServer]:
    with RehearsalServer() as running:
        yield running


def client_of(url: str, key: str = "rehearsal") -> anthropic.Anthropic:
    """The SDK against that address, without retries."""
    # No certificates to load: they would be most of the time of a test.
    http = anthropic.DefaultHttpxClient(verify=False)
    return anthropic.Anthropic(base_url=url, api_key=key, max_retries=0, http_client=http)


@pytest.fixture
def client(server: RehearsalServer) -> Iterator[anthropic.Anthropic]:
    with client_of(server.url) as made:
        yield made


def tool(name: str, *fields: str) -> dict:
    """A tool definition whose arguments are all text."""
    schema = {"type": "object", "properties": {f: {"type": "string"} for f in fields}}
    return {"name": name, "description": name, "input_schema": schema}


TOOLS = [
    tool("Read", "path"),
    tool("Write", "path", "content"),
    tool("Edit", "path", "old", "new"),
    tool("Glob", "pattern"),
    tool("Grep", "pattern", "path"),
    tool("Bash", "command"),
]


def user(text: str) -> dict:
    return {"role": "user", "content": text}


def ask(client: anthropic.Anthropic, goal: str, **changes):
    """One unstreamed call."""
    given = {"model": MODEL, "max_tokens": 4096, "messages": [user(goal)], "tools": TOOLS}
    return client.messages.create(**(given | changes))


def ask_streamed(client: anthropic.Anthropic, goal: str, **changes):
    """The same call, streamed to its end."""
    given = {"model": MODEL, "max_tokens": 4096, "messages": [user(goal)], "tools": TOOLS}
    with client.messages.stream(**(given | changes)) as stream:
        return stream.get_final_message()
