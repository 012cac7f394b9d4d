"""What a worker process gives its gate: hooks by project, and what the gate knows of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmos_workers.contracts.agents import AgentDefinition
from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.execution.gate import Ask, GateContext, Source
from llmos_workers.execution.hooks.budget import BudgetControlHook
from llmos_workers.execution.hooks.control import ControlHook
from llmos_workers.execution.hooks.memory import InsightHook, MemoryInjectionHook
from llmos_workers.execution.hooks.projects import ProjectHooks
from llmos_workers.execution.hooks.sentience import SentienceInjectionHook
from llmos_workers.execution.sandbox.staged import StagedSandbox
from llmos_workers.execution.taint import RunTaint
from llmos_workers.execution.tools.base import ToolContext
from llmos_workers.runtime_egress import egress_of
from llmos_workers.runtime_self import model_of, workspace_of
from llmos_workers.sentience.guidance import caution
from llmos_workers.sentience.self_model import self_block

if TYPE_CHECKING:
    from llmos_workers.flow.run import Run
    from llmos_workers.runtime import Runtime


def make_hooks(runtime: Runtime) -> ProjectHooks:
    """llmos's own hooks, then those of the settings and of each project."""

    def describe(project: str, whole: bool) -> str:
        return state_in_words(runtime, project, whole=whole)

    ours = (
        ControlHook(runtime.config.security.confirm_agent_changes),
        BudgetControlHook(runtime.economy.remaining_share),
        SentienceInjectionHook(describe),
        MemoryInjectionHook(runtime.memory, limit=runtime.config.memory.inject_notes),
        InsightHook(runtime.memory, limit=runtime.config.memory.inject_notes),
    )
    return ProjectHooks(runtime.config, *ours, settings=runtime.project_files.of)


def state_in_words(runtime: Runtime, project: str, *, whole: bool) -> str:
    """The internal state for a model; empty when it is off. Not ``whole``: a line, where the
    state demands care.
    """
    config = runtime.config.sentience
    if not config.enable_sentience or not config.inject_internal_state:
        return ""
    state = runtime.sentience.get_state(project)
    if not whole:
        return caution(state.latent_mode)
    kernel = runtime.cognitive_kernel
    words = kernel.enrich_context(state, kernel.derive_policy(state))
    return f"{words}\n\n{self_in_words(runtime, project)}" if config.inject_self_model else words


def self_in_words(runtime: Runtime, project: str) -> str:
    """What the project is and is at, for a model."""
    model = model_of(
        project, runtime.traces, runtime.agents, runtime.agent_records, runtime.economy
    )
    return self_block(model, workspace_of(project, runtime.goals, runtime.economy))


def gate_context(
    runtime: Runtime,
    run: Run,
    *,
    source: Source,
    agent: AgentDefinition,
    ask: Ask | None = None,
) -> GateContext:
    """What the gate has to know about a run under ``agent``'s grants, which end at the project's
    ceiling, and for a part of a plan at what the plan may do. Raises MalformedFile when the
    ceiling cannot be read.
    """
    record, member = run.record, run.record.options.member
    ceiling = runtime.project_files.of(record.project)
    grants = frozenset(agent.tools)
    if ceiling.tools is not None:
        grants &= set(ceiling.tools)
    if member is not None:
        grants &= frozenset(member.grants)
    taint = RunTaint(files=run.stage.tainted)
    context = GateContext(
        grants=grants,
        bounds=(agent.bounds, ceiling.bounds, member.bounds if member else {}),
        mode=run.decision.mode,
        project=record.project,
        goal_id=record.goal_id,
        agent=agent.name,
        policy=runtime.policy(record.project),
        source=source,
        ask=ask,
        notice=lambda words: runtime.notice(record.goal_id, words),
        taint=taint,
        tool=ToolContext(
            project=record.project,
            area=run.stage.area,
            goal_id=record.goal_id,
            sandbox=StagedSandbox(runtime.sandbox, runtime.stages, run.stage),
            deadline=_steady_deadline(runtime, record, source),
            cancelled=run.guards.cancelled,
            dry_run=record.options.dry_run,
            durable=source == "model",
            agent=agent.name,
            grants=grants,
            tainted=run.stage.tainted,
            network=egress_of(runtime.config.security, runtime.redis, run, agent, ceiling),
            outside=lambda: bool(taint.outside),
        ),
    )
    held = member and (member.tainted or runtime.children.taint(member.parent_id))
    if held:  # what members made before is among the files that this one reads
        context.taint.mark(f"its plan: {held}")
    return context


def _steady_deadline(runtime: Runtime, record: GoalRecord, source: str) -> float | None:
    """The goal's deadline on the steady clock; a whole replay also has its own limit."""
    limits = []
    if record.options.deadline is not None:
        limits.append(record.options.deadline - runtime.clock.now())
    if source != "model":
        limits.append(runtime.config.execution.ptc_timeout_secs)
    return runtime.clock.steady() + min(limits) if limits else None
