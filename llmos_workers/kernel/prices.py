"""What model calls cost. The one place for prices: data/prices.toml, and a file of the user's.

All arithmetic is on integers: prices are pico-dollars (10**-12 $) per token, a call's cost is
rounded up to a whole micro-dollar.
"""

from __future__ import annotations

import logging
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from importlib import resources
from pathlib import Path
from typing import Any, Self

from llmos_workers.contracts.errors import MalformedFile, UnknownModel
from llmos_workers.contracts.outcome import Usage

logger = logging.getLogger(__name__)

PICO_PER_MICRO = 1_000_000
OVERHEAD_TOKENS = 1_024
"""Prompt tokens that a request may cost beyond its own bytes: the endpoint's tool preamble."""

_SNAPSHOT = re.compile(r"-(?:\d{8}|latest)$")
_RATES = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
_FAMILY_KEYS = frozenset((*_RATES, "ids", "long_prompt"))
_LONG_KEYS = frozenset((*_RATES, "above"))


@dataclass(frozen=True)
class Rates:
    """Pico-dollars per token of each kind."""

    input: int
    output: int
    cache_write_5m: int
    cache_write_1h: int
    cache_read: int

    def pico(self, usage: Usage) -> int:
        """Exact price of a call."""
        return (
            usage.input_tokens * self.input
            + usage.output_tokens * self.output
            + usage.cache_write_5m_tokens * self.cache_write_5m
            + usage.cache_write_1h_tokens * self.cache_write_1h
            + usage.cache_read_tokens * self.cache_read
        )


@dataclass(frozen=True)
class Price:
    """A family's rates; ``long`` holds for prompts of more than ``above`` tokens in all."""

    base: Rates
    above: int = 0
    long: Rates | None = None

    def rates(self, prompt_tokens: int) -> Rates:
        """Those that hold for a prompt of that size."""
        return self.long if self.long is not None and prompt_tokens > self.above else self.base

    def reachable(self, prompt_tokens: int) -> tuple[Rates, ...]:
        """Those that may hold for a prompt of at most that size."""
        if self.long is not None and prompt_tokens > self.above:
            return (self.base, self.long)
        return (self.base,)


@dataclass(frozen=True)
class Retired:
    """An id that is served until a day, and what to use instead."""

    until: date
    replacement: str


@dataclass(frozen=True)
class Prices:
    """The price table. ``sources`` are the files it was read from, the user's last."""

    models: Mapping[str, Price]
    aliases: Mapping[str, str]
    retired: Mapping[str, Retired]
    date: date
    """Day on which the shipped prices held."""
    sources: tuple[str, ...]
    _warned: set[str] = field(default_factory=set, compare=False)

    @classmethod
    def load(cls, path: Path | str | None = None) -> Self:
        """The shipped prices, and over them those of the file ``path``.

        Raises MalformedFile.
        """
        shipped = resources.files("llmos_workers.kernel") / "data" / "prices.toml"
        tables = [(str(shipped), shipped.read_text("utf-8"))]
        if path is not None:
            try:
                tables.append((str(path), Path(path).read_text("utf-8")))
            except (OSError, UnicodeDecodeError) as error:
                raise MalformedFile(str(path), f"cannot be read: {error}.") from error
        read = [_read(source, text) for source, text in tables]
        return cls(
            models={k: v for part in read for k, v in part.models.items()},
            aliases={k: v for part in read for k, v in part.aliases.items()},
            retired={k: v for part in read for k, v in part.retired.items()},
            date=read[0].day,
            sources=tuple(source for source, _ in tables),
        )

    def with_free(self, model: str) -> Self:
        """The same prices, and ``model`` at nothing unless its price is known: for models on
        one's own machines.
        """
        if model in self.aliases or model in self.models or _SNAPSHOT.sub("", model) in self.models:
            return self
        nothing = Price(Rates(0, 0, 0, 0, 0))
        return replace(self, models={**self.models, model: nothing})

    def resolve(self, model: str) -> str:
        """The model id behind an alias; an id stays itself. Logs once that an id retires.

        Raises UnknownModel, naming the price file.
        """
        model_id = self.aliases.get(model, model)
        self.price(model_id)
        notice = self.notice(model_id)
        if notice and model_id not in self._warned:
            self._warned.add(model_id)
            logger.warning(notice)
        return model_id

    def notice(self, model: str) -> str | None:
        """What to tell a user of a model that goes away; None for all others."""
        retired = self.retired.get(model)
        if retired is None:
            return None
        return (
            f"model {model} is retired on {retired.until.isoformat()}: "
            f"use {retired.replacement} instead."
        )

    def price(self, model: str) -> Price:
        """The price of a model id. Raises UnknownModel."""
        found = self.models.get(model) or self.models.get(_SNAPSHOT.sub("", model))
        if found is None:
            raise UnknownModel(
                f"no price is known for the model {model!r} in {' and '.join(self.sources)}.",
                fix="Check the name, or put its prices into a file that sdk.price_file names.",
            )
        return found

    def cost(self, model: str, usage: Usage) -> int:
        """What a call cost, in micro-dollars, rounded up. Raises UnknownModel."""
        price = self.price(self.resolve(model))
        return _micro(price.rates(usage.prompt_tokens).pico(usage))

    def bound(
        self, model: str, request_bytes: int, max_tokens: int, *, cache_1h: bool = False
    ) -> int:
        """Most a call can cost, in micro-dollars, before it is made.

        Each byte of the request counts as a prompt token at the dearest price it can have
        (fresh or written to the cache; for an hour only with ``cache_1h``), and the response
        as ``max_tokens``. Raises UnknownModel.
        """
        if request_bytes < 0 or max_tokens < 0:
            raise ValueError("sizes are not negative")
        prompt = request_bytes + OVERHEAD_TOKENS
        return max(
            _micro(prompt * _dearest(rates, cache_1h=cache_1h) + max_tokens * rates.output)
            for rates in self.price(self.resolve(model)).reachable(prompt)
        )

    def affordable_tokens(
        self, model: str, request_bytes: int, micro: int, *, cache_1h: bool = False
    ) -> int | None:
        """The largest ``max_tokens`` whose bound is at most ``micro``; None when every one is
        (responses cost nothing), 0 also when the request alone is too dear. Raises UnknownModel.
        """
        if self.bound(model, request_bytes, 0, cache_1h=cache_1h) > micro:
            return 0
        prompt = request_bytes + OVERHEAD_TOKENS
        fitting = [
            (micro * PICO_PER_MICRO - prompt * _dearest(rates, cache_1h=cache_1h)) // rates.output
            for rates in self.price(self.resolve(model)).reachable(prompt)
            if rates.output
        ]
        return min(fitting, default=None)


