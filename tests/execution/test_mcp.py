"""Tools of a real MCP server, started as a process and spoken to over its pipes."""

from __future__ import annotations

import json
import sys

import pytest

from llmos_workers.contracts.errors import ConfigError
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.execution.once import is_outside
from llmos_workers.execution.tools.mcp_config import McpServer, read_servers
from llmos_workers.execution.tools.mcp_servers import McpConnection
from llmos_workers.execution.tools.registry import ToolRegistry

pytest.importorskip("mcp")

SERVER = '''
import os
from mcp.server import MCPServer

server = MCPServer("toy")

@server.tool()
def add(a: int, b: int = 1) -> str:
    """Add two numbers."""
    return str(a + b)

@server.tool()
def keys() -> str:
    """Names of the environment."""
    return " ".join(os.environ)

@server.tool()
def fail() -> str:
    """Fail."""
    raise ValueError("no")

@server.tool()
def die() -> str:
    """Die."""
    os._exit(1)

server.run()
'''


@pytest.fixture
def connection(tmp_path):
    (tmp_path / "server.py").write_text(SERVER)
    server = McpServer(command=sys.executable, args=(str(tmp_path / "server.py"),))
    made = McpConnection("toy", server)
    yield made
    made.close()


@pytest.fixture
def ask(connection, registry, make_gate, gate_context):
    registry.add_source("mcp__toy__", connection.tools)

    def call(tool: str, grants=("add", "keys", "fail", "die"), **arguments):
        context = gate_context(grants=frozenset(f"mcp__toy__{name}" for name in grants))
        return make_gate().call(ToolCall(name=f"mcp__toy__{tool}", arguments=arguments), context)

    return call


def test_its_tools_are_called_through_the_gate(ask, registry):
    assert "mcp__toy__add" not in registry.names(), "a server is started when it is needed"
    assert (ask("add", a=2, b=3).output, ask("add", a=2).output) == ("5", "3")
    assert ask("add", a="x").denied_by == "schema"
    assert ask("add", grants=("keys",), a=1).denied_by == "grant"
    assert ask("nothing").denied_by == "unknown_tool"
    assert not ask("fail").ok


def test_each_call_is_an_effect_outside_and_its_answer_comes_from_outside(registry, connection):
    registry.add_source("mcp__toy__", connection.tools)
    [spec] = registry.specs(["mcp__toy__add"])
    assert is_outside(spec)
    assert spec.from_outside


def test_it_gets_no_keys(ask, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-canary")
    assert "ANTHROPIC" not in ask("keys").output


def test_a_server_that_dies_is_a_failed_call_and_starts_again(ask):
    assert not ask("die").ok
    assert ask("add", a=1).output == "2"


def test_a_server_that_cannot_be_started_is_told(registry):
    gone = McpConnection("toy", McpServer(command="/does/not/exist"))
    registry.add_source("mcp__toy__", gone.tools)
    assert registry.find("mcp__toy__add") is None
    gone.close()


def test_servers_are_read_from_the_usual_file(tmp_path):
    file = tmp_path / "mcp.json"
    assert read_servers(file) == {}
    file.write_text(json.dumps({"mcpServers": {"a": {"url": "http://127.0.0.1:1/mcp"}}}))
    assert read_servers(file)["a"].url == "http://127.0.0.1:1/mcp"
    file.write_text(json.dumps({"mcpServers": {"a": {"url": "x", "command": "y"}}}))
    with pytest.raises(ConfigError, match="either command or url"):
        read_servers(file)
    assert ToolRegistry().find("mcp__a__b") is None
