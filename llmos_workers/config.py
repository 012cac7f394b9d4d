"""The one settings object. Groups and defaults are documented in docs/configuration.md.

Precedence, lowest first: defaults, preset, file, ``LLMOS_*`` variables, flags; see
config_sources.load_config. Unknown keys are refused everywhere.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator

from llmos_workers.config_execution import ExecutionLayerConfig
from llmos_workers.config_learning import JudgeConfig, LearningConfig, MemoryConfig
from llmos_workers.config_orchestration import OrchestrationConfig
from llmos_workers.config_telemetry import LoggingConfig, TelemetryConfig
from llmos_workers.contracts.base import Contract, usd_to_micro
from llmos_workers.contracts.errors import ConfigError, InvalidOption

DEFAULT_MODEL = "claude-sonnet-5-5"


class SandboxDemand(StrEnum):
    """What happens on a host that cannot confine commands."""

    REQUIRE = "require"
    """Shell and code tools are refused."""
    PREFER = "prefer"
    """Level 1 where the host can; elsewhere refused unless allow_unconfined is set, loudly."""


class KernelConfig(Contract):
    """Budget and scheduling."""

    budget_usd: float = 10.0
    """First limit of the global scope for its lifetime, in dollars; `llmos budget set` changes
    it."""
    daily_budget_usd: float | None = None
    """First limit of the global scope for each day (UTC); None: without."""
    monthly_budget_usd: float | None = None
    """First limit of the global scope for each month (UTC); None: without."""
    on_breach: Literal["shrink", "ask", "fail"] = "shrink"
    """When a call of a running goal does not fit its budget: give the response fewer tokens, and
    when too few are left, fail; the same, but ask a person to raise the limit; fail at once."""
    enable_scheduling: bool = True
    """Whether schedules submit their goals."""
    enable_watchdog: bool = True
    """Whether a stuck model call is given up after watchdog_timeout_secs."""
    watchdog_timeout_secs: float = Field(default=300.0, gt=0)
    lease_secs: float = Field(default=30.0, ge=1)
    """How long a run owns its goal without renewing; renewed every third of it."""
    max_deliveries: int = Field(default=5, ge=1)
    """After so many starts of one goal it is DEAD."""
    recovery_grace_secs: float = Field(default=10.0, gt=0)
    """A goal that waits for longer is looked for in the queues; lost messages are sent again."""
    project_window: int = Field(default=100, ge=1, le=10_000)
    """Most goals of one project under way at once; the rest wait their turn, so that no project
    keeps the others waiting."""
    result_retention_secs: int = Field(default=7 * 86_400, ge=60)

    @field_validator("budget_usd", "daily_budget_usd", "monthly_budget_usd")
    @classmethod
    def _positive_amount(cls, value: float | None) -> float | None:
        try:
            if value is not None:
                usd_to_micro(value)
        except InvalidOption as error:
            raise ValueError(error.message) from None
        return value

    @property
    def budget_micro(self) -> int:
        """The global limit in micro-dollars."""
        return usd_to_micro(self.budget_usd)


class SDKConfig(Contract):
    """The model and how it is called."""

    model: str = DEFAULT_MODEL
    base_url: str | None = None
    """Any endpoint that speaks the Messages API; None with a key: Anthropic."""
    api_key: SecretStr | None = None
    permission_mode: Literal["default", "plan", "accept_edits"] = "default"
    price_file: Path | None = None
    """Prices of your own models, over the shipped ones; form: kernel/data/prices.toml."""
    max_turns: int = Field(default=10, ge=1, le=200)
    max_tokens: int = Field(default=8_192, ge=1)
    """Upper bound of one response, in tokens."""
    timeout_secs: float = Field(default=300.0, gt=0)
    """Of one model call; a whole run may take max_turns times as long."""
    stall_secs: float = Field(default=60.0, gt=0)
    """A stream silent for so long is given up."""
    max_attempts: int = Field(default=3, ge=1)
    """Tries of one model call on short faults; each is its own reservation."""
    rpm: int | None = Field(default=None, ge=1)
    """Most requests per minute and model, over all workers; None: no limit of ours."""
    itpm: int | None = Field(default=None, ge=1)
    """The same for input tokens."""
    otpm: int | None = Field(default=None, ge=1)
    """The same for output tokens."""
    enable_streaming: bool = True
    enable_hooks: bool = True
    """Whether the user's hooks of security.hooks are asked; llmos's own always are."""


class DispatcherConfig(Contract):
    """How the mode is chosen."""

    strategy: str = "auto"
    follower_threshold: float = Field(default=0.92, ge=0.92, le=1)
    mixed_threshold: float = Field(default=0.75, ge=0, le=1)
    relatedness_threshold: float = Field(default=0.60, ge=0, le=1)
    """Cosine from which a trace helps a model (MIXED)."""
    max_replay_error: float = Field(default=0.01, gt=0, lt=1)
    """Share of wrong replays that is put up with: traces whose labelled outcomes say more need
    a surer match."""
    complexity_threshold: int = Field(default=2, ge=1)
    """Pieces of work from which a goal is split into sub-goals (ORCHESTRATOR)."""
    auto_crystallization: bool = False
    llm_allowed: bool = True
    """False: modes that call a model are refused (testing preset)."""
    audit_share: float = Field(default=0.0, ge=0, le=1)
    """Share of replayed goals that a model runs again in a stage of its own, to be compared
    (shadow audit); 0.01 in production."""
    audit_usd_per_day: float = Field(default=0.50, gt=0)
    """Most that shadow audits may cost a day, all projects together."""


class SentienceConfig(Contract):
    """Internal state."""

    enable_sentience: bool = True
    safety_setpoint: float = Field(default=0.5, ge=-1, le=1)
    curiosity_setpoint: float = Field(default=0.0, ge=-1, le=1)
    energy_setpoint: float = Field(default=0.7, ge=-1, le=1)
    self_confidence_setpoint: float = Field(default=0.3, ge=-1, le=1)
    boredom_threshold: float = Field(default=-0.4, ge=-1, le=1)
    inject_internal_state: bool = True
    inject_behavioral_guidance: bool = True
    enable_auto_improvement: bool = True
    improvement_cooldown_secs: int = Field(default=300, ge=0)
    auto_apply: tuple[Literal["crystallize_pattern", "refactor_agent", "cleanup_traces"], ...] = ()
    """Suggestions that upkeep applies by itself, where the state allows improvement; the others
    wait for `llmos improve apply`."""
    inject_self_model: bool = False
    """Whether models are told what the project can do, what it is at and what is left."""


class SecurityConfig(Contract):
    """Gate and sandbox."""

    sandbox: SandboxDemand = SandboxDemand.PREFER
    allow_unconfined: bool = False
    """With sandbox = "prefer" on a host that cannot confine: run shell tools all the same."""
    allowed_hosts: tuple[str, ...] = ()
    """Hosts, with the names below them, that WebFetch reads and commands may name without asking a
    person. Commands reach those of them that their agent's file lists under ``network``."""
    egress_mb: int = Field(default=100, ge=1)
    """Most that one command may send and receive, together."""
    protected_paths: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    """User hooks: ``package.module:Class``, the name of an entry point of the group
    ``llmos.hooks``, or the path of an executable (with a slash). Those of one project stand in its
    project.toml (docs/gate.md)."""
    workspace_tools: Literal["off", "signed", "on"] = "signed"
    """Whether workers load Python files of workspace/tools: never; those that a trusted key signed
    as they stand (`llmos tools sign`); all."""
    app_goals: Literal["any", "signed", "none"] = "any"
    """Messages that carry a goal themselves, as apps without llmos send them: all are taken; those
    that a key signed which is trusted for their project (docs/payload.md); none."""
    confirm_agent_changes: Literal["never", "changes", "all"] = "changes"
    """What agents need a person's yes for: nothing, changing other agents, or making new ones
    too."""
    approval_ttl_secs: int = Field(default=86_400, ge=1)
    """How long a request for approval waits for an answer, and a yes for its use."""
    signing_key_file: Path | None = None
    """Private key that signs traces (Ed25519, PEM), such as a mounted secret; None:
    state/keys/signing.key of the workspace, made when first needed."""
    tool_memory_mb: int = Field(default=2_048, ge=64)
    tool_cpu_secs: int = Field(default=60, ge=1)
    tool_file_mb: int = Field(default=256, ge=1)
    tool_disk_mb: int = Field(default=1_024, ge=1)
    """Most that one command may add to the disk, all its files together."""


