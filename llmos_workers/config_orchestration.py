"""Settings of plans with sub-goals; a part of config.py."""

from __future__ import annotations

from pydantic import Field

from llmos_workers.contracts.base import Contract


class OrchestrationConfig(Contract):
    """Goals that are split into sub-goals (ORCHESTRATOR). See docs/plans.md."""

    enabled: bool = True
    """False: no goal is split, whatever is asked for."""
    max_depth: int = Field(default=2, ge=1, le=8)
    """How many levels of sub-goals there may be below a submitted goal."""
    max_steps: int = Field(default=20, ge=2, le=100)
    """Most steps of one plan, repairs included."""
    max_width: int = Field(default=8, ge=1, le=50)
    """Most steps of one plan that are under way at once."""
    max_layers: int = Field(default=6, ge=1, le=50)
    """Longest chain of steps that wait for each other."""
    max_secs: float = Field(default=7_200.0, gt=0)
    """How long a plan may take from the goal's submission; its members end with it."""
    step_tries: int = Field(default=2, ge=1, le=5)
    """How often a step that failed is tried."""
    repair_rounds: int = Field(default=1, ge=0, le=3)
    """How often a reviewer may add steps for what is missing."""
    planner_model: str | None = None
    """Model that plans, sums up and reviews; None: sdk.model."""
    max_tokens: int = Field(default=6_000, ge=256)
    """Upper bound of one such answer, in tokens."""
    approve: bool = False
    """Whether every plan waits for a person's yes."""
    grants: tuple[str, ...] = ()
    """Tools that members may use where the submitter named no agent; empty: those of the agent
    system-agent. A member has what both this and its own agent grant."""
    create_agents: bool = False
    """Whether a plan may bring a specialist that is not there yet, made by the AgentFactory."""
