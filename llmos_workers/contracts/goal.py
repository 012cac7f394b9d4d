"""A goal: what was asked, how far it is, and the task it travels in."""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from typing import Any

from pydantic import Field

from llmos_workers.contracts.base import Micro, Record
from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.errors import IllegalTransition, InvalidGoal, InvalidOption
from llmos_workers.contracts.modes import RequestedMode
from llmos_workers.contracts.outcome import ErrorInfo, Outcome

PAYLOAD_VERSION = 1
"""Version of the message and record format; raised when a field changes its meaning."""

MAX_GOAL_CHARS = 32_768
"""A goal is an instruction; bulk data belongs in a file of the project that the goal names."""

MAX_METADATA_BYTES = 16_384
PROJECT_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")
CONCURRENCY_KEY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.:/-]{0,98}[A-Za-z0-9])?")
IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,200}")


class GoalState(StrEnum):
    """Where a goal is in its life. See TRANSITIONS for what may follow what."""

    ACCEPTED = "ACCEPTED"
    """On record and queued; or queued again after it waited."""
    DISPATCHED = "DISPATCHED"
    """Its mode is decided; it waits for a worker of the role that runs it."""
    RUNNING = "RUNNING"
    """A worker holds its lease."""
    WAITING_APPROVAL = "WAITING_APPROVAL"
    """A person has to say yes or no (``llmos approvals``)."""
    WAITING_FLIGHT = "WAITING_FLIGHT"
    """Another goal is learning the same; it goes on when that one ends."""
    WAITING_RATE = "WAITING_RATE"
    """The model's endpoint has no room for it now."""
    WAITING_CHILDREN = "WAITING_CHILDREN"
    """The goals of its plan are under way."""
    PARKED = "PARKED"
    """Its project, or its concurrency key, has as many goals under way as it may."""
    SUCCEEDED = "SUCCEEDED"
    """Done."""
    PARTIAL = "PARTIAL"
    """A plan of which something was done and published, and something is missing."""
    FAILED = "FAILED"
    """Begun and not done: the outcome's ``error`` says why. Nothing was published."""
    CANCELLED = "CANCELLED"
    """Somebody stopped it."""
    REJECTED = "REJECTED"
    """A rule, a budget or a mistake in the request kept it from running."""
    DEAD = "DEAD"
    """Given up: it ended its worker again and again (``llmos dead``)."""

    @property
    def final(self) -> bool:
        """Whether nothing can follow this state."""
        return self in FINAL_STATES

    @property
    def waiting(self) -> bool:
        """Whether the goal waits for something and holds no worker."""
        return self in WAITING_STATES


FINAL_STATES = frozenset(
    {
        GoalState.SUCCEEDED,
        GoalState.PARTIAL,
        GoalState.FAILED,
        GoalState.CANCELLED,
        GoalState.REJECTED,
        GoalState.DEAD,
    }
)
WAITING_STATES = frozenset(
    {
        GoalState.WAITING_APPROVAL,
        GoalState.WAITING_FLIGHT,
        GoalState.WAITING_RATE,
        GoalState.WAITING_CHILDREN,
        GoalState.PARKED,
    }
)
TRANSITIONS: dict[GoalState, frozenset[GoalState]] = {
    GoalState.ACCEPTED: frozenset({GoalState.DISPATCHED, GoalState.RUNNING})
    | WAITING_STATES
    | FINAL_STATES,
    # DISPATCHED -> DISPATCHED: a redelivered message is dispatched again.
    GoalState.DISPATCHED: frozenset({GoalState.ACCEPTED, GoalState.DISPATCHED, GoalState.RUNNING})
    | WAITING_STATES
    | FINAL_STATES,
    # RUNNING -> RUNNING: a new lease takes over from a dead one.
    GoalState.RUNNING: frozenset({GoalState.ACCEPTED, GoalState.DISPATCHED, GoalState.RUNNING})
    | WAITING_STATES
    | FINAL_STATES,
    **{
        waiting: frozenset({GoalState.ACCEPTED, GoalState.DISPATCHED, GoalState.RUNNING})
        | FINAL_STATES
        for waiting in WAITING_STATES
    },
    **{final: frozenset[GoalState]() for final in FINAL_STATES},
}


def check_transition(before: GoalState, after: GoalState) -> None:
    """Raise IllegalTransition unless TRANSITIONS allows ``before`` -> ``after``."""
    if after not in TRANSITIONS[before]:
        raise IllegalTransition(f"a goal that is {before} cannot become {after}.")


class TaskEnvelope(Record):
    """The Celery message a goal travels in, kept so that it can re-enter as the same task.

    ``chord`` is Celery's own serialized callback signature; it and the group fields are what
    make a goal that waited still join its chord. ``callbacks``, ``errbacks`` and ``chain`` are
    its serialized signatures too: what runs after the goal.
    """

    task: str = "llmos.goal"
    queue: str = "dispatch"
    root_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    group_index: int | None = None
    chord: Any = None
    callbacks: Any = None
    errbacks: Any = None
    chain: Any = None
    reply_to: str | None = None
    correlation_id: str | None = None
    headers: dict[str, Any] = Field(default_factory=dict)