class RedisConfig(Contract):
    """Broker, results and state: one server, three databases, no key prefix for Celery's."""

    url: str | None = None
    """``redis://[user:password@]host:port`` or ``rediss://``, without a database; None: the
    embedded stack of this workspace when one is up, else redis://127.0.0.1:6379."""
    broker_db: int = Field(default=0, ge=0)
    result_db: int = Field(default=1, ge=0)
    state_db: int = Field(default=2, ge=0)
    visibility_timeout_secs: int = Field(default=90, ge=3)
    """Seconds until the broker gives a dead worker's message to another one. Only the second net:
    the recovery clock takes a goal back when its lease (``kernel.lease_secs``) is over."""
    connect_timeout_secs: float = Field(default=5.0, gt=0)
    silence_secs: int = Field(default=25, ge=3)
    """A connection whose other end has not answered for so long is given up, and made anew: after
    a cut link or a server that lost its power nobody says that it is gone."""


class IndexConfig(Contract):
    """Where vectors live, and what makes them."""

    qdrant_url: str | None = None
    """None: Qdrant Edge inside the dispatch worker."""
    qdrant_api_key: SecretStr | None = None
    embeddings_url: str | None = None
    """An OpenAI-compatible ``/v1/embeddings`` endpoint; None: the bundled MiniLM."""
    embeddings_model: str = "all-MiniLM-L6-v2"


