"""The token economy: money is reserved before a call, and settled to what it really cost.

All amounts are integer micro-dollars. In each scope (``global``, ``project:<p>``,
``goal:<id>``) spent + reserved + in_doubt <= limit at every instant, with any number of
workers; one Lua script (lua/economy.lua) does every change.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from typing import Any, cast

import redis

from llmos_workers.contracts.base import micro_to_usd, usd_to_micro
from llmos_workers.contracts.errors import (
    BudgetExceeded,
    GoalStateError,
    IllegalTransition,
    InvalidOption,
    LeaseLost,
)
from llmos_workers.contracts.outcome import Usage
from llmos_workers.kernel import keys, scripts
from llmos_workers.kernel.clock import Clock
from llmos_workers.kernel.lease import Lease
from llmos_workers.kernel.ledger import (
    LedgerEntry,
    Reservation,
    make_id,
    parts_of,
    read_entry,
    read_reservation,
)
from llmos_workers.kernel.prices import Prices

__all__ = ["LedgerEntry", "Reservation", "TokenEconomy"]

logger = logging.getLogger(__name__)

MAX_MICRO = 10**15
"""No amount reaches $1,000,000,000: integers stay exact in the script's doubles."""

SCOPE_FIELDS = ("limit", "spent", "reserved", "in_doubt", "saved")
UNFENCED_LIFE_S = 3_600.0
"""A reservation without a fence has nobody whose death shows; after this long it is dead."""


