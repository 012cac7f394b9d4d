"""The audit of the economy: do ledger, sums, reservations and limits say the same?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import redis

from llmos_workers.contracts.base import Contract, format_usd
from llmos_workers.contracts.watch import Watch, unwatched
from llmos_workers.kernel import economy_scopes, keys, scripts
from llmos_workers.kernel.economy_scopes import ScopeState, Sums
from llmos_workers.kernel.ledger import (
    LedgerEntry,
    Reservation,
    read_entry,
    read_ledger,
    read_reservation,
)

_HELD_AS = {"reserved": "reserved", "sent": "reserved", "doubt": "in_doubt"}
_GOALS_AT_ONCE = 1_000


class Fault(Contract):
    """A number that is not what it has to be; amounts are micro-dollars."""

    scope: str
    window: str
    """"" (lifetime), day or month; its period stands in ``what``."""
    what: str
    expected: int
    found: int

    def __str__(self) -> str:
        where = f"{self.scope}, {self.window}" if self.window else self.scope
        numbers = f"{format_usd(self.found)} instead of {format_usd(self.expected)}"
        return f"{where}: {self.what}: {numbers} ({self.found} / {self.expected})"


class Audit(Contract):
    """What an audit looked at and found."""

    ledger_entries: int
    scopes: int
    reservations: int
    spent_micro: int
    """By the ledger."""
    faults: tuple[Fault, ...]


@dataclass
class _Expected:
    """Sums by (scope, period, kind); the lifetime's period is ""."""

    sums: defaultdict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    entries: int = 0
    last: str = ""

    def add(self, scopes: Iterable[str], day: str, kind: str, micro: int) -> None:
        for scope in scopes if micro else ():
            for period in {"", day, day[:7]}:
                self.sums[scope, period, kind] += micro

    def line(self, line: LedgerEntry) -> None:
        self.entries, self.last = self.entries + 1, line.entry_id
        scopes = ["global", f"project:{line.project}"]
        self.add(scopes, "", "saved", line.saved_micro)
        if line.goal_id:
            scopes += [f"goal:{each}" for each in (line.goal_id, *line.above)]
        self.add(scopes, line.day, "spent", line.micro)
        self.add(scopes, line.day, "over", line.over_micro)

    def held(self, call: Reservation) -> None:
        scopes = ["global", f"project:{call.project}"]
        scopes += [f"goal:{each}" for each in (call.goal_id, *call.above)]
        self.add(scopes, call.day, _HELD_AS[call.state], call.bound_micro)


def audit(client: redis.Redis, watch: Watch = unwatched) -> Audit:
    """Check the invariants of all money while the system runs.

    In each scope, lifetime and the windows that hold now: spent is the ledger's sum, reserved
    and in doubt are those of the open reservations, nothing is negative, and together they are
    within the limit (but for what calls cost above their bounds, which the ledger remarks).
    Reads the whole ledger in pages and the rest at one instant.
    """
    expected = _Expected()
    for line in watch("adding up the ledger", read_ledger(client)):
        expected.line(line)
    now, lines, scopes, reservations = _snapshot(client, expected)
    for entry_id, fields in lines:
        expected.line(read_entry(entry_id, fields))
    faults = list(_reservation_faults(expected, reservations))
    today = economy_scopes.current_day(now, scopes.get("global", {}).get("day", ""))
    states = [economy_scopes.state_of(name, found, today, {}) for name, found in scopes.items()]
    for state in states:
        faults += _scope_faults(expected, state)
    unknown = {key[0] for key in expected.sums} - set(scopes)
    for name in sorted(unknown):
        if not name.startswith("goal:"):
            faults.append(_fault(name, Sums(), "spent", expected.sums[name, "", "spent"], 0))
    return Audit(
        ledger_entries=expected.entries,
        scopes=len(states),
        reservations=len(reservations),
        spent_micro=expected.sums["global", "", "spent"],
        faults=tuple(faults),
    )


