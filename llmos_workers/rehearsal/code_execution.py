"""Programmatic tool calling as the API speaks it: code of the model calls tools that we run.

A reply plays it with the API's own blocks: ``server_tool_use`` (the code), ``tool_use`` with a
``caller``, later ``code_execution_tool_result``. Nothing is executed; what is checked is that
requests keep the API's rules.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

CODE_TOOL = "code_execution_"
"""How the type of the tool begins, and that of callers."""


def called_by_code(block: dict[str, Any]) -> bool:
    """Whether a ``tool_use`` block was made by code."""
    caller = block.get("caller") or {}
    return block.get("type") == "tool_use" and str(caller.get("type")).startswith(CODE_TOOL)


def faults_of_tools(tools: Sequence[dict[str, Any]]) -> str:
    """What is wrong with who may call which tool; "" when nothing is."""
    offered = {str(tool.get("type")) for tool in tools}
    for index, tool in enumerate(tools):
        for caller in tool.get("allowed_callers") or []:
            if caller != "direct" and caller not in offered:
                return f"tools.{index}.allowed_callers: there is no tool of type {caller}"
    return ""


def faults_of_answers(
    asked: Sequence[dict[str, Any]], blocks: Sequence[dict[str, Any]], container: object
) -> str:
    """What is wrong with the message after calls that code made; "" when nothing is."""
    if not any(called_by_code(block) for block in asked):
        return ""
    if any(block.get("type") != "tool_result" for block in blocks):
        return "calls made by code are answered with tool_result blocks only"
    return "" if container else "container: required to answer calls made by code"


def container_of(request: dict[str, Any], content: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The container's part of a response: none, a new one, or the one that was sent."""
    used = any(str(block.get("type")) == "server_tool_use" for block in content)
    known = request.get("container")
    if not used and not known:
        return {}
    made = known or f"container_rehearsal_{secrets.token_hex(8)}"
    return {"container": {"id": made, "expires_at": "2100-01-01T00:00:00Z"}}
