"""What can be asked of the token economy without changing it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import redis

from llmos_workers.contracts.base import micro_to_usd, usd_to_micro
from llmos_workers.contracts.errors import InvalidOption
from llmos_workers.kernel import keys
from llmos_workers.kernel.economy_scopes import Limits, ScopeState, read_scopes
from llmos_workers.kernel.ledger import (
    LedgerEntry,
    Reservation,
    read_entry,
    read_ledger,
    read_open,
)
from llmos_workers.kernel.prices import Prices

MAX_MICRO = 10**15
"""No amount reaches $1,000,000,000: integers stay exact in the script's doubles."""


class EconomyReads:
    """The reading half of TokenEconomy. ``limits`` are the first limits of the global scope."""

    def __init__(self, redis: redis.Redis, prices: Prices, limits: Limits) -> None:
        self._redis, self._prices, self._limits = redis, prices, limits

    @property
    def prices(self) -> Prices:
        """The price table that calls are bounded and charged by."""
        return self._prices

    def states(self, scopes: Sequence[str]) -> list[ScopeState]:
        """Scopes with their windows, all at one instant."""
        return read_scopes(self._redis, scopes, self._limits)

    def known_scopes(self) -> list[str]:
        """``global`` and every project that money was limited or moved in, by name."""
        found = {m.decode() for m in cast(set[bytes], self._redis.smembers(keys.BUDGET_SCOPES))}
        return ["global", *sorted(found - {"global"})]

    def scope(self, scope: str) -> dict[str, int | None]:
        """limit (None: without), spent, reserved, in_doubt and saved of a scope's lifetime."""
        state = self.states([scope])[0]
        life = state.lifetime
        return {
            "limit": life.limit_micro,
            "spent": life.spent_micro,
            "reserved": life.reserved_micro,
            "in_doubt": life.in_doubt_micro,
            "saved": state.saved_micro,
        }

    def available(self, *, project: str | None = None) -> int | None:
        """Micro-dollars that can still be reserved; None without any limit."""
        return _narrowest(self.states(_wider(project)))

    def affordable_max_tokens(
        self,
        model: str,
        request_bytes: int,
        *,
        project: str,
        goal_id: str,
        goal_budget_micro: int | None = None,
        cache_1h: bool = False,
    ) -> int | None:
        """The largest ``max_tokens`` that could be reserved for a call now; changes nothing.

        None: no limit bounds it. 0: not even the request fits. ``goal_budget_micro`` counts as
        in ``reserve``. A hint: only ``reserve`` decides. Raises UnknownModel.
        """
        states = self.states(scopes_of(project, goal_id))
        left = _narrowest(states)
        goal = states[-1].lifetime
        if goal.limit_micro is None and goal_budget_micro is not None:
            own = max(0, goal_budget_micro - goal.committed_micro)
            left = own if left is None else min(left, own)
        self._prices.resolve(model)
        if left is None:
            return None
        return self._prices.affordable_tokens(model, request_bytes, left, cache_1h=cache_1h)

    def can_afford(self, usd: object, *, project: str | None = None) -> bool:
        """Whether so many dollars fit now: a hint; only ``reserve`` decides. Raises
        InvalidOption for what is no amount.
        """
        micro, left = read_dollars(usd), self.available(project=project)
        return left is None or micro <= left

    def remaining_share(self, project: str) -> float:
        """Part of the budget that is left, 0..1: the smallest of all limits of global and the
        project, windows included; 1 without limits.
        """
        states = self.states(_wider(project))
        return min(sums.left_share for state in states for sums in state.all_sums)

    def get_summary(self, project: str | None = None) -> dict[str, Any]:
        """A project's scope, or the global one: ``budget`` (of the lifetime), ``remaining`` (what
        all its limits leave now), both None without a limit, ``spent``, ``reserved``,
        ``in_doubt``, ``saved``, each as ``*_micro`` (exact) and as ``*_usd`` (a float for people).
        """
        name = "global" if project is None else f"project:{project}"
        sums = self.scope(name)
        left = _narrowest(self.states([name]))
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

    def entries(self, *, since: float | None = None) -> Iterator[LedgerEntry]:
        """The whole ledger, or what was written from a Unix time on; oldest first, in pages."""
        return read_ledger(self._redis, since=since)

    def reservations(self) -> list[Reservation]:
        """All that are open, oldest first."""
        return read_open(self._redis)

    def doubts(self) -> list[Reservation]:
        """Calls that were sent and whose cost is not known: charged at their bound."""
        return [each for each in self.reservations() if each.state == "doubt"]


def scopes_of(project: str, goal_id: str) -> list[str]:
    """All scopes of a call, the widest first."""
    return ["global", f"project:{project}", f"goal:{goal_id}"]


def _wider(project: str | None) -> list[str]:
    return ["global"] if project is None else ["global", f"project:{project}"]


def _narrowest(states: Sequence[ScopeState]) -> int | None:
    """What every limit of the scopes leaves; None without any."""
    left = [sums.left_micro for state in states for sums in state.all_sums]
    return min((amount for amount in left if amount is not None), default=None)


def check_amount(micro: object, what: str) -> int:
    """The amount. Raises InvalidOption for what are no micro-dollars."""
    if isinstance(micro, bool) or not isinstance(micro, int) or not 0 <= micro < MAX_MICRO:
        raise InvalidOption(f"{what} must be whole micro-dollars from 0 up, not {micro!r}.")
    return micro


def read_dollars(usd: object) -> int:
    """Dollars, 0 allowed, as micro-dollars. Raises InvalidOption."""
    is_zero = isinstance(usd, int | float) and not isinstance(usd, bool) and usd == 0
    return 0 if is_zero else usd_to_micro(usd, what="amount")
