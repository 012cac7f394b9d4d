"""The Messages API as this server speaks it: what a request must be, tokens, and SSE events.

Tokens are an estimate that anyone can redo: ``ceil(bytes / 4)`` of the UTF-8 text of the
canonical JSON of tools, system and messages (input) or of the content blocks (output).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from llmos_workers.rehearsal.code_execution import faults_of_answers, faults_of_tools

API_VERSIONS = ("2026-10-21", "2023-06-01")
STRICT_MODELS = ("claude-sonnet-5-5", "claude-opus-5-5")
"""Models that refuse a forced tool choice, sampling settings, prefill and thinking budgets."""

MAX_BREAKPOINTS = 4
LOOKBACK_BLOCKS = 20
"""A breakpoint also finds an older prefix that ends up to so many blocks before it."""

SAMPLING = ("temperature", "top_p", "top_k")
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}
STOP_REASONS = (
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
)


class ApiFault(Exception):
    """A request that is answered with an error status, as the API would."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        retry_after: float | None = None,
        error_code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.retry_after, self.error_code = retry_after, error_code

    def body(self, request_id: str) -> dict[str, Any]:
        """The error as the API words it."""
        error: dict[str, Any] = {
            "type": ERROR_TYPES.get(self.status, "api_error"),
            "message": self.message,
        }
        if self.error_code:
            error["details"] = {"error_code": self.error_code}
        return {"type": "error", "error": error, "request_id": request_id}


def canonical(value: object) -> bytes:
    """One spelling per JSON value, so that counts and hashes are reproducible."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def tokens_of(size: int) -> int:
    """Tokens of so many bytes: a quarter, rounded up."""
    return -(-size // 4)


def check_request(body: Any, *, counting: bool = False) -> dict[str, Any]:
    """Return the request, or raise ApiFault(400) in the API's manner."""
    if not isinstance(body, dict):
        raise ApiFault(400, "request body must be a JSON object")
    for name in ("model", "messages") if counting else ("model", "max_tokens", "messages"):
        if name not in body:
            raise ApiFault(400, f"{name}: Field required")
    if not counting:
        limit = body["max_tokens"]
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise ApiFault(400, "max_tokens: Input should be greater than or equal to 1")
    _check_messages(body["messages"], body.get("container"))
    _check_tools(body)
    _check_model_rules(body)
    if len(_breakpoints(segments(body))) > MAX_BREAKPOINTS:
        raise ApiFault(400, "A maximum of 4 blocks with cache_control may be provided.")
    return body


def _check_messages(messages: Any, container: object) -> None:
    if not isinstance(messages, list) or not messages:
        raise ApiFault(400, "messages: at least one message is required")
    pending: set[str] = set()
    asked: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("user", "assistant"):
            raise ApiFault(400, f"messages.{index}.role: Input should be 'user' or 'assistant'")
        blocks = blocks_of(message)
        if not blocks:
            raise ApiFault(400, f"messages.{index}: content must not be empty")
        answered = {b.get("tool_use_id") for b in blocks if b.get("type") == "tool_result"}
        if pending - answered:
            raise ApiFault(
                400,
                f"messages.{index}: `tool_use` ids were found without `tool_result` blocks "
                f"immediately after: {', '.join(sorted(pending))}.",
            )
        if answered - pending:
            raise ApiFault(
                400,
                f"messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{', '.join(sorted(map(str, answered - pending)))}. Each `tool_result` block "
                "must have a corresponding `tool_use` block in the previous message.",
            )
        if fault := faults_of_answers(asked, blocks, container):
            raise ApiFault(400, f"messages.{index}: {fault}")
        asked = blocks
        pending = {b["id"] for b in blocks if b.get("type") == "tool_use" and b.get("id")}
        if pending and role != "assistant":
            raise ApiFault(400, f"messages.{index}: `tool_use` blocks belong to the assistant")
    if messages[0]["role"] != "user":
        raise ApiFault(400, "messages: first message must use the 'user' role")


