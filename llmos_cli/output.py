"""JSON for programs: one option, one way to print, one style. docs/cli.md tells it to users.

Names are snake_case. Money is whole micro-dollars and its name ends in ``_micro``; durations end in
``_s`` or ``_ms``. Moments are ISO 8601 in UTC, under the names of MOMENT. A command that lists
prints an object a line; every other one prints one object.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel

MOMENT = re.compile(r"(.+_)?(at|until|since|deadline)")
"""Fields of our records that hold Unix seconds."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def emit(value: BaseModel | dict[str, Any]) -> None:
    """Print one object on a line of its own."""
    data = value if isinstance(value, dict) else data_of(value)
    try:
        line = json.dumps(data, ensure_ascii=False, allow_nan=False)
    except ValueError:
        line = json.dumps(_finite(data), ensure_ascii=False)
    print(line, flush=True)


def emit_each(values: Iterable[BaseModel | dict[str, Any]]) -> None:
    """Print a list: an object a line, nothing for none."""
    for value in values:
        emit(value)


def say(value: BaseModel | dict[str, Any], text: str, *, as_json: bool) -> None:
    """Print the one for programs or the other for people."""
    if as_json:
        emit(value)
    else:
        print(text)


def data_of(model: BaseModel, *, exclude: set[str] | None = None) -> dict[str, Any]:
    """A record as JSON, its moments as ISO times. What users put into it stays as it is."""
    data = model.model_dump(mode="json", exclude=exclude)
    _moments(model, data)
    return data


def moment(seconds: float) -> str:
    """A Unix time as ISO 8601 in UTC with milliseconds: ``2026-11-21T10:30:00.250Z``."""
    told = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return told.replace("+00:00", "Z")


def _finite(value: Any) -> Any:
    """The value with null for what JSON has no number for."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


def _moments(value: Any, data: Any) -> None:
    """Put ISO times into ``data``, the dump of ``value``, wherever a model has a Unix time."""
    if isinstance(value, list | tuple) and isinstance(data, list):
        for one, dumped in zip(value, data, strict=True):
            _moments(one, dumped)
    fields = getattr(type(value), "model_fields", None)
    if fields is None or not isinstance(data, dict):
        return
    for name in fields:
        inner = getattr(value, name)
        if name not in data or inner is None:
            continue
        if MOMENT.fullmatch(name) and isinstance(inner, float | int):
            data[name] = moment(inner)
        else:
            _moments(inner, data[name])
