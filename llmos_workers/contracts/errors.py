"""The one error hierarchy of llmos.

    LLMOSError
    ├── UsageError                 the caller can fix it by asking differently      exit 2
    │   ├── InvalidGoal            empty, too long, not text
    │   ├── InvalidOption          mode, project, budget, priority, deadline, ...
    │   ├── UnknownAgent
    │   ├── PayloadError           a message of another app that is not our contract
    │   ├── ConfigError            unknown key, wrong type, unreadable file
    │   ├── GoalNotFound
    │   └── NotThere               no approval or schedule has that id
    ├── Refused                    a rule said no; nothing ran                      exit 3
    │   ├── BudgetExceeded
    │   ├── PolicyDenied
    │   └── NoTrace                FOLLOWER was demanded and nothing may be followed
    ├── InfrastructureError        a part of the machine is missing                 exit 6
    │   ├── BrokerUnavailable
    │   ├── IndexUnavailable
    │   ├── IncompatibleSchema     the data in Redis is of another release
    │   ├── WorkspaceUnwritable
    │   └── SandboxUnavailable
    ├── ModelError                 the model's side failed                          exit 1
    │   ├── ModelUnauthorized      401, 403: the key
    │   ├── UnknownModel           no price, or the endpoint does not know it
    │   ├── ModelRefusedRequest    400, 413, 422: the request, or a spend limit
    │   ├── RateLimited            429; carries retry_after
    │   ├── Overloaded             529
    │   └── ModelTransient         5xx, connection, broken-off or stalled stream
    ├── ToolError                  a tool could not do its work                     exit 1
    │   ├── ToolDenied             the gate said no
    │   └── FileMissing            a path of the project that does not exist
    ├── GoalStateError             a rule about a goal's life was broken            exit 1
    │   ├── IllegalTransition
    │   ├── LeaseHeld
    │   ├── LeaseLost
    │   ├── GoalFinished
    │   ├── ApprovalNeeded         a person has to say yes first; carries approval_id
    │   ├── Cancelled
    │   ├── DeadlineExceeded
    │   ├── CallInDoubt            a call may have happened, and is not to be repeated
    │   ├── WorkerStopping         the goal goes on in another worker
    │   ├── PublishConflict        files of a project were changed by someone else meanwhile
    │   ├── ApprovalClosed         the request was answered, used, or is too old
    │   └── NotFinished            a wait ended before its goal (TimeoutError)      exit 8
    └── DataError                  a stored thing cannot be read                    exit 1
        ├── MalformedFile          trace, agent, skill, price file: path and line
        └── CodecError
            └── NewerFormat        only a newer release can read it

Every message says what is wrong and, where there is one, what to do about it (``fix``).
"""

from __future__ import annotations

from typing import ClassVar


class LLMOSError(Exception):
    """Base of all errors that llmos raises on purpose.

    ``fix`` is one sentence that tells the user what to do; ``exit_code`` is what the
    command line returns for it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message} {self.fix}".strip()


class UsageError(LLMOSError):
    """The request cannot be understood or is outside its bounds."""

    exit_code = 2


class InvalidGoal(UsageError):
    """The goal's text is empty, too long or not text."""


class InvalidOption(UsageError):
    """An option of a goal is unknown or outside its range."""


class UnknownAgent(UsageError):
    """No agent of that name is loaded."""


class PayloadError(UsageError):
    """A message from another app does not follow the payload contract."""


class ConfigError(UsageError):
    """A configuration key is unknown, a value has the wrong type, a file cannot be read."""


class GoalNotFound(UsageError):
    """No goal has that id (never submitted, or past its retention)."""


class NotThere(UsageError):
    """No approval, schedule or other stored thing of the system has that id."""


class Refused(LLMOSError):
    """A rule said no before anything was done."""

    exit_code = 3


class BudgetExceeded(Refused):
    """A reservation does not fit what is left of a scope. Amounts are micro-dollars.

    ``window`` is day or month when that limit is the one that does not fit, ``until`` when it
    is over (ISO 8601, UTC).
    """

    def __init__(
        self,
        scope: str,
        *,
        needed: int,
        available: int,
        limit: int,
        window: str = "",
        until: str = "",
    ) -> None:
        which = f"{scope} for this {window} (UTC)" if window else scope
        wait = f"Wait until {until}, raise" if until else "Raise"
        option = f" --window {window}" if window else ""
        super().__init__(
            f"budget of {which} is too small: needs up to ${needed / 1e6:.6f}, "
            f"${available / 1e6:.6f} of ${limit / 1e6:.6f} is left.",
            fix=f"{wait} the limit (llmos budget set {scope} AMOUNT{option}), "
            "or choose a cheaper model or mode.",
        )
        self.scope, self.needed, self.available, self.limit = scope, needed, available, limit
        self.window, self.until = window, until