class TokenEconomy:
    """Reserves, settles and accounts for what models cost.

    ``limit_micro`` becomes the limit of the global scope when that has none yet; later only
    ``set_limit`` changes it. None: no limit.
    """

    def __init__(
        self, redis: redis.Redis, clock: Clock, prices: Prices, *, limit_micro: int | None
    ) -> None:
        self._redis, self._clock, self._prices = redis, clock, prices
        self._limit = "" if limit_micro is None else str(_amount(limit_micro, "limit"))

    @property
    def prices(self) -> Prices:
        """The price table that calls are bounded and charged by."""
        return self._prices

    # -- the way of a model call ---------------------------------------------------------------

    def reserve(
        self,
        *,
        goal_id: str,
        project: str,
        model: str,
        bound_micro: int,
        purpose: str,
        fence: int | None,
        goal_budget_micro: int | None = None,
        mode: str | None = None,
    ) -> str:
        """Hold the most a call can cost in all its scopes, or in none; the reservation's id.

        ``goal_budget_micro`` becomes the limit of the goal's scope when that has none yet.
        ``mode`` is what the ledger files the call under, by default the run's own. Raises
        BudgetExceeded with scope and numbers, LeaseLost when ``fence`` is stale, InvalidOption
        for what is no amount, UnknownModel.
        """
        model_id = self._prices.resolve(model)
        bound = _amount(bound_micro, "bound")
        budget = "" if goal_budget_micro is None else _amount(goal_budget_micro, "goal budget")
        reservation_id = make_id(uuid.uuid4().hex, project, goal_id)
        args = (bound, "" if fence is None else fence, model_id, purpose, mode or "")
        reply = self._run("reserve", reservation_id, (*args, self._limit, budget))
        if reply[0] == b"exceeded":
            raise _exceeded(reply, _scopes(project, goal_id), bound)
        if reply[0] == b"lost":
            raise LeaseLost(f"the run of goal {goal_id} lost its lease: no money was reserved.")
        return reservation_id

    def mark_sent(self, reservation_id: str) -> None:
        """Say that the request is about to leave: from here on it may cost.

        Raises LeaseLost when the run lost its goal (the money returned, nothing may be sent),
        IllegalTransition when the reservation is no longer open.
        """
        reply = self._run("sent", reservation_id)
        if reply[0] == b"lost":
            raise LeaseLost("the run lost its lease before its model call was sent.")
        _check(reply, reservation_id, "be sent")

    def release(self, reservation_id: str) -> None:
        """Return the money of a call that was never sent. Raises IllegalTransition otherwise."""
        _check(self._run("release", reservation_id), reservation_id, "be released")

    def settle(
        self,
        reservation_id: str,
        *,
        usage: Usage,
        journal: bytes | None = None,
        lease: Lease | None = None,
        model: str | None = None,
    ) -> int:
        """Charge what the call used and journal its response, in one script; the cost.

        The tokens are used, so the money is settled in any case: also after the lease was lost
        (then LeaseLost is raised *after* settling and nothing is journaled), above the bound
        (then logged, with a remark in the ledger), and for a reservation in doubt, whose hold
        this ends. Settling again changes nothing and returns the first cost. ``model`` is the
        id the endpoint says it used, when that is known to differ. Raises IllegalTransition
        for an unknown reservation.
        """
        if journal is not None and lease is None:
            raise GoalStateError("a journal entry needs the lease of its run.")
        priced = model or self._model_of(reservation_id)
        cost = self._prices.cost(priced, usage)
        holder = ("", "") if lease is None else (str(lease.fence), lease.owner)
        entry = ("0", b"") if journal is None else ("1", journal)
        reply = self._run("settle", reservation_id, (cost, *holder, *_tokens(usage), *entry))
        _check(reply, reservation_id, "be settled")
        if reply[3] == b"1":
            charged = int(reply[1])
            logger.warning(
                "call %s cost %d micro-dollars, above its bound", reservation_id, charged
            )
        if reply[2] == b"lost":
            raise LeaseLost("the run lost its lease during its model call; the call is charged.")
        return int(reply[1])

    def in_doubt(self, reservation_id: str) -> None:
        """Say that a call was sent and its answer is not known: it stays charged at its bound
        and listed in ``doubts`` until it is settled. Raises IllegalTransition unless sent.
        """
        _check(self._run("doubt", reservation_id), reservation_id, "be in doubt")

    def reclaim(self) -> dict[str, int]:
        """Return what dead runs reserved and never sent, put in doubt what they sent.

        For the upkeep role; leaves the reservations of live runs alone, whenever it runs.
        Returns how many became ``released`` and ``doubt``.
        """
        counts = {"released": 0, "doubt": 0}
        for reservation in self.reservations():
            if reservation.state == "doubt":
                continue
            reply = self._run("reclaim", reservation.reservation_id, (UNFENCED_LIFE_S,))
            became = reply[1].decode()
            if became in counts:
                counts[became] += 1
        return counts

    # -- other entries ---------------------------------------------------------------------------

    def record_saved(self, *, goal_id: str, project: str, mode: str, micro: int) -> None:
        """Note what a replay saved against learning; changes no limit."""
        reservation_id = make_id(uuid.uuid4().hex, project, goal_id)
        self._run("saved", reservation_id, (_amount(micro, "saving"), mode), goal_scope=False)

    def deduct(self, usd: object, description: str, *, project: str = "default") -> None:
        """Charge dollars directly. Raises BudgetExceeded, InvalidOption for what is no amount."""
        micro = _dollars(usd)
        reservation_id = make_id(uuid.uuid4().hex, project, "")
        args = (micro, description, self._limit)
        reply = self._run("deduct", reservation_id, args, goal_scope=False)
        if reply[0] == b"exceeded":
            raise _exceeded(reply, _scopes(project, ""), micro)

    def set_limit(self, scope: str, micro: int | None) -> None:
        """Set the limit of ``global``, ``project:<p>`` or ``goal:<id>``; None lifts it.

        Raises InvalidOption for a limit below what is already spent, reserved or in doubt, and
        for a scope or an amount that is none.
        """
        kind, _, name = scope.partition(":")
        if scope != "global" and not (kind in ("project", "goal") and name):
            raise InvalidOption(f"{scope!r} is no budget scope.", fix="Use global or project:NAME.")
        amount = "none" if micro is None else str(_amount(micro, "limit"))
        names = [keys.scope_budget(scope)] * 6
        reply = _script().run(self._redis, names, ("limit", "", "", "", amount))
        if reply[0] == b"committed":
            taken = micro_to_usd(int(reply[1]))
            raise InvalidOption(
                f"the limit of {scope} cannot be ${micro_to_usd(int(amount))}: "
                f"${taken} is spent or promised already.",
                fix=f"Set it to ${taken} or more.",
            )

    # -- reads -----------------------------------------------------------------------------------

    def scope(self, scope: str) -> dict[str, int | None]:
        """limit (None: without), spent, reserved, in_doubt and saved of a scope."""
        found = cast(
            "list[bytes | None]", self._redis.hmget(keys.scope_budget(scope), list(SCOPE_FIELDS))
        )
        sums: dict[str, int | None] = {
            name: int(value or 0) for name, value in zip(SCOPE_FIELDS[1:], found[1:], strict=True)
        }
        limit = found[0]
        if limit is None and scope == "global":
            limit = self._limit.encode() or None
        return {"limit": None if limit in (None, b"none") else int(limit), **sums}

    def available(self, *, project: str | None = None) -> int | None:
        """Micro-dollars that can still be reserved; None without any limit."""
        left = [_left(self.scope(name)) for name in _wider(project)]
        limited = [amount for amount in left if amount is not None]
        return min(limited) if limited else None

    def can_afford(self, usd: object, *, project: str | None = None) -> bool:
        """Whether so many dollars fit now: a hint; only ``reserve`` decides. Raises
        InvalidOption for what is no amount.
        """
        micro, left = _dollars(usd), self.available(project=project)
        return left is None or micro <= left

    def remaining_share(self, project: str) -> float:
        """Part of the budget that is left, 0..1: the smaller of global's and the project's; 1
        without limits.
        """
        shares = [1.0]
        for name in _wider(project):
            sums = self.scope(name)
            limit, left = sums["limit"], _left(sums)
            if limit is not None and left is not None:
                shares.append(left / limit if limit else 0.0)
        return min(shares)

    def get_summary(self, project: str | None = None) -> dict[str, Any]:
        """A project's scope, or the global one: ``budget``, ``remaining`` (None without a
        limit), ``spent``, ``reserved``, ``in_doubt``, ``saved``, each as ``*_micro`` (exact)
        and as ``*_usd`` (a float for people).
        """
        name = "global" if project is None else f"project:{project}"
        sums = self.scope(name)
        left = _left(sums)
        micro = {"budget": sums.pop("limit"), "remaining": left, **sums}
        summary: dict[str, Any] = {"scope": name}
        for what, amount in micro.items():
            summary[f"{what}_micro"] = amount
            summary[f"{what}_usd"] = None if amount is None else float(micro_to_usd(amount))
        return summary

    def ledger(self, *, count: int = 100) -> list[LedgerEntry]:
        """The newest entries, newest first."""
        entries = cast(Any, self._redis.xrevrange(keys.LEDGER, count=count))
        return [read_entry(entry_id, fields) for entry_id, fields in entries]

    def reservations(self) -> list[Reservation]:
        """All that are open, oldest first."""
        ids = [m.decode() for m in cast(list[bytes], self._redis.zrange(keys.RESERVATIONS, 0, -1))]
        with self._redis.pipeline(transaction=False) as pipe:
            for each in ids:
                pipe.hgetall(keys.reservation(each))
            found = zip(ids, pipe.execute(), strict=True)
            return [read_reservation(each, fields) for each, fields in found if fields]

    def doubts(self) -> list[Reservation]:
        """Calls that were sent and whose cost is not known: charged at their bound."""
        return [each for each in self.reservations() if each.state == "doubt"]

    # -- inside ----------------------------------------------------------------------------------

    def _model_of(self, reservation_id: str) -> str:
        model = cast("bytes | None", self._redis.hget(keys.reservation(reservation_id), "model"))
        if model is None:
            raise IllegalTransition(f"reservation {reservation_id} is not known.")
        return model.decode()

    def _run(
        self,
        op: str,
        reservation_id: str,
        args: Sequence[scripts.Argument] = (),
        *,
        goal_scope: bool = True,
    ) -> list[Any]:
        try:
            project, goal_id = parts_of(reservation_id)
        except ValueError:
            raise IllegalTransition(f"{reservation_id!r} is no reservation.") from None
        scopes = _scopes(project, goal_id)[: 3 if goal_scope else 2]
        names = [keys.LEDGER, keys.RESERVATIONS, keys.reservation(reservation_id)]
        names += [keys.goal(goal_id), keys.goal_journal(goal_id)]
        names += [keys.scope_budget(scope) for scope in scopes]
        head = (op, reservation_id, goal_id, project)
        reply: list[Any] = _script().run(self._redis, names, (*head, *args))
        return reply


