"""The token economy: money is reserved before a call, and settled to what it really cost.

All amounts are integer micro-dollars. In each scope (``global``, ``project:<p>``,
``goal:<id>``), over its lifetime and in each day and month (UTC), spent + reserved + in_doubt
<= limit at every instant, with any number of workers; one Lua script (lua/economy.lua) does
every change.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from typing import Any, Self, cast

import redis

from llmos_workers.config import KernelConfig
from llmos_workers.contracts.base import micro_to_usd, usd_to_micro
from llmos_workers.contracts.errors import (
    BudgetExceeded,
    GoalStateError,
    IllegalTransition,
    InvalidOption,
    LeaseLost,
)
from llmos_workers.contracts.events import Topic
from llmos_workers.contracts.outcome import Usage
from llmos_workers.kernel import keys, scripts
from llmos_workers.kernel.clock import Clock
from llmos_workers.kernel.economy_reads import EconomyReads, check_amount, read_dollars, scopes_of
from llmos_workers.kernel.economy_scopes import (
    BudgetAlert,
    ScopeState,
    Window,
    check_scope,
    window_end,
)
from llmos_workers.kernel.events import EventBus
from llmos_workers.kernel.lease import Lease
from llmos_workers.kernel.ledger import (
    LedgerEntry,
    Reservation,
    make_id,
    parts_of,
)
from llmos_workers.kernel.prices import Prices

__all__ = ["BudgetAlert", "LedgerEntry", "Reservation", "ScopeState", "TokenEconomy"]

logger = logging.getLogger(__name__)

UNFENCED_LIFE_S = 3_600.0
"""A reservation without a fence has nobody whose death shows; after this long it is dead."""


class TokenEconomy(EconomyReads):
    """Reserves, settles and accounts for what models cost.

    The limits become those of the global scope (lifetime, each day, each month) where it has
    none yet; later only ``set_limit`` changes them. None: no limit. Each BudgetAlert goes to
    the bus's stream in the script that causes it, and here to the subscribers of ``bus`` in
    this process.
    """

    def __init__(
        self,
        redis: redis.Redis,
        clock: Clock,
        prices: Prices,
        *,
        limit_micro: int | None,
        daily_micro: int | None = None,
        monthly_micro: int | None = None,
        bus: EventBus | None = None,
    ) -> None:
        given = {"": limit_micro, "day": daily_micro, "month": monthly_micro}
        limits = {
            window: "" if micro is None else str(check_amount(micro, "limit"))
            for window, micro in given.items()
        }
        super().__init__(redis, prices, limits)
        self._clock, self._bus = clock, bus

    @classmethod
    def from_config(
        cls,
        redis: redis.Redis,
        clock: Clock,
        prices: Prices,
        config: KernelConfig,
        *,
        bus: EventBus | None = None,
    ) -> Self:
        """With the limits of the settings."""
        per_window = (config.budget_usd, config.daily_budget_usd, config.monthly_budget_usd)
        life, day, month = (None if usd is None else usd_to_micro(usd) for usd in per_window)
        return cls(
            redis, clock, prices, limit_micro=life, daily_micro=day, monthly_micro=month, bus=bus
        )

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
        bound = check_amount(bound_micro, "bound")
        budget = "" if goal_budget_micro is None else check_amount(goal_budget_micro, "goal budget")
        reservation_id = make_id(uuid.uuid4().hex, project, goal_id)
        args = (bound, "" if fence is None else fence, model_id, purpose, mode or "")
        reply = self._run("reserve", reservation_id, (*args, *self._limits.values(), budget))
        if reply[0] == b"exceeded":
            raise _exceeded(reply, bound)
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
        if reply[4] == b"1":
            charged = int(reply[2])
            logger.warning(
                "call %s cost %d micro-dollars, above its bound", reservation_id, charged
            )
        if reply[3] == b"lost":
            raise LeaseLost("the run lost its lease during its model call; the call is charged.")
        return int(reply[2])

    def in_doubt(self, reservation_id: str) -> None:
        """Say that a call was sent and its answer is not known: it stays charged at its bound
        and listed in ``doubts`` until it is settled. Raises IllegalTransition unless sent.
        """
        _check(self._run("doubt", reservation_id), reservation_id, "be in doubt")

    def correct(self, reservation_id: str, cost_micro: int, *, why: str) -> None:
        """Charge a call in doubt what evidence says it cost (0: nothing), by hand; the ledger
        keeps ``why``. Raises IllegalTransition when it is not in doubt.
        """
        args = (check_amount(cost_micro, "cost"), why)
        _check(self._run("correct", reservation_id, args), reservation_id, "be corrected")

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
            became = reply[2].decode()
            if became in counts:
                counts[became] += 1
        return counts

    # -- other entries ---------------------------------------------------------------------------

    def record_saved(
        self, *, goal_id: str, project: str, mode: str, micro: int, lease: Lease | None = None
    ) -> None:
        """Note what a replay saved against learning; changes no limit.

        With its run's ``lease`` once for each goal, also when the run is repeated within an
        hour. Raises LeaseLost.
        """
        nonce = uuid.uuid4().hex if lease is None else "saved"
        holder = ("", "") if lease is None else (str(lease.fence), lease.owner)
        args = (check_amount(micro, "saving"), mode, *holder)
        reply = self._run("saved", make_id(nonce, project, goal_id), args, goal_scope=False)
        if reply[0] == b"lost":
            raise LeaseLost(f"the run of goal {goal_id} lost its lease: its saving is not noted.")

    def deduct(self, usd: object, description: str, *, project: str = "default") -> None:
        """Charge dollars directly. Raises BudgetExceeded, InvalidOption for what is no amount."""
        micro = read_dollars(usd)
        reservation_id = make_id(uuid.uuid4().hex, project, "")
        args: list[scripts.Argument] = [micro, description, *self._limits.values()]
        reply = self._run("deduct", reservation_id, args, goal_scope=False)
        if reply[0] == b"exceeded":
            raise _exceeded(reply, micro)

    def set_limit(self, scope: str, micro: int | None, *, window: Window | None = None) -> None:
        """Set the limit of ``global``, ``project:<p>`` or ``goal:<id>``; None lifts it.

        ``window`` makes it the limit of each day or month (UTC), beside that of the lifetime;
        a goal has only the latter. Raises InvalidOption for a limit below what is already
        spent, reserved or in doubt, and for a scope or an amount that is none.
        """
        check_scope(scope, window)
        amount = "none" if micro is None else str(check_amount(micro, "limit"))
        goal_id = scope.partition(":")[2] if scope.startswith("goal:") else ""
        names = _key_names("", goal_id, ["global", scope])
        args = ("limit", "", goal_id, "", amount, window or "", scope)
        reply = self._told(_script().run(self._redis, names, args))
        if reply[0] == b"committed":
            taken = micro_to_usd(int(reply[1]))
            raise InvalidOption(
                f"the limit of {scope} cannot be ${micro_to_usd(int(amount))}: "
                f"${taken} is spent or promised already.",
                fix=f"Set it to ${taken} or more.",
            )

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
        scopes = scopes_of(project, goal_id)[: 3 if goal_scope else 2]
        names = _key_names(reservation_id, goal_id, scopes)
        head = (op, reservation_id, goal_id, project)
        return self._told(_script().run(self._redis, names, (*head, *args)), goal_id)

    def _told(self, reply: list[Any], goal_id: str = "") -> list[Any]:
        """Pass on the alerts of a script's answer; the answer."""
        for found in reply[1] if reply[0] == b"ok" else ():
            scope, window, period, share, charged, limit = (part.decode() for part in found)
            alert = BudgetAlert(
                scope=scope, window=window, period=period, share=int(share),
                charged_micro=int(charged), limit_micro=int(limit), goal_id=goal_id,
            )  # fmt: skip
            logger.warning("%s", alert_words(alert))
            if self._bus is not None:
                self._bus.notify(Topic.BUDGET_LOW, alert.model_dump())
        return reply


