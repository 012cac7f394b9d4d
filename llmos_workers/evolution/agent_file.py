"""One agent as a Markdown file: YAML front matter, then the system prompt. Strict."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError

from llmos_workers.config_keys import near_miss
from llmos_workers.contracts.agents import AGENT_NAME, AUTO, AgentDefinition
from llmos_workers.contracts.bounds import TOOL_NAME, BoundsError, parse_bounds, plain_bounds
from llmos_workers.contracts.errors import MalformedFile
from llmos_workers.execution.net.address import is_host_name, is_internal, is_number
from llmos_workers.kernel.front_matter import FrontMatterError, dump_front_matter, load_mapping

FENCE = "---"
FIELDS = tuple(name for name in AgentDefinition.model_fields if name not in ("prompt", "path"))
REQUIRED = ("name", "description")
STATUSES = ("active", "disabled")
MAX_FILE_BYTES = 65_536
MAX_DESCRIPTION_CHARS = 1_000


def parse_agent(text: str, *, stem: str, path: str) -> AgentDefinition:
    """The agent in a file named ``<stem>.md``. Raises MalformedFile with line and reason."""
    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or lines[0].rstrip() != FENCE:
        raise MalformedFile(path, f"must start with a line '{FENCE}'.", line=1)
    end = next((n for n, line in enumerate(lines[1:], 1) if line.rstrip() == FENCE), None)
    if end is None:
        raise MalformedFile(path, f"the front matter has no closing line '{FENCE}'.", line=1)
    try:
        fields = load_mapping("\n".join(lines[1:end]) + "\n")
    except FrontMatterError as error:
        raise MalformedFile(path, error.reason, line=error.line + 1) from None
    prompt = "\n".join(lines[end + 1 :]).strip()
    head = lines[:end]
    problem = _first_problem(fields, stem)
    if problem:
        field, reason = problem
        raise MalformedFile(path, reason, line=_line_of(field, head))
    fields = _with_bounds(fields, path, head)
    if not prompt:
        raise MalformedFile(path, "the prompt below the front matter is empty.", line=end + 1)
    return _build(fields, prompt, path, head)


def _with_bounds(fields: dict[str, Any], path: str, head: list[str]) -> dict[str, Any]:
    """The fields with bounds read. A tool that is not granted is a typing error: what was meant
    would be bound by nothing. Raises MalformedFile.
    """
    if "bounds" not in fields:
        return fields
    try:
        bounds = parse_bounds(fields["bounds"])
        for tool in bounds:
            if tool not in fields.get("tools", []):
                raise BoundsError(f"bounds are set on {tool}, which is not among the tools.", tool)
    except BoundsError as error:
        line = _line_within(error.field, head) or _line_of("bounds", head)
        raise MalformedFile(path, error.reason, line=line) from None
    return fields | {"bounds": bounds}


def render_agent(agent: AgentDefinition) -> str:
    """The file of an agent: what parse_agent reads back as the same agent."""
    given = {name: getattr(agent, name) for name in FIELDS}
    fields = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in given.items()
        if name == "version"
        or value not in (None, (), {}, AgentDefinition.model_fields[name].default)
    }
    if agent.bounds:
        fields["bounds"] = plain_bounds(agent.bounds)
    return f"{FENCE}\n{dump_front_matter(fields)}{FENCE}\n\n{agent.prompt.strip()}\n"


def _build(fields: dict[str, Any], prompt: str, path: str, head: list[str]) -> AgentDefinition:
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    try:
        return AgentDefinition.model_validate(
            fields | lists | {"prompt": prompt, "path": path}, strict=True
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = str(first["loc"][0])
        reason = f"{field}: {first['msg']}."
        raise MalformedFile(path, reason, line=_line_of(field, head)) from None


def _first_problem(fields: dict[str, Any], stem: str) -> tuple[str, str] | None:
    """(field, what is wrong and what is right), or None."""
    for field in fields:
        if field not in FIELDS:
            return field, f"unknown field {field!r}.{near_miss(field, FIELDS)}"
    for field in REQUIRED:
        if not isinstance(fields.get(field), str) or not fields[field].strip():
            return field, f"the field {field!r} must be text and not empty."
    return (
        _problem_of_values(fields, stem) or _problem_of_tools(fields) or _problem_of_network(fields)
    )


def _problem_of_values(fields: dict[str, Any], stem: str) -> tuple[str, str] | None:
    if fields["name"] != stem:
        return "name", f"the name is {fields['name']!r}, but the file is {stem!r}; both must agree."
    if not AGENT_NAME.fullmatch(stem):
        return "name", f"the name {stem!r} must be lower-case letters, digits and inner '-'."
    if stem == AUTO:
        return "name", f"{AUTO!r} stands for whichever agent fits best; choose another name."
    if len(fields["description"]) > MAX_DESCRIPTION_CHARS:
        return "description", f"longer than {MAX_DESCRIPTION_CHARS:,} characters."
    if fields.get("status", "active") not in STATUSES:
        return "status", f"must be one of: {', '.join(STATUSES)}."
    return None


def _problem_of_tools(fields: dict[str, Any]) -> tuple[str, str] | None:
    tools = fields.get("tools", [])
    if not isinstance(tools, list):
        return "tools", 'must be a list of tool names, e.g. ["Read", "Write"].'
    for tool in tools:
        if not isinstance(tool, str) or not TOOL_NAME.fullmatch(tool):
            return "tools", f"{tool!r} is not a tool name; grants are exact names."
    if len(set(tools)) != len(tools):
        return "tools", "a tool is granted twice."
    return None


def _line_within(key: str, head: list[str]) -> int:
    """1-based line that says a key of the bounds first; 0 when none does."""
    start = _line_of("bounds", head)
    pattern = re.compile(rf"(?:^|[\s{{,\"']){re.escape(key)}['\"]?\s*:")
    lines = enumerate(head[max(0, start - 1) :], max(1, start))
    return next((number for number, line in lines if pattern.search(line)), 0)


def _problem_of_network(fields: dict[str, Any]) -> tuple[str, str] | None:
    hosts = fields.get("network", [])
    if not isinstance(hosts, list):
        return "network", 'must be a list of hosts, e.g. ["docs.example.org"].'
    for host in hosts:
        if not isinstance(host, str) or not _is_public_name(host):
            return "network", f"{host!r} is not the plain name of a public host."
    return None


def _is_public_name(host: str) -> bool:
    return is_host_name(host) and not is_internal(host) and not is_number(host)


def _line_of(field: str, head: list[str]) -> int:
    """1-based line of the field in the file; 0 when it is not there."""
    pattern = re.compile(rf"['\"]?{re.escape(field)}['\"]?\s*:")
    return next((n for n, line in enumerate(head, 1) if pattern.match(line)), 0)