class WebhooksConfig(Contract):
    """Who is told, by signed HTTP requests, that a goal has ended. See docs/webhooks.md."""

    urls: tuple[str, ...] = ()
    """Where to; nothing else is ever called, redirects are not followed."""
    secret: SecretStr | None = None
    """Key of the signatures, at least 16 characters; needed with urls."""
    timeout_secs: float = Field(default=10.0, gt=0, le=60)
    """How long one request may wait for its answer."""
    max_attempts: int = Field(default=8, ge=1, le=100)
    """After so many failed requests a delivery is dead; the pauses grow from 10 s to an hour."""

    @field_validator("urls")
    @classmethod
    def _callable(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme not in ("https", "http") or not parts.hostname or parts.username:
                raise ValueError(
                    "each must be http(s)://host[:port]/path, without user and password"
                )
        return urls

    @model_validator(mode="after")
    def _signed(self) -> Self:
        if self.urls and (self.secret is None or len(self.secret.get_secret_value()) < 16):
            raise ValueError("urls need a secret of at least 16 characters")
        return self


class LLMOSConfig(Contract):
    """All settings. Also takes the short names ``budget_usd``, ``model``, ``workspace_path``."""

    workspace: Path = Path("workspace")
    project_name: str | None = None
    kernel: KernelConfig = Field(default_factory=KernelConfig)
    memory: MemoryConfig = Field(default_factory=MemoryConfig)
    learning: LearningConfig = Field(default_factory=LearningConfig)
    sdk: SDKConfig = Field(default_factory=SDKConfig)
    dispatcher: DispatcherConfig = Field(default_factory=DispatcherConfig)
    judge: JudgeConfig = Field(default_factory=JudgeConfig)
    execution: ExecutionLayerConfig = Field(default_factory=ExecutionLayerConfig)
    orchestration: OrchestrationConfig = Field(default_factory=OrchestrationConfig)
    sentience: SentienceConfig = Field(default_factory=SentienceConfig)
    security: SecurityConfig = Field(default_factory=SecurityConfig)
    redis: RedisConfig = Field(default_factory=RedisConfig)
    index: IndexConfig = Field(default_factory=IndexConfig)
    webhooks: WebhooksConfig = Field(default_factory=WebhooksConfig)
    logging: LoggingConfig = Field(default_factory=LoggingConfig)
    telemetry: TelemetryConfig = Field(default_factory=TelemetryConfig)

    @model_validator(mode="before")
    @classmethod
    def _short_names(cls, data: Any) -> Any:
        """Accept the upstream's flat names beside the groups."""
        return expand_short_names(data) if isinstance(data, dict) else data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Build from nested plain data. Raises ConfigError naming each wrong key."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ConfigError(describe_validation(error)) from None

    @classmethod
    def development(cls, **changes: Any) -> Self:
        """Fast iteration: $1, streaming, no watchdog, no auto-improvement."""
        return cls.from_dict(merge(PRESETS["development"], changes))

    @classmethod
    def production(cls, **changes: Any) -> Self:
        """Everything on: $100, sandbox required, auto-improvement and -crystallization."""
        return cls.from_dict(merge(PRESETS["production"], changes))

    @classmethod
    def testing(cls, **changes: Any) -> Self:
        """Deterministic: $0.10, no internal state, modes that call a model are refused."""
        return cls.from_dict(merge(PRESETS["testing"], changes))


SHORT_NAMES: dict[str, tuple[str, str]] = {
    "budget_usd": ("kernel", "budget_usd"),
    "model": ("sdk", "model"),
    "base_url": ("sdk", "base_url"),
    "workspace_path": ("", "workspace"),
}

LONG_GROUP_NAMES = {"execution_layer": "execution"}
"""The upstream's name of a group, and ours."""

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "development": {
        "kernel": {"budget_usd": 1.0, "enable_watchdog": False},
        "sdk": {"enable_streaming": True},
        "sentience": {"enable_auto_improvement": False},
    },
    "production": {
        "kernel": {"budget_usd": 100.0},
        "dispatcher": {"auto_crystallization": True, "audit_share": 0.01},
        "sentience": {
            "enable_sentience": True,
            "enable_auto_improvement": True,
            "auto_apply": ["crystallize_pattern", "refactor_agent"],
        },
        "security": {"sandbox": "require"},
    },
    "testing": {
        "kernel": {"budget_usd": 0.10},
        "memory": {"insights": False},
        "dispatcher": {"llm_allowed": False},
        "sentience": {"enable_sentience": False, "enable_auto_improvement": False},
    },
}


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Deep-merge two nested dicts into a new one; ``changes`` wins. Both may use short names."""
    return _deep_merge(expand_short_names(base), expand_short_names(changes))


def expand_short_names(data: dict[str, Any]) -> dict[str, Any]:
    """The same settings in their groups: ``{"model": m}`` becomes ``{"sdk": {"model": m}}``."""
    expanded = {
        LONG_GROUP_NAMES.get(name, name): value
        for name, value in data.items()
        if name not in SHORT_NAMES
    }
    for short, (group, field) in SHORT_NAMES.items():
        if short not in data:
            continue
        if not group:
            expanded[field] = data[short]
            continue
        inner = expanded.get(group, {})
        if isinstance(inner, Contract):
            inner = inner.model_dump()
        # Anything that is no mapping is left for validation to refuse by its name.
        expanded[group] = dict(inner) | {field: data[short]} if isinstance(inner, dict) else inner
    return expanded


def _deep_merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        nested = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _deep_merge(dict(old or {}), value) if nested else value
    return merged


def describe_validation(error: ValidationError) -> str:
    """One line per wrong key: where it is and what is wrong with it."""
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        where = ".".join(str(part) for part in item["loc"]) or "configuration"
        known = "is not a known key" if item["type"] == "extra_forbidden" else item["msg"]
        lines.append(f"{where}: {known}")
    return "; ".join(lines) + "."