@dataclass(frozen=True)
class _Table:
    models: dict[str, Price]
    aliases: dict[str, str]
    retired: dict[str, Retired]
    day: date


def _micro(pico: int) -> int:
    return -(-pico // PICO_PER_MICRO)


def _dearest(rates: Rates, *, cache_1h: bool) -> int:
    kinds = [rates.input, rates.cache_write_5m, rates.cache_read]
    return max([*kinds, rates.cache_write_1h] if cache_1h else kinds)


def _read(source: str, text: str) -> _Table:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MalformedFile(source, f"is not TOML: {error}.") from error
    unknown = set(data) - {"date", "aliases", "models", "retired"}
    if unknown:
        raise MalformedFile(source, f"unknown keys: {', '.join(sorted(unknown))}.")
    try:
        models = {
            model_id: price
            for name, family in data.get("models", {}).items()
            for model_id, price in _family(source, name, family).items()
        }
        retired = {
            name: Retired(entry["until"], entry["replacement"])
            for name, entry in data.get("retired", {}).items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise MalformedFile(source, f"a table lacks or misuses {error}.") from error
    return _Table(models, dict(data.get("aliases", {})), retired, data.get("date", date.min))


def _family(source: str, name: str, family: dict[str, Any]) -> dict[str, Price]:
    _check_keys(source, name, family, _FAMILY_KEYS)
    base, long = _rates(source, name, family), family.get("long_prompt")
    price = Price(base)
    if long is not None:
        _check_keys(source, name, long, _LONG_KEYS)
        price = Price(base, int(long["above"]), _rates(source, name, long))
    # A family without ids is one model of that name, as local models usually are.
    return dict.fromkeys(family.get("ids", [name]), price)


def _check_keys(source: str, name: str, table: dict[str, Any], known: frozenset[str]) -> None:
    unknown = set(table) - known
    if unknown:
        raise MalformedFile(source, f"{name}: unknown keys: {', '.join(sorted(unknown))}.")


def _rates(source: str, name: str, table: dict[str, Any]) -> Rates:
    base = _pico(source, name, table["input"])
    given = {kind: _pico(source, name, table[kind]) for kind in _RATES if kind in table}
    # What a user's file leaves out of the cache prices costs what the official ratios say.
    defaults = {"cache_write_5m": -(-base * 5 // 4), "cache_write_1h": 2 * base, "cache_read": base}
    return Rates(**(defaults | given))


def _pico(source: str, name: str, value: object) -> int:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise InvalidOperation
        pico = Decimal(str(value)) * PICO_PER_MICRO
        exact = pico.is_finite() and 0 <= pico < 10**12 and pico == int(pico)
    except InvalidOperation:
        exact = False
    if not exact:
        raise MalformedFile(
            source,
            f"{name}: {value!r} is not a price.",
            fix="Prices are dollars per million tokens, not negative, at most 6 decimals.",
        )
    return int(pico)
