"""Scopes of money as they are read: what is limited, spent, promised and left, per window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

import redis

from llmos_workers.contracts.base import Contract, Micro
from llmos_workers.contracts.errors import InvalidOption
from llmos_workers.kernel import keys

Window = Literal["day", "month"]
WINDOWS: tuple[Window, ...] = ("day", "month")
ALERT_SHARES = (80, 95)
"""Percent of a limit at which charged money (spent and in doubt) is told as BUDGET_LOW."""

_SUMS = ("limit", "spent", "reserved", "in_doubt")
_LATER_DAYS = 2
"""How far the server's clock may be set back without a window beginning again."""

Limits = Mapping[str, str]
"""First limits of the global scope by window ("" is the lifetime); "" for none."""


class Sums(Contract):
    """Money of one scope over its lifetime (``window`` "") or in the window that holds now."""

    window: Literal["", "day", "month"] = ""
    period: str = ""
    """Which one: 2026-11-22 or 2026-11, UTC; "" for the lifetime."""
    limit_micro: Micro | None = None
    """None: without."""
    spent_micro: int = 0
    reserved_micro: int = 0
    in_doubt_micro: int = 0

    @property
    def committed_micro(self) -> int:
        """Spent, reserved and in doubt: what a limit bounds."""
        return self.spent_micro + self.reserved_micro + self.in_doubt_micro

    @property
    def left_micro(self) -> int | None:
        """What can still be reserved; None without a limit."""
        if self.limit_micro is None:
            return None
        return max(0, self.limit_micro - self.committed_micro)

    @property
    def left_share(self) -> float:
        """The same as a part of the limit, 0..1; 1 without a limit."""
        if self.limit_micro is None:
            return 1.0
        return (self.left_micro or 0) / self.limit_micro if self.limit_micro else 0.0


class ScopeState(Contract):
    """A scope: its lifetime sums, and those of the windows that hold now (none for a goal)."""

    scope: str
    lifetime: Sums
    windows: tuple[Sums, ...] = ()
    saved_micro: int = 0
    """What replays saved against learning, over the lifetime."""

    @property
    def all_sums(self) -> tuple[Sums, ...]:
        """Lifetime first."""
        return (self.lifetime, *self.windows)


class BudgetAlert(Contract):
    """Charged money (spent and in doubt) reached a share of a limit."""

    scope: str
    window: Literal["", "day", "month"]
    period: str
    share: int
    """80 or 95, percent."""
    charged_micro: Micro
    limit_micro: Micro
    goal_id: str = ""
    """The goal whose call it was; "" when none."""


def check_scope(scope: str, window: str | None = None) -> None:
    """Raises InvalidOption for what is no scope, or a window that the scope does not have."""
    kind, _, name = scope.partition(":")
    if scope != "global" and not (kind in ("project", "goal") and name):
        raise InvalidOption(
            f"{scope!r} is no budget scope.", fix="Use global, project:NAME or goal:ID."
        )
    if window is not None and window not in WINDOWS:
        raise InvalidOption(f"{window!r} is no window.", fix="Use day or month.")
    if window is not None and kind == "goal":
        raise InvalidOption("a goal's limit holds for all its life, not for a window.")


def window_end(period: str) -> str:
    """When the window of a period is over, ISO 8601 in UTC; "" for the lifetime's ""."""
    if not period:
        return ""
    begin = datetime.fromisoformat(period if len(period) > 7 else f"{period}-01")
    end = begin + timedelta(days=1)
    if len(period) <= 7:
        end = (begin + timedelta(days=31)).replace(day=1)
    return end.strftime("%Y-%m-%dT00:00Z")


def read_scopes(client: redis.Redis, names: Sequence[str], first: Limits) -> list[ScopeState]:
    """The named scopes at one instant. ``first`` stands in for limits global does not have yet."""
    with client.pipeline(transaction=True) as pipe:
        pipe.time()
        pipe.hget(keys.scope_budget("global"), "day")
        for name in names:
            pipe.hgetall(keys.scope_budget(name))
        now, latest, *found = pipe.execute()
    seconds = int(cast("tuple[int, int]", now)[0])
    today = current_day(seconds, (latest or b"").decode())
    return [
        state_of(name, text_of(fields), today, first if name == "global" else {})
        for name, fields in zip(names, found, strict=True)
    ]


def current_day(seconds: float, latest: str) -> str:
    """The day that windows are in: the clock's, unless the latest begun is a little ahead."""
    clock = datetime.fromtimestamp(seconds, UTC)
    horizon = (clock + timedelta(days=_LATER_DAYS)).strftime("%Y-%m-%d")
    today = clock.strftime("%Y-%m-%d")
    return latest if today < latest <= horizon else today


def text_of(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    """A Redis hash as text."""
    return {name.decode(): value.decode() for name, value in fields.items()}


def state_of(scope: str, fields: Mapping[str, str], today: str, first: Limits) -> ScopeState:
    """A scope of its hash, on a day (UTC)."""
    return ScopeState(
        scope=scope,
        lifetime=_sums(fields, "", "", first),
        windows=()
        if scope.startswith("goal:")
        else (_sums(fields, "day", today, first), _sums(fields, "month", today[:7], first)),
        saved_micro=int(fields.get("saved", 0)),
    )


def _sums(fields: Mapping[str, str], window: str, period: str, first: Limits) -> Sums:
    prefix = f"{window}_" if window else ""
    limit = fields.get(f"{prefix}limit") or first.get(window) or "none"
    over = bool(window) and fields.get(window) != period
    spent, reserved, in_doubt = (
        0 if over else int(fields.get(prefix + name, 0)) for name in _SUMS[1:]
    )
    return Sums(
        window=cast(Any, window),
        period=period,
        limit_micro=None if limit == "none" else int(limit),
        spent_micro=spent,
        reserved_micro=reserved,
        in_doubt_micro=in_doubt,
    )
