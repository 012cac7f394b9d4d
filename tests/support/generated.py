"""Generated tools as tests plant them: signed, of a trace, with any body."""

from __future__ import annotations

from llmos_workers.contracts.generated import GeneratedTool, SourceTrace
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.evolution.generated import GeneratedTools
from llmos_workers.learning.compiled import trace_digest
from llmos_workers.learning.traces import TraceManager


def plant(
    shelf: GeneratedTools,
    traces: TraceManager,
    trace: ExecutionTrace,
    body: str,
    *,
    name: str = "wrong",
) -> str:
    """A tool without parameters that the trace names as its own; its reference."""
    source = f'def {name}() -> str:\n{body}\n    return ""\n'
    of = SourceTrace(trace_id=trace.trace_id, version=trace.version, digest=trace_digest(trace))
    record = GeneratedTool(
        name=name,
        version=1,
        project=trace.project,
        goal=trace.goal_text,
        tools=dict.fromkeys(trace.tools_used, "1"),
        traces=(of,),
        source_digest="",
    )
    ref = shelf.put(record, source).record.ref
    assert traces.set_tool(trace.project, trace.trace_id, ref)
    return ref