def _script() -> scripts.Script:
    return scripts.load("economy", include=("fence",))


def _scopes(project: str, goal_id: str) -> list[str]:
    return ["global", f"project:{project}", f"goal:{goal_id}"]


def _wider(project: str | None) -> list[str]:
    return ["global"] if project is None else ["global", f"project:{project}"]


def _left(sums: dict[str, int | None]) -> int | None:
    limit = sums["limit"]
    if limit is None:
        return None
    return max(0, limit - sum(sums[name] or 0 for name in ("spent", "reserved", "in_doubt")))


def _tokens(usage: Usage) -> tuple[int, ...]:
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_write_5m_tokens,
        usage.cache_write_1h_tokens,
        usage.cache_read_tokens,
    )


def _amount(micro: object, what: str) -> int:
    if isinstance(micro, bool) or not isinstance(micro, int) or not 0 <= micro < MAX_MICRO:
        raise InvalidOption(f"{what} must be whole micro-dollars from 0 up, not {micro!r}.")
    return micro


def _dollars(usd: object) -> int:
    is_zero = isinstance(usd, int | float) and not isinstance(usd, bool) and usd == 0
    return 0 if is_zero else usd_to_micro(usd, what="amount")


def _exceeded(reply: Sequence[Any], scopes: Sequence[str], needed: int) -> BudgetExceeded:
    scope, available, limit = scopes[int(reply[1]) - 1], int(reply[2]), int(reply[3])
    return BudgetExceeded(scope, needed=needed, available=available, limit=limit)


def _check(reply: Sequence[Any], reservation_id: str, what: str) -> None:
    if reply[0] == b"state":
        state = reply[1].decode() or "not known"
        raise IllegalTransition(f"reservation {reservation_id} is {state} and cannot {what}.")
