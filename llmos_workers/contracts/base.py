"""What all contracts share: immutable pydantic models, money and ids."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from llmos_workers.contracts.errors import InvalidOption

MICRO_PER_USD = 1_000_000

Micro = Annotated[int, Field(ge=0)]
"""An amount of money in integer micro-dollars (10**-6 $), never negative."""

Json = Any
"""A JSON value: None, bool, int, float, str, list or dict with string keys."""


class Contract(BaseModel):
    """An immutable record that crosses a room or a process. Unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


def usd_to_micro(value: object, *, what: str = "budget") -> int:
    """Turn dollars (int, float, str, Decimal) into micro-dollars, rounding up.

    Raises InvalidOption for anything that is not a positive, finite amount below 10**9 $.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise InvalidOption(f"{what} must be an amount in dollars, not {value!r}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidOption(f"{what} must be a finite amount, not {value!r}.")
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise InvalidOption(f"{what} must be an amount in dollars, not {value!r}.") from None
    if not amount.is_finite() or amount <= 0 or amount >= 10**9:
        raise InvalidOption(
            f"{what} must be more than $0 and less than $1,000,000,000, not {value!r}."
        )
    return int((amount * MICRO_PER_USD).to_integral_value(rounding=ROUND_CEILING))


def micro_to_usd(micro: int) -> Decimal:
    """Exact dollars of an amount in micro-dollars."""
    return Decimal(micro) / MICRO_PER_USD


def format_usd(micro: int) -> str:
    """Dollars for people: ``$0.0123``; small amounts keep six places."""
    return f"${micro / MICRO_PER_USD:.4f}" if micro >= 1000 or micro == 0 else f"${micro / 1e6:.6f}"