def alert_words(alert: BudgetAlert) -> str:
    """An alert for people."""
    window = f" for {alert.period} (UTC)" if alert.period else ""
    charged, limit = micro_to_usd(alert.charged_micro), micro_to_usd(alert.limit_micro)
    return f"{alert.share} % of the budget of {alert.scope}{window} is used: ${charged} of ${limit}"


def _script() -> scripts.Script:
    return scripts.load("economy", include=("fence", "calendar", "economy_scopes"))


def _key_names(reservation_id: str, goal_id: str, scopes: Sequence[str]) -> list[str]:
    names = [keys.LEDGER, keys.RESERVATIONS, keys.reservation(reservation_id)]
    names += [keys.goal(goal_id), keys.goal_journal(goal_id), keys.BUDGET_SCOPES, keys.BUS]
    return names + [keys.scope_budget(scope) for scope in scopes]


def _tokens(usage: Usage) -> tuple[int, ...]:
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_write_5m_tokens,
        usage.cache_write_1h_tokens,
        usage.cache_read_tokens,
    )


def _exceeded(reply: Sequence[Any], needed: int) -> BudgetExceeded:
    scope, available, limit = reply[1].decode(), int(reply[2]), int(reply[3])
    window, until = reply[4].decode(), window_end(reply[5].decode())
    return BudgetExceeded(
        scope, needed=needed, available=available, limit=limit, window=window, until=until
    )


def _check(reply: Sequence[Any], reservation_id: str, what: str) -> None:
    if reply[0] == b"state":
        state = reply[1].decode() or "not known"
        raise IllegalTransition(f"reservation {reservation_id} is {state} and cannot {what}.")