def _check_tools(body: dict[str, Any]) -> None:
    tools = body.get("tools") or []
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict) or not tool.get("name"):
            raise ApiFault(400, f"tools.{index}.name: Field required")
        if "type" not in tool and not isinstance(tool.get("input_schema"), dict):
            raise ApiFault(400, f"tools.{index}.input_schema: Field required")
        if tool.get("defer_loading") and tool.get("cache_control"):
            raise ApiFault(400, f"tools.{index}: a deferred tool carries no cache_control")
        for example in tool.get("input_examples") or []:
            if not isinstance(example, dict) or _lacking(tool["input_schema"], example):
                raise ApiFault(400, f"tools.{index}.input_examples: does not match input_schema")
    if fault := faults_of_tools(tools):
        raise ApiFault(400, fault)
    if tools and all(tool.get("defer_loading") for tool in tools):
        raise ApiFault(400, "tools: at least one tool must not be deferred")
    if unknown := set(_referenced(body)) - {tool["name"] for tool in tools}:
        raise ApiFault(400, f"tool_reference: no such tool: {', '.join(sorted(unknown))}")


def _lacking(schema: dict[str, Any], example: dict[str, Any]) -> bool:
    unknown = set(example) - set(schema.get("properties", {}))
    return not set(schema.get("required", ())) <= set(example) or (
        schema.get("additionalProperties") is False and bool(unknown)
    )


def _references(block: dict[str, Any]) -> list[str]:
    """Names of the tools that a tool result refers to."""
    content = block.get("content")
    parts = content if block.get("type") == "tool_result" and isinstance(content, list) else []
    return [str(p.get("tool_name")) for p in parts if p.get("type") == "tool_reference"]


def _referenced(body: dict[str, Any]) -> list[str]:
    return [
        name
        for message in body["messages"]
        for block in blocks_of(message)
        for name in _references(block)
    ]


def _check_model_rules(body: dict[str, Any]) -> None:
    if not str(body["model"]).startswith(STRICT_MODELS):
        return
    for name in SAMPLING:
        if name in body:
            raise ApiFault(400, f"{name}: not supported by {body['model']}")
    choice = body.get("tool_choice") or {}
    if choice.get("type") in ("any", "tool"):
        raise ApiFault(400, f"tool_choice: {body['model']} does not support forced tool use")
    if body["messages"][-1]["role"] == "assistant":
        raise ApiFault(400, f"messages: {body['model']} does not support assistant prefill")
    if "budget_tokens" in (body.get("thinking") or {}):
        raise ApiFault(400, f"thinking.budget_tokens: not supported by {body['model']}")


