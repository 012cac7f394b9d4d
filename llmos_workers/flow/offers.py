"""Which generated tools a run's model is offered: those in use in its project, all of whose own
tools the agent was granted. Whoever may make all of a tool's calls may use the tool.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from llmos_workers.contracts.agents import AgentDefinition
from llmos_workers.contracts.trace import Standing
from llmos_workers.evolution.generated import LoadedTool
from llmos_workers.execution.crystal.offer import Offer, Open, spec_of
from llmos_workers.execution.crystal.runners import Session
from llmos_workers.flow.crystal import is_of
from llmos_workers.flow.run import Run
from llmos_workers.learning.compiled import arguments_for
from llmos_workers.learning.trace_seal import taint_objection
from llmos_workers.runtime import Runtime

MOST = 50
"""So many of them at most, the most used."""


def offers_of(run: Run, agent: AgentDefinition) -> dict[str, Offer]:
    """By name; none on a host that confines nothing."""
    runtime = run.runtime
    if not runtime.config.execution.offer_generated:
        return {}
    refs = runtime.generated.refs()
    if not refs or not runtime.confines:
        return {}
    tools = [tool for ref in refs if (tool := runtime.generated.get(ref)) is not None]
    fitting = [
        tool
        for tool in tools
        if tool.record.project == run.project
        and tool.record.tools.keys() <= set(agent.tools)
        and tool.record.name not in agent.tools
        and _in_use(runtime, tool)
    ]
    most_used = sorted(fitting, key=lambda tool: -tool.record.usage)[:MOST]
    return {tool.record.name: Offer(spec_of(tool.record), _opener(run, tool)) for tool in most_used}


def _in_use(runtime: Runtime, tool: LoadedTool) -> bool:
    """Whether its traces name it, and nothing is against showing them to a model."""
    for source in tool.record.traces:
        trace = runtime.traces.get(tool.record.project, source.trace_id)
        if trace is None or trace.crystallized_into_tool != tool.record.ref:
            return False
        if trace.standing is not Standing.SIGNED or taint_objection(trace):
            return False
        if not is_of(runtime, tool, trace):
            return False
    return runtime.tools.find(tool.record.name) is None


def _opener(run: Run, tool: LoadedTool) -> Open:
    def start(arguments: dict[str, str | int]) -> AbstractContextManager[Session]:
        slots = {
            each.slot: str(arguments[each.name])
            for each in tool.record.parameters
            if each.name in arguments
        }
        values = arguments_for(tool.record.parameters, slots)
        return run.runtime.runners.session(tool.program, values or arguments)

    return start
