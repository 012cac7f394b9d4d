"""The plan of a goal: the known one, the one that is journaled, or a new one from the planner."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from llmos_workers.contracts.agents import AGENT_NAME, AgentDefinition
from llmos_workers.contracts.approvals import ApprovalState
from llmos_workers.contracts.errors import InvalidOption, ToolDenied
from llmos_workers.contracts.modes import RequestedMode
from llmos_workers.contracts.outcome import Usage
from llmos_workers.contracts.plan import Plan, PlanStep
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.evolution.agent_rules import Author
from llmos_workers.execution.llm_contracts import ModelResponse
from llmos_workers.flow.agents import agent_of
from llmos_workers.flow.approval import ask_person
from llmos_workers.flow.plan_desk import (
    PLAN_REPAIR_TURN,
    PLAN_TURN,
    PLANNER_SOURCE,
    Desk,
    Planned,
)
from llmos_workers.flow.plan_members import grants_of
from llmos_workers.flow.run import Run
from llmos_workers.kernel.approvals import call_digest
from llmos_workers.learning.plan_prompts import (
    PLAN_SCHEMA,
    PLANNER,
    plan_question,
    repair_question,
)
from llmos_workers.learning.plan_trace import plan_blockers, plan_of_trace
from llmos_workers.learning.planning import BadPlan, PlanLimits, check_plan, read_plan
from llmos_workers.learning.trace_prose import one_line

STEP_USAGE = Usage(input_tokens=6_000, output_tokens=600)
"""Least that a model needs for a small goal: what a step must be able to pay."""

RUN_PLAN = "run plan"
"""What a person is asked to allow, in place of a tool's name."""

SPECIALIST = """\
You are {name}, a specialist in a team. Your goal says all that you need to know; files that it
names are there. Do exactly what it asks, leave every file that it asks for under the name it gives,
and check that it is there and right before you end. Say in two sentences what you did.
"""
"""Prompt of an agent that is made for a plan."""


def find_plan(run: Run, desk: Desk) -> Planned:
    """The plan to go by. Raises BadPlan when the planner's, repaired once, is not sound, and what
    a model call raises.
    """
    known = None if desk.course.anew or desk.answered(PLAN_TURN) else _known(run)
    if known is not None:
        return known
    agents = run.runtime.agents.load_agents()
    question = plan_question(run.record.text, agents, limits(run))
    messages: list[dict[str, Any]] = [{"role": "user", "content": question}]
    first = desk.ask(PLAN_TURN, PLANNER, messages, purpose="plan", schema=PLAN_SCHEMA)
    try:
        return Planned(_sound(run, first), PLANNER_SOURCE)
    except BadPlan as error:
        messages.append({"role": "assistant", "content": first.text or "(nothing)"})
        messages.append({"role": "user", "content": repair_question(error.faults)})
    again = desk.ask(PLAN_REPAIR_TURN, PLANNER, messages, purpose="plan", schema=PLAN_SCHEMA)
    return Planned(_sound(run, again), PLANNER_SOURCE)


def limits(run: Run, *, left_micro: int | None = None) -> PlanLimits:
    """What the goal's plan has to keep to. ``left_micro``: money for its steps, by default the
    goal's own budget, whatever of it is spent since: a plan once sound stays so.
    """
    config, prices = run.runtime.config, run.runtime.prices
    model = prices.resolve(config.sdk.model)
    return PlanLimits(
        max_steps=config.orchestration.max_steps,
        max_width=config.orchestration.max_width,
        max_layers=config.orchestration.max_layers,
        left_micro=run.record.options.budget_micro if left_micro is None else left_micro,
        step_micro=prices.cost(model, STEP_USAGE),
    )


def allowed(run: Run, plan: Plan) -> None:
    """Return when nobody has to allow the plan, or somebody did. Raises ApprovalNeeded,
    ToolDenied; LeaseLost.
    """
    approvals, record = run.runtime.approvals, run.record
    if not (record.options.approve_plan or run.runtime.config.orchestration.approve):
        return
    shown = {step.id: _words(step.goal, step.agent, step.needs) for step in plan.steps}
    call = ToolCall(name=RUN_PLAN, arguments=shown)
    digest = call_digest(call)
    # A run that comes after the one that used the yes up.
    used = (a for a in approvals.of_goal(record.goal_id) if a.digest == digest)
    if any(each.state is ApprovalState.USED for each in used):
        return
    ask_person(approvals, run, call, "plan", "the plan of this goal is to be looked at first")


def _words(goal: str, agent: str | None, needs: tuple[str, ...]) -> str:
    after = f" (after {', '.join(needs)})" if needs else ""
    return f"{agent or 'default agent'}: {goal}{after}"


def _known(run: Run) -> Planned | None:
    trace_id = run.decision.trace_id
    if trace_id is None or run.record.options.mode is RequestedMode.LEARNER:
        return None
    trace = run.runtime.traces.get(run.project, trace_id)
    if trace is None or not trace.is_plan:
        return None
    agents = {agent.name for agent in run.runtime.agents.load_agents()}
    if plan_blockers(trace, agents):
        return None
    try:
        plan = plan_of_trace(trace, run.decision.slots)
        check_plan(plan, limits(run), agents, goal=run.record.text)
    except (BadPlan, ValidationError) as error:
        run.runtime.notice(run.record.goal_id, f"the known plan is not used: {error}")
        return None
    return Planned(plan, trace.trace_id)


def _sound(run: Run, response: ModelResponse) -> Plan:
    """The plan of an answer, with its specialists at hand. Raises BadPlan."""
    plan = read_plan(response.text)
    names = {agent.name for agent in run.runtime.agents.load_agents()}
    wanted = [s for s in plan.steps if s.agent and s.agent not in names] if _may_make(run) else []
    makeable = {step.agent for step in wanted if AGENT_NAME.fullmatch(step.agent or "")}
    check_plan(plan, limits(run), names | {each or "" for each in makeable}, goal=run.record.text)
    for step in wanted:
        make_specialist(run, step)
    return plan


def _may_make(run: Run) -> bool:
    """Whether a plan may bring agents: the settings say so, and the internal state nothing
    against it.
    """
    settings, policy = run.runtime.config.orchestration, run.runtime.policy(run.project)
    return settings.create_agents and policy.allow_self_modification


def make_specialist(run: Run, step: PlanStep) -> None:
    """Make the agent that a step names, under the rules for agents that agents make: with what
    the plan itself may use, and nothing that changes agents. Raises BadPlan when it may not be.
    """
    runtime, specs = run.runtime, run.runtime.tools.all_specs()
    grants = frozenset(grants_of(run))
    tools = sorted(name for name in grants if name in specs and not specs[name].control)
    agent = AgentDefinition(
        name=step.agent or "",
        description=f"Made for a plan: {one_line(step.goal, 120)}",
        prompt=SPECIALIST.format(name=step.agent),
        tools=tuple(tools),
    )
    author = Author(agent=agent_of(run).name, grants=grants, goal_id=run.record.goal_id)
    try:
        runtime.agent_factory.create_agent(agent, author, why="a plan wants it")
    except (ToolDenied, InvalidOption) as error:
        raise BadPlan([f"agent {step.agent} cannot be made: {error.message}"]) from error
    runtime.notice(run.record.goal_id, f"agent {step.agent} was made for step {step.id}")
