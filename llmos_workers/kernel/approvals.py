"""Approvals: a person says yes or no to exactly the call that was shown, once.

A request is bound to goal and digest of tool and arguments. ``consume`` succeeds once, for an
approved, unexpired request of the same goal and digest: an approved A never runs B, and a yes
never runs A twice. A no, and silence until the request expired, stay for that goal and digest.

A request may ask for money instead: a yes to it raises the limit that it names by the amount that
it names, in the same step, and is used up with that.

Every answer puts the goal on the wake list before the goal is woken, and takes it off after: an
answer whose process died in between is seen by ``wake_due`` (upkeep).
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from typing import Any, cast

import redis

from llmos_workers.contracts.approvals import Approval, ApprovalState, LimitRaise
from llmos_workers.contracts.errors import (
    ApprovalClosed,
    GoalFinished,
    InvalidOption,
    LeaseLost,
    NotThere,
    ToolDenied,
)
from llmos_workers.contracts.goal import FINAL_STATES, GoalState
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.kernel import keys, scripts
from llmos_workers.kernel.approval_text import show_call, visible
from llmos_workers.kernel.goal_codec import pairs
from llmos_workers.kernel.goal_submit import not_found

DEFAULT_TTL_S = 86_400
DEFAULT_KEPT_S = 7 * 86_400
MAX_NAME_CHARS = 200
MAX_WHY_CHARS = 1_000

Wake = Callable[[str], object]
"""Makes a waiting goal run again; False: it did not wait (any more)."""

Approvals_ = list[Approval]
_FINAL_BYTES = {state.value.encode() for state in FINAL_STATES}
_FINALS = f"|{'|'.join(state.value for state in FINAL_STATES)}|"


class Approvals:
    """The requests in Redis. ``ttl_s``: how long one waits; ``kept_s``: how long the requests
    of an ended goal can still be read; ``wake``: called with the goal of every answer.
    """

    def __init__(
        self,
        redis: redis.Redis,
        *,
        ttl_s: float = DEFAULT_TTL_S,
        kept_s: int = DEFAULT_KEPT_S,
        wake: Wake | None = None,
    ) -> None:
        self._redis = redis
        self._ttl_s = ttl_s
        self._kept_s = kept_s
        self._wake = wake

    # -- the gate --------------------------------------------------------------------------

    def request(
        self,
        goal_id: str,
        call: ToolCall,
        *,
        project: str,
        step: int = 0,
        rule: str = "",
        reason: str = "",
        raises: LimitRaise | None = None,
        fence: int | None = None,
    ) -> Approval:
        """Ask for approval of a call, or find out what became of asking. ``raises``: what a yes
        does besides.

        PENDING: the goal has to wait. APPROVED: consume it. DENIED, or EXPIRED and unanswered:
        the call must not run, now or later in this goal. Raises GoalNotFound, GoalFinished,
        LeaseLost; ToolDenied for arguments that have no digest.
        """
        digest = call_digest(call)
        fields = {
            "project": project,
            "tool": visible(call.name, limit=MAX_NAME_CHARS),
            "shown": show_call(call),
            "step": str(step),
            "rule": visible(rule, limit=MAX_NAME_CHARS),
            "reason": visible(reason, limit=MAX_WHY_CHARS),
        }
        if raises is not None:
            fields["raise_scope"] = raises.scope
            fields["raise_window"] = raises.window
            fields["raise_micro"] = str(raises.micro)
            fields["raise_needed_micro"] = str(raises.needed_micro)
        flat = [part for pair in fields.items() for part in pair]
        new_id = secrets.token_hex(8)
        lease = "" if fence is None else fence
        reply = self._run("request", goal_id, (new_id, digest, lease, self._ttl_s, *flat))
        return _read(pairs(reply[1]))

    def consume(self, goal_id: str, digest: str, *, fence: int | None = None) -> bool:
        """Use up the yes to this very call: True once, for the caller who may run it now.

        False: never asked, pending, denied, expired, used before. Raises LeaseLost,
        GoalFinished, GoalNotFound.
        """
        lease = "" if fence is None else fence
        reply = self._run("consume", goal_id, (digest, lease, secrets.token_hex(8)))
        return bool(reply[0] == b"ok")

    def latest(self, goal_id: str, digest: str) -> Approval | None:
        """The newest request of the goal for that call, as it was last written."""
        found = cast(bytes | None, self._redis.hget(keys.goal_approvals(goal_id), digest))
        return None if found is None else self._find(found.decode())

    def close_goal(self, goal_id: str, why: str = "the goal ended") -> None:
        """Close what the goal still has open; for whoever brings a goal to its end."""
        self._run("close", goal_id, (why,))

    # -- people ----------------------------------------------------------------------------

    def get(self, approval_id: str) -> Approval:
        """One request by its exact id. Raises NotThere."""
        found = self._find(approval_id)
        if found is None:
            raise NotThere(
                f"there is no approval {visible(approval_id, limit=60)}.",
                fix="See llmos approvals; give the whole id.",
            )
        return found

    def pending(self, *, project: str | None = None) -> Approvals_:
        """Requests without an answer, the one that expires first on top."""
        ids = cast(list[bytes], self._redis.zrange(keys.APPROVALS_OPEN, 0, -1))
        found = self._find_many([each.decode() for each in ids])
        return [
            one
            for one in found
            if one.state is ApprovalState.PENDING and project in (None, one.project)
        ]

    def of_goal(self, goal_id: str) -> Approvals_:
        """The newest request for each call that the goal asked about, oldest first."""
        ids = cast(list[bytes], self._redis.hvals(keys.goal_approvals(goal_id)))
        return sorted(self._find_many([i.decode() for i in ids]), key=lambda one: one.created_at)

    def approve(self, approval_id: str, *, by: str | None = None, why: str = "") -> Approval:
        """Say yes to one request. Raises NotThere, ApprovalClosed, InvalidOption."""
        return self._answer(approval_id, ApprovalState.APPROVED, by, why)

    def deny(self, approval_id: str, *, why: str = "", by: str | None = None) -> Approval:
        """Say no, also to what was approved and not used yet. Raises as approve."""
        return self._answer(approval_id, ApprovalState.DENIED, by, why)

    # -- upkeep ----------------------------------------------------------------------------

    def expire_due(self, now: float, *, limit: int = 500) -> int:
        """Expire requests that nobody answered by ``now`` (Unix s); their goals go on without.

        Also closes what ended goals left open. How many requests expired.
        """
        due = self._redis.zrangebyscore(keys.APPROVALS_OPEN, "-inf", now, 0, limit)
        count = 0
        for approval_id in (each.decode() for each in cast(list[bytes], due)):
            found = self._find(approval_id)
            if found is None:
                self._redis.zrem(keys.APPROVALS_OPEN, approval_id)
                continue
            count += self._run("expire", found.goal_id, (approval_id,))[0] == b"ok"
        for goal_id in self._ended_askers(limit):
            self.close_goal(goal_id)
        return count

    def funded(self, approval_id: str) -> bool:
        """End an open request for money without an answer: what it asks for is there by now. Its
        goal goes on, and asks again should it still lack money. False: not open any more. Raises
        NotThere; GoalFinished.
        """
        goal_id = self.get(approval_id).goal_id
        return bool(self._run("funded", goal_id, (approval_id,))[0] == b"ok")

    def wake_due(self, *, limit: int = 500) -> int:
        """Wake the goals that wait and whose answer is there; how many. Without ``wake`` none."""
        if self._wake is None:
            return 0
        due = cast(list[bytes], self._redis.zrange(keys.APPROVALS_WAKE, 0, limit - 1))
        return sum(self._wake_one(goal_id.decode()) for goal_id in due)

    # -- inside ----------------------------------------------------------------------------

    def _answer(self, approval_id: str, to: ApprovalState, by: str | None, why: str) -> Approval:
        by = who() if by is None else by
        check_words(by, "by", most=MAX_NAME_CHARS, needed=True)
        check_words(why, "why", most=MAX_WHY_CHARS)
        found = self.get(approval_id)
        try:
            args = (approval_id, to.value, by, why)
            reply = self._run("answer", found.goal_id, args, scope=found.raise_scope)
        except GoalFinished as ended:
            raise ApprovalClosed(f"approval {approval_id}: {ended.message}") from ended
        if reply[0] == b"no":
            raise ApprovalClosed(
                f"approval {approval_id} is already {reply[1].decode()}; it cannot become {to}."
            )
        self._wake_one(found.goal_id)
        return _read(pairs(reply[1]))

    def _wake_one(self, goal_id: str) -> bool:
        """Wake a goal that waits for approval, then take it off the list; whether it was woken.

        An answer may come before its goal has begun to wait: a goal in any other live state
        stays on the list, and so does one that is answered again in between.
        """
        if self._wake is None:
            return False
        asked_at = self._redis.zscore(keys.APPROVALS_WAKE, goal_id)
        state = cast(bytes | None, self._redis.hget(keys.goal(goal_id), "state"))
        waits = state == GoalState.WAITING_APPROVAL.value.encode()
        woken = waits and self._wake(goal_id) is not False
        done = woken or state is None or state in _FINAL_BYTES
        if done and asked_at == self._redis.zscore(keys.APPROVALS_WAKE, goal_id):
            self._redis.zrem(keys.APPROVALS_WAKE, goal_id)
        return woken

    def _ended_askers(self, limit: int) -> list[str]:
        """Goals that asked, and are final or forgotten."""
        raw = cast(list[bytes], self._redis.zrange(keys.APPROVALS_GOALS, 0, limit - 1))
        askers = [each.decode() for each in raw]
        with self._redis.pipeline(transaction=False) as pipe:
            for goal_id in askers:
                pipe.hget(keys.goal(goal_id), "state")
            states = pipe.execute() if askers else []
        gone = {None, *_FINAL_BYTES}
        return [each for each, s in zip(askers, states, strict=True) if s in gone]

    def _find(self, approval_id: str) -> Approval | None:
        fields = cast(dict[bytes, bytes], self._redis.hgetall(keys.approval(approval_id)))
        return _read(fields) if fields else None

    def _find_many(self, ids: Sequence[str]) -> Approvals_:
        with self._redis.pipeline(transaction=False) as pipe:
            for each in ids:
                pipe.hgetall(keys.approval(each))
            return [_read(fields) for fields in (pipe.execute() if ids else []) if fields]

    def _run(
        self, op: str, goal_id: str, args: Sequence[scripts.Argument], *, scope: str = ""
    ) -> list[Any]:
        names = [
            keys.goal(goal_id),
            keys.goal_approvals(goal_id),
            keys.APPROVALS_OPEN,
            keys.APPROVALS_GOALS,
            keys.APPROVALS_WAKE,
            keys.APPROVALS_AUDIT,
            keys.goal_events(goal_id),
            keys.scope_budget(scope or f"goal:{goal_id}"),
        ]
        head = (op, goal_id, keys.approval(""), _FINALS, self._kept_s)
        script = scripts.load("approvals", include=("fence",))
        reply: list[Any] = script.run(self._redis, names, (*head, *args))
        if reply[0] == b"missing":
            raise not_found(goal_id)
        if reply[0] == b"ended":
            raise GoalFinished(f"goal {goal_id} is already {reply[1].decode()}.")
        if reply[0] == b"lost":
            raise LeaseLost(f"the run of goal {goal_id} lost its lease and may do nothing more.")
        return reply


def call_digest(call: ToolCall) -> str:
    """The call's digest. Raises ToolDenied for text that is no Unicode (lone surrogates)."""
    try:
        return call.digest()
    except UnicodeEncodeError as error:
        raise ToolDenied(
            f"{call.name}: an argument holds text that is no Unicode; nobody could approve it.",
            rule="approval",
        ) from error


def who() -> str:
    """``user@host`` of this process."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # no name for the uid, as in some containers
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def check_words(text: object, what: str, *, most: int, needed: bool = False) -> None:
    """Raise InvalidOption unless it is one line of text that shows as it is."""
    if not isinstance(text, str) or len(text) > most or (needed and not text.strip()):
        raise InvalidOption(f"{what} must be a text of {int(needed)}-{most} characters.")
    if visible(text) != text:
        raise InvalidOption(f"{what} holds characters that do not show: {visible(text)}.")


def _read(fields: dict[bytes, bytes]) -> Approval:
    known = {name.decode(): value.decode() for name, value in fields.items()}
    known.pop("used_by", None)
    return Approval.model_validate(known)
