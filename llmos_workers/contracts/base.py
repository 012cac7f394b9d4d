"""What all contracts share: immutable pydantic models, money and ids."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from functools import cache
from typing import Annotated, Any, TypeVar, cast, get_args

from pydantic import BaseModel, ConfigDict, Field

from llmos_workers.contracts.errors import InvalidOption

T = TypeVar("T")

MICRO_PER_USD = 1_000_000

Micro = Annotated[int, Field(ge=0)]
"""An amount of money in integer micro-dollars (10**-6 $), never negative."""

Json = Any
"""A JSON value: None, bool, int, float, str, list or dict with string keys."""


class Contract(BaseModel):
    """An immutable record that crosses a room. Unknown fields are refused: settings, what people
    write by hand, what a model answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Record(Contract):
    """A contract that is stored or travels between processes, which may be of two releases.

    Fields that the next release added are kept and written again, and mean nothing here. So a
    field that may not be overlooked needs a higher version of its format: see docs/upgrades.md.
    """

    model_config = ConfigDict(extra="allow")


def unknown_fields(record: BaseModel) -> tuple[str, ...]:
    """Dotted names of the fields in it, at any depth, that this release does not know."""
    found = list(record.model_extra or ())
    for name in _nesting(type(record)):
        value = getattr(record, name)
        many = value if isinstance(value, tuple) else (value,)
        for part in many:
            if isinstance(part, BaseModel):
                found += [f"{name}.{inner}" for inner in unknown_fields(part)]
    return tuple(found)


@cache
def _nesting(kind: type[BaseModel]) -> tuple[str, ...]:
    """Fields that may hold records: all but those that are declared as plain values."""
    return tuple(
        name for name, field in kind.model_fields.items() if not _is_plain(field.annotation)
    )


def _is_plain(annotation: Any) -> bool:
    parts = get_args(annotation) or (annotation,)
    return all(part is Ellipsis or part in _PLAIN for part in parts)


_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})


def of_known(kind: type[T], data: Mapping[str, Any], **more: Any) -> T:
    """A dataclass of what it knows of stored data; a newer release may have written more.

    Raises TypeError where something is missing.
    """
    names = {field.name for field in fields(cast(Any, kind))}
    return kind(**{name: value for name, value in data.items() if name in names}, **more)


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