def blocks_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The content blocks of a message; plain text becomes one text block."""
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [block for block in content or [] if isinstance(block, dict)]


@dataclass(frozen=True)
class Segment:
    """One block of the prompt in cache order, without its cache_control."""

    data: bytes
    ttl: str | None
    """``5m`` or ``1h`` when a breakpoint stands here."""


def segments(body: dict[str, Any]) -> list[Segment]:
    """The prompt in the order of the cache: tools, system, messages.

    A deferred tool is no part of it, until a result refers to it: there it is then read.
    """
    system = body.get("system") or []
    if isinstance(system, str):
        system = [{"type": "text", "text": system}]
    tools = {tool["name"]: tool for tool in body.get("tools") or []}
    parts: list[tuple[str, dict[str, Any]]] = [
        ("tool", tool) for tool in tools.values() if not tool.get("defer_loading")
    ]
    parts += [("system", block) for block in system]
    for message in body["messages"]:
        parts += [(message["role"], block) for block in blocks_of(message)]
    found = []
    for where, block in parts:
        control = block.get("cache_control")
        plain = {key: value for key, value in block.items() if key != "cache_control"}
        if found_tools := [tools[name] for name in _references(block) if name in tools]:
            plain["content"] = found_tools
        ttl = (control or {}).get("ttl", "5m") if control else None
        found.append(Segment(canonical([where, plain]), ttl))
    if body.get("cache_control") and found:
        found[-1] = Segment(found[-1].data, body["cache_control"].get("ttl", "5m"))
    return found


def _breakpoints(parts: list[Segment]) -> list[int]:
    return [index for index, part in enumerate(parts) if part.ttl]


@dataclass
class PromptCache:
    """Prefixes written by earlier requests: digest -> unix time until which they are there."""

    until: dict[str, float] = field(default_factory=dict)

    def count(self, body: dict[str, Any], now: float) -> dict[str, int]:
        """Input usage of this request; writes and refreshes its prefixes. Caller locks."""
        parts = segments(body)
        ends, digests = _prefixes(str(body["model"]), parts)
        marks = _breakpoints(parts)
        read_to = self._longest_hit(marks, digests, now)
        usage = {"input": 0, "read": 0, "write_5m": 0, "write_1h": 0}
        usage["read"] = ends[read_to] if read_to >= 0 else 0
        at = usage["read"]
        for mark in marks:
            life = 3600.0 if parts[mark].ttl == "1h" else 300.0
            self.until[digests[mark]] = now + life
            if ends[mark] > at:
                usage["write_1h" if life > 300 else "write_5m"] += ends[mark] - at
                at = ends[mark]
        if read_to >= 0:
            self.until[digests[read_to]] = max(self.until[digests[read_to]], now + 300.0)
        usage["input"] = (ends[-1] if ends else 0) - at
        return usage

    def _longest_hit(self, marks: list[int], digests: list[str], now: float) -> int:
        for mark in reversed(marks):
            for index in range(mark, max(-1, mark - LOOKBACK_BLOCKS), -1):
                if self.until.get(digests[index], 0.0) > now:
                    return index
        return -1


def _prefixes(model: str, parts: list[Segment]) -> tuple[list[int], list[str]]:
    """Tokens up to and including each block, and the digest of each such prefix."""
    size, digest = 0, hashlib.sha256(model.encode())
    ends, digests = [], []
    for part in parts:
        size += len(part.data)
        digest.update(len(part.data).to_bytes(8, "big") + part.data)
        ends.append(tokens_of(size))
        digests.append(digest.hexdigest())
    return ends, digests


def count_input(body: dict[str, Any]) -> int:
    """All input tokens of a request."""
    return tokens_of(sum(len(part.data) for part in segments(body)))


def count_output(content: list[dict[str, Any]]) -> int:
    """Output tokens of content blocks; never 0, like the API."""
    return max(1, tokens_of(sum(len(canonical(block)) for block in content)))


def fit_output(content: list[dict[str, Any]], limit: int) -> tuple[list[dict[str, Any]], bool]:
    """The blocks that fit into ``limit`` tokens, and whether anything was cut.

    A text block is cut inside; a tool call that does not fit is left out whole.
    """
    if count_output(content) <= limit:
        return content, False
    kept: list[dict[str, Any]] = []
    for block in content:
        if count_output([*kept, block]) <= limit:
            kept.append(block)
            continue
        if block["type"] == "text":
            low, high = 0, len(block["text"])
            while low < high:
                middle = (low + high + 1) // 2
                shorter = {**block, "text": block["text"][:middle]}
                low, high = (
                    (middle, high) if count_output([*kept, shorter]) <= limit else (low, middle - 1)
                )
            if low:
                kept.append({**block, "text": block["text"][:low]})
        break
    return kept, True


def usage_body(prompt: dict[str, int], output: int) -> dict[str, Any]:
    """Usage as the API reports it."""
    return {
        "input_tokens": prompt["input"],
        "cache_creation_input_tokens": prompt["write_5m"] + prompt["write_1h"],
        "cache_read_input_tokens": prompt["read"],
        "cache_creation": {
            "ephemeral_5m_input_tokens": prompt["write_5m"],
            "ephemeral_1h_input_tokens": prompt["write_1h"],
        },
        "output_tokens": output,
        "service_tier": "standard",
    }


def stream_events(message: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The SSE events whose sum is ``message``."""
    usage = message["usage"]
    start = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
    start["usage"] = {**usage, "output_tokens": 1}
    yield "message_start", {"type": "message_start", "message": start}
    yield "ping", {"type": "ping"}
    for index, block in enumerate(message["content"]):
        empty, deltas = _block_deltas(block)
        yield (
            "content_block_start",
            {"type": "content_block_start", "index": index, "content_block": empty},
        )
        for delta in deltas:
            yield (
                "content_block_delta",
                {"type": "content_block_delta", "index": index, "delta": delta},
            )
        yield "content_block_stop", {"type": "content_block_stop", "index": index}
    told = ("stop_reason", "stop_sequence", "stop_details", "container")
    delta = {key: message[key] for key in told if key in message}
    totals = {k: v for k, v in usage.items() if k not in ("cache_creation", "service_tier")}
    yield "message_delta", {"type": "message_delta", "delta": delta, "usage": totals}
    yield "message_stop", {"type": "message_stop"}


def _block_deltas(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if block["type"] == "text":
        pieces = _pieces(block["text"])
        return {**block, "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces]
    if "input" not in block:
        return block, []
    text = json.dumps(block["input"], ensure_ascii=False)
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in _pieces(text)]
    return {**block, "input": {}}, deltas


def _pieces(text: str, size: int = 80) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]
