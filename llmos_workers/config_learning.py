"""Settings of what is learned and reused; a part of config.py."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from llmos_workers.contracts.base import Contract


class MemoryConfig(Contract):
    """Traces and their reuse."""

    enable_llm_matching: bool = True
    """Whether a judge (judge.*) may be asked about wordings that structure cannot decide."""
    enable_cross_project_learning: bool = True
    """Whether insights that sessions of several projects bear out are told to all projects; False:
    what llmos learned in one project no other one sees."""
    inject_notes: int = Field(default=5, ge=0, le=20)
    """Most notes of memories/ that a model is told before its first call; 0: none. A trace that was
    learned with notes is followed only while the same ones are told."""
    cache_size: int = Field(default=100, ge=1)
    sessions: Literal["off", "thought", "all"] = "thought"
    """Which ended goals upkeep writes to memories/sessions: none; those in which a model thought or
    that did not succeed; all."""
    session_days: int = Field(default=30, ge=1)
    """How long a session is kept."""
    session_mb: float = Field(default=20.0, gt=0)
    """How much of a project's sessions is kept; the oldest go first."""
    insights: bool = True
    """Whether upkeep has a model look through new sessions for facts and insights."""
    insight_sessions: int = Field(default=10, ge=1, le=50)
    """So many new sessions are looked through at once."""
    insight_model: str | None = None
    """None: the alias haiku at Anthropic, sdk.model at another endpoint of sdk.base_url."""
    insight_usd_per_day: float = Field(default=0.10, gt=0)
    """No more is looked through on a day on which that was spent, all projects together."""


class LearningConfig(Contract):
    """What happens when a run becomes a trace."""

    prove_timeout_secs: float = Field(default=60.0, gt=0)
    """How long a fresh trace may take to be replayed in scratch; past it, it only helps."""
    perturb_timeout_secs: float = Field(default=5.0, ge=0)
    """How long its inputs and slots may be perturbed; what was not tried counts as a
    dependency, and a slot that was not tried may not vary."""
    notes: bool = True
    """Whether the model that solved a goal is asked once what of it may vary: slots, other
    wordings, hidden parameters."""
    notes_model: str | None = None
    """Model that is asked; None: the one that solved the goal."""
    notes_share: float = Field(default=0.2, ge=0)
    """Largest part of the run's own cost that the notes may be expected to cost; where they would
    cost more, nobody is asked."""
    git_commit: bool = False
    """Whether upkeep commits each learned or changed trace, agent and generated tool to the git
    repository that the workspace lies in: see docs/git.md."""
    git_author: str = "llmos <llmos@localhost>"
    """Author and committer of these commits."""

    @field_validator("git_author")
    @classmethod
    def _named(cls, value: str) -> str:
        if not re.fullmatch(r"[^<>\n\0]{1,100} <[^<>\s\0]{1,200}>", value):
            raise ValueError("must look like: Name <address>")
        return value


class JudgeConfig(Contract):
    """The judge of new wordings: see docs/judge.md. memory.enable_llm_matching switches it."""

    backend: Literal["anthropic", "openai", "none"] = "anthropic"
    """anthropic: the endpoint and key of sdk; openai: an OpenAI-compatible endpoint; none."""
    model: str | None = None
    """None: the alias haiku at Anthropic, sdk.model at another endpoint of sdk.base_url."""
    base_url: str | None = None
    """Of an OpenAI-compatible endpoint, up to ``/v1``."""
    api_key: SecretStr | None = None
    """Of that endpoint."""
    relatedness: float = Field(default=0.45, ge=0, le=1)
    """Cosine from which it is worth asking whether a wording means a known goal."""
    max_tokens: int = Field(default=1_024, ge=64)
    """Upper bound of one verdict, in tokens."""
    timeout_secs: float = Field(default=30.0, gt=0)
    """Of one call of an OpenAI-compatible endpoint."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.backend == "openai" and not (self.base_url and self.model):
            raise ValueError("backend openai needs base_url and model")
        return self