class PolicyDenied(Refused):
    """Configuration or internal state forbids this goal or mode."""


class NoTrace(Refused):
    """Replay was demanded, and no trace may be followed for this goal."""


class InfrastructureError(LLMOSError):
    """A service or device that llmos needs is not there or does not work."""

    exit_code = 6


class BrokerUnavailable(InfrastructureError):
    """Redis does not answer."""


class IndexUnavailable(InfrastructureError):
    """The vector index does not answer."""


class IncompatibleSchema(InfrastructureError):
    """The data in Redis cannot be worked on by this release, or not brought to it now."""


class WorkspaceUnwritable(InfrastructureError):
    """The workspace cannot be written: read-only, no permission, or the disk is full."""


class SandboxUnavailable(InfrastructureError):
    """This host cannot confine a command to the demanded level."""


class ModelError(LLMOSError):
    """The model, its endpoint or the way to it failed."""


class ModelUnauthorized(ModelError):
    """The endpoint refused the key (401, 403)."""


class UnknownModel(ModelError):
    """No price is known for the model, or the endpoint does not know it."""


class ModelRefusedRequest(ModelError):
    """The endpoint refused the request for good (400, 413, 422, spend limit reached)."""


class RateLimited(ModelError):
    """429. ``retry_after`` is in seconds, None when the endpoint did not say."""

    def __init__(self, message: str, *, retry_after: float | None = None, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.retry_after = retry_after


class Overloaded(RateLimited):
    """529: the endpoint has no capacity now."""


class ModelTransient(ModelError):
    """5xx, a lost connection, a stalled or broken-off stream: may pass when tried again."""


class ToolError(LLMOSError):
    """A tool could not do its work; the message is safe to show to the model."""


class ToolDenied(ToolError):
    """The gate refused the call; ``rule`` names what refused it."""

    def __init__(self, message: str, *, rule: str, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.rule = rule


class FileMissing(ToolError):
    """A file or folder of the project does not exist."""


class GoalStateError(LLMOSError):
    """A rule about the life of a goal was broken."""


class IllegalTransition(GoalStateError):
    """A goal cannot go from its present state to the asked one."""


class LeaseHeld(GoalStateError):
    """Another run holds the goal; ``remaining`` seconds are left of its lease."""

    def __init__(self, message: str, *, remaining: float) -> None:
        super().__init__(message)
        self.remaining = remaining


class LeaseLost(GoalStateError):
    """The fencing token is no longer the goal's newest: this run may write nothing more."""


class GoalFinished(GoalStateError):
    """The goal already reached a final state."""


class ApprovalNeeded(GoalStateError):
    """A call waits for a person's yes; the goal waits with it. Not a failure."""

    exit_code = 4

    def __init__(self, message: str, *, approval_id: str, fix: str = "") -> None:
        super().__init__(message, fix=fix)
        self.approval_id = approval_id


class Cancelled(GoalStateError):
    """Someone asked to cancel the goal; the run stops before its next step."""

    exit_code = 5


class DeadlineExceeded(GoalStateError):
    """The goal's deadline passed; no further step is started."""


class CallInDoubt(GoalStateError):
    """A call with outside effects was begun and nobody knows how it ended; it is not repeated."""


class WorkerStopping(GoalStateError):
    """This worker was told to stop: the goal is given back, and goes on from its journal."""


class ApprovalClosed(GoalStateError):
    """The request for approval cannot be answered (so) any more."""


class PublishConflict(GoalStateError):
    """Nothing was published: ``files`` are no longer as this change found them.

    ``others`` names the goals that changed them; empty when it was not llmos.
    """

    def __init__(
        self, message: str, *, files: tuple[str, ...], others: tuple[str, ...] = (), fix: str = ""
    ) -> None:
        super().__init__(message, fix=fix)
        self.files, self.others = files, others


class NotFinished(GoalStateError, TimeoutError):
    """The goal has no outcome yet when the wait for it ends; the goal itself goes on."""

    exit_code = 8


class DataError(LLMOSError):
    """Something stored cannot be read."""


class MalformedFile(DataError):
    """A file of the workspace does not parse; names path, line (1-based, 0 unknown) and reason."""

    def __init__(self, path: str, reason: str, *, line: int = 0, fix: str = "") -> None:
        where = f"{path}:{line}" if line else path
        super().__init__(f"{where}: {reason}", fix=fix)
        self.path, self.reason, self.line = path, reason, line


class CodecError(DataError):
    """Bytes on the wire are not what the codec writes, or are past its size bound."""


class NewerFormat(CodecError):
    """A newer release wrote it, in a form that this one cannot read. It was left as it is."""

    def __init__(self, what: str, version: object, known: int) -> None:
        super().__init__(
            f"{what} is written in format {version}; this release reads up to {known}.",
            fix="Upgrade this llmos; until then a newer worker does it.",
        )