class Member(Record):
    """What makes a goal a part of another one's plan. No submitter can ask for it."""

    parent_id: str
    depth: int = Field(ge=1)
    """1 for the members of a goal that somebody submitted."""
    step: str
    """Id of the plan's step."""
    attempt: int = Field(default=1, ge=1)
    grants: tuple[str, ...] = ()
    """Tools that the parent may call: the member may call no others, whatever its agent may."""
    bounds: dict[str, dict[str, tuple[float, float]]] = Field(default_factory=dict)
    """Ranges of numbers that hold for the parent's agent, and so for the member's."""
    place: str
    """Where its files are: the parent's board (kernel.board)."""
    tainted: str = ""
    """Content from outside that the plan's run held when this member was sent off."""


class GoalOptions(Record):
    """Everything a submitter may say about a goal besides its text."""

    project: str = "default"
    mode: RequestedMode = RequestedMode.AUTO
    agent: str | None = None
    budget_micro: Micro | None = None
    """Most this goal may cost, in micro-dollars; None: only the wider scopes limit it."""
    idempotency_key: str | None = None
    concurrency_key: str | None = None
    """Goals with the same key take turns with each other; None: the project's name is the key."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    priority: int = Field(default=2, ge=1, le=3)
    """1 goes first, 3 last."""
    deadline: float | None = None
    """Unix time in seconds after which the goal fails instead of starting another step."""
    dry_run: bool = False
    """Decide and explain, but run nothing."""
    generalize: tuple[str, ...] = ()
    """Traces that the toolsmith is to make one tool of; llmos sets it itself."""
    shadow_of: str | None = None
    """Id of a replayed goal that this one runs again, publishing nothing (flow.shadow). No
    submitter can ask for it."""
    approve_plan: bool = False
    """A plan of sub-goals waits for a person's yes."""
    plan_only: bool = False
    """Make and show the plan, do nothing of it."""
    member: Member | None = None
    """The plan that this goal is a part of."""


class GoalRecord(Record):
    """The truth about one goal, kept in Redis; the broker's message is only a hint."""

    goal_id: str
    text: str
    options: GoalOptions = Field(default_factory=GoalOptions)
    version: int = PAYLOAD_VERSION
    traceparent: str | None = None
    state: GoalState = GoalState.ACCEPTED
    created_at: float
    updated_at: float
    envelope: TaskEnvelope = Field(default_factory=TaskEnvelope)
    decision: ModeDecision | None = None
    outcome: Outcome | None = None
    cancel_requested: bool = False
    deliveries: int = 0
    fence: int = 0
    """Fencing token of the newest run; grows by one with each lease."""
    lease_owner: str | None = None
    lease_until: float | None = None
    flight: str | None = None
    """Flight that this goal leads: others wait for what it learns."""
    flights: int = 0
    """Flights that it waited for and that ended."""
    flight_failed: ErrorInfo | None = None
    """Why those failed that it waited for: several in a row, each the very same goal."""

    @property
    def project(self) -> str:
        """Project the goal belongs to."""
        return self.options.project

    @property
    def place(self) -> str:
        """Where its files are: the project, or the board of the plan that it is a part of."""
        member = self.options.member
        return member.place if member else self.options.project

    @property
    def depth(self) -> int:
        """How many goals stand above it."""
        return self.options.member.depth if self.options.member else 0

    @property
    def lane(self) -> str:
        """The key under which it takes turns with others."""
        return self.options.concurrency_key or self.options.project


def check_goal_text(text: object) -> str:
    """Return the goal's text, stripped. Raises InvalidGoal."""
    if not isinstance(text, str):
        raise InvalidGoal(f"a goal is text, not {type(text).__name__}.")
    clean = text.strip()
    if not clean:
        raise InvalidGoal("the goal is empty.", fix="Say in a sentence what should be done.")
    if len(clean) > MAX_GOAL_CHARS:
        raise InvalidGoal(
            f"the goal has {len(clean):,} characters; at most {MAX_GOAL_CHARS:,} are allowed.",
            fix="Put bulk data into a file of the project and name the file in the goal.",
        )
    for char in clean:
        if unicodedata.category(char) in ("Cc", "Cs") and char not in "\t\n\r":
            raise InvalidGoal(f"the goal holds the control character U+{ord(char):04X}.")
    return clean


def check_concurrency_key(key: object) -> str:
    """Return a concurrency key. Raises InvalidOption."""
    if not isinstance(key, str) or not CONCURRENCY_KEY.fullmatch(key):
        raise InvalidOption(
            f"concurrency key {key!r} is not allowed.",
            fix="Use 1-100 letters, digits, '-', '_', '.', ':' or '/', starting and ending with "
            "a letter or digit.",
        )
    return key


def check_project_name(name: object) -> str:
    """Return a project's name. Raises InvalidOption for anything that could be a path."""
    if not isinstance(name, str) or not PROJECT_NAME.fullmatch(name):
        raise InvalidOption(
            f"project name {name!r} is not allowed.",
            fix="Use 1-64 lower-case letters, digits, '-' or '_', starting and ending with "
            "a letter or digit.",
        )
    return name