def _snapshot(
    client: redis.Redis, expected: _Expected
) -> tuple[float, list[Any], dict[str, dict[str, str]], dict[str, dict[bytes, bytes]]]:
    """Time, ledger lines that are new since, scopes and open reservations, at one instant."""
    names = [keys.LEDGER, keys.RESERVATIONS, keys.BUDGET_SCOPES]
    goals = sorted({scope for scope, _, _ in expected.sums if scope.startswith("goal:")})
    prefixes = (keys.scope_budget(""), keys.reservation(""))
    args = (expected.last, *prefixes, *_existing(client, goals))
    now, lines, scopes, reservations = scripts.load("economy_snapshot").run(client, names, args)
    return (
        float(now),
        [(entry_id, _pairs(flat)) for entry_id, flat in lines],
        {n.decode(): f for n, flat in scopes if (f := economy_scopes.text_of(_pairs(flat)))},
        {call_id.decode(): _pairs(flat) for call_id, flat in reservations},
    )


def _existing(client: redis.Redis, scopes: list[str]) -> Iterator[str]:
    """Those of the goals' scopes that are still kept."""
    for start in range(0, len(scopes), _GOALS_AT_ONCE):
        part = scopes[start : start + _GOALS_AT_ONCE]
        with client.pipeline(transaction=False) as pipe:
            for scope in part:
                pipe.exists(keys.scope_budget(scope))
            found = pipe.execute()
        yield from (scope for scope, there in zip(part, found, strict=True) if there)


def _reservation_faults(
    expected: _Expected, reservations: Mapping[str, dict[bytes, bytes]]
) -> Iterator[Fault]:
    """Adds up what the open reservations hold."""
    for call_id, fields in reservations.items():
        call = read_reservation(call_id, fields) if fields else None
        if call is None or call.state not in _HELD_AS:
            state = call.state if call else "gone"
            what = f"reservation {call_id} is {state} and listed as open"
            yield Fault(scope="global", window="", what=what, expected=0, found=1)
            continue
        expected.held(call)


def _scope_faults(expected: _Expected, state: ScopeState) -> Iterator[Fault]:
    saved = expected.sums[state.scope, "", "saved"]
    if state.saved_micro != saved and not state.scope.startswith("goal:"):
        yield _fault(state.scope, state.lifetime, "saved", saved, state.saved_micro)
    for sums in state.all_sums:
        found = {
            "spent": sums.spent_micro,
            "reserved": sums.reserved_micro,
            "in_doubt": sums.in_doubt_micro,
        }
        for kind, micro in found.items():
            right = expected.sums[state.scope, sums.period, kind]
            if micro != right:
                yield _fault(state.scope, sums, kind, right, micro)
        over = expected.sums[state.scope, sums.period, "over"]
        if sums.limit_micro is not None and sums.committed_micro > sums.limit_micro + over:
            yield _fault(state.scope, sums, "limit", sums.limit_micro, sums.committed_micro)


_WORDS = {
    "spent": "spent is not the sum of the ledger",
    "reserved": "reserved is not the sum of the open reservations",
    "in_doubt": "in doubt is not the sum of the calls in doubt",
    "saved": "saved is not the sum of the ledger",
    "limit": "spent, reserved and in doubt are above the limit",
}


def _fault(scope: str, sums: Sums, kind: str, expected: int, found: int) -> Fault:
    what = f"{sums.period}: {_WORDS[kind]}" if sums.period else _WORDS[kind]
    return Fault(scope=scope, window=sums.window, what=what, expected=expected, found=found)


def _pairs(flat: Any) -> dict[bytes, bytes]:
    """A Lua answer of fields as a mapping; RESP 3 scripts answer HGETALL flat as well."""
    if isinstance(flat, dict):
        return cast("dict[bytes, bytes]", flat)
    return dict(zip(flat[::2], flat[1::2], strict=True))
