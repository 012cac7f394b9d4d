"""Spans of tool calls and model calls, in the words of OpenTelemetry's GenAI conventions.

They say which tool or model, for what, how it came out and what it cost; never what was said.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, TypeVar

from llmos_workers.contracts.errors import ApprovalNeeded, BrokerUnavailable, LeaseLost
from llmos_workers.kernel import telemetry
from llmos_workers.kernel.telemetry import Span, Value

if TYPE_CHECKING:
    import anthropic

    from llmos_workers.contracts.tools import ToolCall, ToolResult
    from llmos_workers.execution.gate import GateContext, ToolGate
    from llmos_workers.execution.llm_contracts import CallContext, ModelRequest, ModelResponse

S = TypeVar("S")
UNKNOWN = "(unknown)"
"""In the place of a name that no tool has: a model may ask for one by any words."""
WAITING = (ApprovalNeeded, LeaseLost, BrokerUnavailable)
"""The call was not made; no fault of the tool."""

Tool = Callable[["ToolGate", "ToolCall", "GateContext"], "ToolResult"]
Model = Callable[[S, "anthropic.Anthropic", "ModelRequest", "CallContext"], "ModelResponse"]


def traced_tool(work: Tool) -> Tool:
    """The call of a tool, told."""

    @wraps(work)
    def call(gate: ToolGate, call: ToolCall, ctx: GateContext) -> ToolResult:
        name = call.name if gate.registry.find(call.name) is not None else UNKNOWN
        facts: dict[str, Value | None] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": call.call_id or None,
            "llmos.goal.id": ctx.goal_id,
            "llmos.source": ctx.source,
        }
        with telemetry.span(f"execute_tool {name}", facts, calm=WAITING) as span:
            result = work(gate, call, ctx)
            _came_out(span, result)
            return result

    return call


def _came_out(span: Span, result: ToolResult) -> None:
    span.set({"llmos.ok": result.ok, "llmos.exit_code": result.exit_code})
    if not result.ok:
        span.set({"llmos.denied_by": result.denied_by})
        span.fail("denied" if result.denied_by else "failed")


def traced_model(work: Model[S]) -> Model[S]:
    """One attempt of a model call, told. The SDK's own span of its request, with the tokens, lies
    inside: what it says is not said twice, so that sums over ``gen_ai.usage`` are right.
    """

    @wraps(work)
    def attempt(
        gateway: S, client: anthropic.Anthropic, request: ModelRequest, ctx: CallContext
    ) -> ModelResponse:
        facts: dict[str, Value | None] = {
            "gen_ai.request.model": request.model,
            "gen_ai.request.max_tokens": request.max_tokens,
            "llmos.goal.id": ctx.goal_id,
            "llmos.purpose": request.purpose,
            "llmos.turn": request.turn,
        }
        with telemetry.span("llmos.model_call", facts, calm=WAITING) as span:
            response = work(gateway, client, request, ctx)
            span.set(
                {
                    "gen_ai.response.model": response.model,
                    "llmos.stop_reason": response.stop_reason,
                    "llmos.cost_microdollars": response.cost_micro,
                }
            )
            return response

    return attempt
