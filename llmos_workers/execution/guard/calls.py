"""Judges a whole tool call: by its arguments, by who calls, and by the state of the system."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from llmos_workers.execution.guard.check import Judgement, check_command, check_python
from llmos_workers.execution.guard.paths import HIDDEN, Use, check_path
from llmos_workers.execution.guard.policy import GuardPolicy
from llmos_workers.execution.guard.urls import check_url
from llmos_workers.execution.guard.verdict import FINE, Finding, confirm, deny, worst

PATH_ARGUMENTS = ("path", "file", "folder", "file_path")
AGENT_FIELDS = frozenset(
    {"name", "tools", "description", "system_prompt", "model", "category", "triggers"}
)
"""What an agent may be given by another one; nothing that sets its powers besides ``tools``."""
_AGENT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Caller:
    """Who calls, and how the system feels."""

    agent: str = ""
    grants: frozenset[str] = field(default_factory=frozenset)
    safety: float = 0.5
    """-1 to 1."""
    budget_left: float = float("inf")
    """US dollars."""
    est_cost: float = 0.0
    """US dollars."""


def judge_call(
    tool: str, arguments: dict[str, Any], caller: Caller, policy: GuardPolicy
) -> Finding:
    """Grant, budget, arguments and state, the worst of them."""
    if tool not in caller.grants:
        return deny("grant", f"the agent {caller.agent} has no grant for {tool}")
    if not (0 <= caller.est_cost <= caller.budget_left):
        return deny("budget", "the call costs more than what is left")
    if tool in ("create_agent", "modify_agent"):
        judged = Judgement(judge_agent(tool, arguments, caller), destructive=False)
    else:
        judged = judge_arguments(arguments, policy, writes=tool in ("Write", "Edit"))
    return worst([judged.finding, judge_state(tool, judged.destructive, caller.safety)])


def judge_state(tool: str, destructive: bool, safety: float) -> Finding:
    """What low safety forbids. High safety allows nothing."""
    if safety < -0.5 and destructive:
        return deny("state", "the system's safety is too low for destructive operations now")
    if safety < 0 and tool in ("Bash", "Python", "Write", "Edit"):
        return confirm("state", "the system is cautious now")
    return FINE


def judge_arguments(arguments: dict[str, Any], policy: GuardPolicy, *, writes: bool) -> Judgement:
    """Command, code, address and path among a call's arguments."""
    findings, destructive = [], False
    command, code, url = (arguments.get(name) for name in ("command", "code", "url"))
    if isinstance(command, str):
        judged = check_command(command, policy)
        findings.append(judged.finding)
        destructive = judged.destructive
    if isinstance(code, str):
        judged = check_python(code, policy)
        findings.append(judged.finding)
        destructive = destructive or judged.destructive
    if isinstance(url, str):
        findings.append(check_url(url, policy))
    for name in PATH_ARGUMENTS:
        path = arguments.get(name)
        if isinstance(path, str):
            findings.append(check_argument_path(path, policy, writes=writes))
    return Judgement(worst(findings), destructive)


def check_argument_path(path: str, policy: GuardPolicy, *, writes: bool) -> Finding:
    """A path that a file tool gets: no shell has changed it."""
    if HIDDEN.search(path):
        return deny("hidden", "the path holds characters that cannot be seen")
    if path.startswith("~") or re.match(r"[a-z]+:|\$", path):
        return deny("path", f"{path!r} is not a plain path")
    return check_path(path, Use.WRITE if writes else Use.READ, policy, policy.workspace)


def judge_agent(tool: str, arguments: dict[str, Any], caller: Caller) -> Finding:  # noqa: PLR0911 - one way out for each case
    """An agent makes or changes another one: never itself, never more than it may itself."""
    name = str(arguments.get("name", ""))
    if not _AGENT_NAME.fullmatch(name):
        return deny("agent", f"{name!r} is not a plain name of an agent")
    if name == caller.agent:
        return deny("agent", "an agent does not change itself")
    unknown = set(arguments) - AGENT_FIELDS
    if unknown:
        return deny("agent", f"{', '.join(sorted(unknown))} is not for agents to give")
    for field_name in AGENT_FIELDS - {"tools"}:
        value = arguments.get(field_name, "")
        texts = value if isinstance(value, list) else [value]
        for text in texts:
            if not isinstance(text, str) or HIDDEN.search(text) or re.search(r"^---", text, re.M):
                return deny("agent", f"{field_name} would change the agent's front matter")
    tools = arguments.get("tools", [])
    if not isinstance(tools, list) or not set(map(str, tools)) <= caller.grants:
        return deny("agent", "an agent gives only what it may itself")
    if tool == "modify_agent":
        return confirm("agent", f"it changes the agent {name}")
    return FINE
