"""Rate limits of model endpoints, kept by all workers together.

Per model three token buckets (requests, input and output tokens a minute) that refill evenly up
to one minute's worth, and one cooldown that a refusal (429, 529) starts for everybody. All in
one Lua script by the server's clock; a model that nobody calls leaves nothing behind.
"""

from __future__ import annotations

import math
import random
import uuid
from dataclasses import dataclass
from typing import Protocol, Self, cast

from llmos_workers.contracts.errors import InvalidOption
from llmos_workers.kernel import keys, scripts
from llmos_workers.kernel.redis import Client

FIRST_PAUSE_SECS = 1.0
"""Cooldown after a first refusal that named no time; doubled with each in a row."""

LONGEST_PAUSE_SECS = 60.0

LONGEST_ASKED_SECS = 3_600.0
"""More than this is not believed of a ``retry-after``."""


class RateSettings(Protocol):
    """The limits in the settings (config.sdk)."""

    @property
    def rpm(self) -> int | None:
        """Requests per minute."""
        ...

    @property
    def itpm(self) -> int | None:
        """Input tokens per minute."""
        ...

    @property
    def otpm(self) -> int | None:
        """Output tokens per minute."""
        ...


@dataclass(frozen=True)
class Limits:
    """Per minute and model; None: unlimited."""

    rpm: int | None = None
    itpm: int | None = None
    otpm: int | None = None

    @classmethod
    def of(cls, settings: RateSettings) -> Self:
        """The limits of ``config.sdk``."""
        return cls(settings.rpm, settings.itpm, settings.otpm)


@dataclass(frozen=True)
class RateStatus:
    """What a model's buckets hold now; None without a limit, below 0: a debt."""

    requests: float | None
    input_tokens: float | None
    output_tokens: float | None
    cooling_s: float
    """Seconds for which nobody calls the model."""
    streak: int
    """Refusals in a row, each after the cooldown of the one before."""


class ModelRates:
    """Asks before each model call, and tells what came of it. Threads may share it."""

    def __init__(
        self, redis: Client, limits: Limits, *, chance: random.Random | None = None
    ) -> None:
        """``chance``: where the jitter of cooldowns comes from."""
        self._redis, self._limits = redis, limits
        self._chance = chance or random.Random()

    def acquire(self, model: str, input_tokens: int, output_tokens: int) -> float:
        """0: go, the tokens are taken. Else nothing is taken: ask again in so many seconds.

        Ask for upper bounds and give the rest back with ``settle``. A request that is larger
        than a bucket goes when that is full, and the next ones wait until it is paid off. Those
        who wait are told different times, as far apart as the limits demand. Raises
        InvalidOption for negative tokens.
        """
        if input_tokens < 0 or output_tokens < 0:
            raise InvalidOption("tokens cannot be less than 0.")
        return float(self._run("acquire", model, input_tokens, output_tokens)[0])

    def settle(self, model: str, *, input_tokens: int, output_tokens: int) -> None:
        """After an answer: the tokens really used, less those acquired (below 0: give back).

        Also ends the streak of refusals, unless a cooldown goes on.
        """
        self._run("settle", model, input_tokens, output_tokens)

    def cool_down(self, model: str, retry_after_s: float | None) -> float:
        """After a refusal: nobody calls the model for a time; how many seconds from now.

        ``retry_after_s``: what the endpoint said. Without it 1 s, doubled up to 60 s with each
        refusal that follows a cooldown, less a random part of up to a half. Refusals during a
        cooldown never shorten it.
        """
        asked = _believed(retry_after_s)
        args = ("" if asked is None else asked, self._chance.random())
        return float(self._run("cool", model, *args, FIRST_PAUSE_SECS, LONGEST_PAUSE_SECS)[0])

    def status(self, model: str) -> RateStatus:
        """What is left, for people; changes nothing."""
        *left, cooling, streak, _ = (each.decode() for each in self._run("status", model))
        requests, inputs, outputs = (float(each) if each else None for each in left)
        return RateStatus(requests, inputs, outputs, float(cooling), int(streak))

    def _run(self, op: str, model: str, *args: scripts.Argument) -> list[bytes]:
        limits = ("" if each is None else each for each in vars(self._limits).values())
        script = scripts.load("rates", include=("fence",))
        head = (op, uuid.uuid4().hex, *limits)
        return cast(list[bytes], script.run(self._redis, [keys.rate(model)], (*head, *args)))


def _believed(seconds: float | None) -> float | None:
    """A ``retry-after`` in its bounds; None when it makes no sense."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return None
    return min(seconds, LONGEST_ASKED_SECS)
