"""What the economy tests share: a model that costs one micro-dollar per prompt token."""

from __future__ import annotations

from llmos_workers.contracts.outcome import Usage
from llmos_workers.kernel import keys
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
