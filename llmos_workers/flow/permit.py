"""Model calls beside the agent loop (judge, planner, the learner's notes) ask hooks, too."""

from __future__ import annotations

from llmos_workers.contracts.agents import AUTO
from llmos_workers.flow.agents import DEFAULT_AGENT
from llmos_workers.flow.run import Run


def permit(run: Run) -> None:
    """Ask the project's hooks whether a model may be told of the goal. What they have to tell is
    for the agent loop.

    Raises ToolDenied, UnknownAgent, MalformedFile.
    """
    named = run.record.options.agent
    runtime = run.runtime
    agent = runtime.agents.get(DEFAULT_AGENT if named in (None, AUTO) else named)
    context = runtime.gate_context(run, source="model", agent=agent)
    runtime.gate.prompt(run.record.text, context)
