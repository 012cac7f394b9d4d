"""What a trace takes over from the content before it. Pure."""

from __future__ import annotations

from llmos_workers.contracts.trace import ExecutionTrace, Standing
from llmos_workers.learning.signature import goal_signature
from llmos_workers.learning.trace_store import same_calls


def next_version(trace: ExecutionTrace, before: ExecutionTrace) -> ExecutionTrace:
    """``trace`` as the version after ``before``: what people and judges said of it stays, except
    for wordings that nobody signed.
    """
    own, vetoes = goal_signature(trace.goal_text), vetoes_after(trace, before)
    # The goal of another wording may come to be the trace's own; the old one stays known.
    known = (before.goal_text, *before.aliases) if before.standing is Standing.SIGNED else ()
    texts = {goal_signature(t): t for t in (*known, *trace.aliases)}
    aliases = tuple(t for sig, t in texts.items() if sig != own and sig not in vetoes)
    return trace.model_copy(
        update={
            "version": before.version + 1,
            "aliases": aliases,
            "vetoes": vetoes,
        }
    )


def vetoes_after(trace: ExecutionTrace, before: ExecutionTrace) -> tuple[str, ...]:
    """Those of the content before, and its own."""
    # Its own goal was refused with the old calls; with others it is another way to do it.
    lifted = set() if same_calls(before, trace) else {goal_signature(trace.goal_text)}
    return tuple(dict.fromkeys((*(v for v in before.vetoes if v not in lifted), *trace.vetoes)))
