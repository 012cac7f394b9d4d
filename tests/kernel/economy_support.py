"""What the economy tests share: a model that costs one micro-dollar per prompt token."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta

from llmos_workers.contracts.outcome import Usage
from llmos_workers.kernel import economy, economy_scopes, keys, scripts
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.economy import TokenEconomy
from llmos_workers.kernel.prices import Prices

PRICES = """
[models."unit"]
input = "1"
output = "1"
cache_write_5m = "1"
cache_read = "1"
"""


def unit_prices(folder) -> Prices:
    path = folder / "prices.toml"
    if not path.exists():
        path.write_text(PRICES)
    return Prices.load(path)


def an_economy(client, folder, limit: int | None = None) -> TokenEconomy:
    return TokenEconomy(client, SystemClock(), unit_prices(folder), limit_micro=limit)


def used(micro: int) -> Usage:
    return Usage(input_tokens=micro)


def reserve(economy, bound: int, *, goal="g", project="p", fence=None, budget=None) -> str:
    return economy.reserve(
        goal_id=goal,
        project=project,
        model="unit",
        bound_micro=bound,
        purpose="test",
        fence=fence,
        goal_budget_micro=budget,
    )


def sums(economy, scope: str = "global") -> tuple[int, int, int]:
    found = economy.scope(scope)
    return found["spent"], found["reserved"], found["in_doubt"]


def ledger_sum(client, project: str | None = None) -> int:
    return sum(
        int(fields[b"micro"])
        for _, fields in client.xrange(keys.LEDGER)
        if project is None or fields[b"project"].decode() == project
    )


class Calendar:
    """Moves the day that the economy is in; nobody waits for midnight."""

    SHIFT = "test:shift"

    def __init__(self, client, monkeypatch):
        self.client = client
        real = economy._script()
        assert real.text.count("day_of(at") == 2
        shift = f"local shift = tonumber(redis.call('GET', '{self.SHIFT}') or '0')\n"
        text = shift + real.text.replace("day_of(at", "day_of(shift + at")
        digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        moved = scripts.Script("economy", text, digest)
        day = economy_scopes.current_day
        monkeypatch.setattr(economy, "_script", lambda: moved)
        monkeypatch.setattr(
            economy_scopes, "current_day", lambda at, latest: day(at + self.shift, latest)
        )

    @property
    def shift(self) -> int:
        return int(self.client.get(self.SHIFT) or 0)

    @property
    def today(self) -> str:
        now = datetime.fromtimestamp(self.client.time()[0] + self.shift, UTC)
        return now.strftime("%Y-%m-%d")

    def go_to(self, day: str) -> None:
        """To the noon of a day."""
        noon = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(hours=12)
        self.client.set(self.SHIFT, int(noon.timestamp()) - self.client.time()[0])

    def forward(self, days: int) -> None:
        self.client.incrby(self.SHIFT, days * 86_400)


def alerts_on_bus(client) -> list[dict]:
    entries = client.xrange(keys.BUS)
    return [json.loads(f[b"data"]) for _, f in entries if f[b"topic"] == b"BUDGET_LOW"]
