"""Settings of replay and tool use."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from llmos_workers.contracts.base import Contract


class ExecutionLayerConfig(Contract):
    """Replay and tool use."""

    enable_ptc: bool = True
    """False: nothing is replayed; known traces only help a model."""
    enable_tool_search: bool = True
    """Whether an agent with many tools is shown the basic ones and searches for the others."""
    search_embeddings: bool = True
    """Whether the search also compares meanings; its model is loaded at the first search of a
    worker (100 MB). False: words only."""
    enable_tool_examples: bool = True
    """Whether inputs that worked before are sent with the tools."""
    enable_sequences: bool = True
    """Whether the model may submit a program of tool calls (run_sequence)."""
    max_sequence_calls: int = Field(default=200, ge=1, le=1_000)
    """Most calls of one program."""
    code_execution: bool = False
    """Whether the endpoint's own programmatic tool calling is offered, too, where it is Anthropic
    (see tool_references). The code runs on the endpoint's side, each call that it makes passes the
    gate here. Money is not exact then: the endpoint charges for the container by time, which llmos
    does not see, and code that prints much can cost more than was reserved."""
    compact_tokens: int = Field(default=120_000, ge=1_000)
    """Prompts longer than this lose old results of tools."""
    crystallization_threshold: int = Field(default=5, ge=1)
    """Uses after which a trace may become a generated tool."""
    crystallization_success_rate: float = Field(default=0.95, ge=0, le=1)
    """Share of them that has to be successful."""
    offer_generated: bool = True
    """Whether models are offered the project's generated tools whose calls their agent may make."""
    ptc_timeout_secs: float = Field(default=120.0, gt=0)
    """Of a whole replay; past it the rest goes to a model."""
    on_doubt: Literal["ask", "fail", "retry"] = "ask"
    """What becomes of a call with effects outside of the project that was begun and whose end
    nobody knows, as its worker died: a person is asked whether to run it again; the goal fails;
    it is run again."""
    top_k: int = Field(default=5, ge=1, le=20)
    """How many tools a search gives, unless it asks for another number."""
    max_examples_per_tool: int = Field(default=3, ge=0, le=10)
    defer_tools_by_default: bool = True
    """Whether tools that do not say so themselves are searched for, once there are many."""
    defer_threshold: int = Field(default=20, ge=0)
    """Up to so many tools of an agent all stand in its prompt, and nothing is searched."""
    tool_references: Literal["auto", "on", "off"] = "auto"
    """Whether the endpoint knows defer_loading, tool_reference and input_examples; auto: Anthropic
    does, others do not. Elsewhere a found tool joins the next prompt, and examples are told in
    words."""
