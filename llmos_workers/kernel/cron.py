"""When a cron expression fires. Pure: instants in, instants out, all in Unix seconds.

Expressions have the five fields of Debian's cron (minute, hour, day of month, month, day of
week, with ``L`` for the last day and ``MON#2`` for the second Monday), or a name as ``@daily``.
Where a zone's clock is moved, an expression with fixed hour and minute fires once: at the first
minute there is when its own was skipped, at the first of the two when it comes twice. Steps
and stars in hour or minute follow real time.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from llmos_workers.contracts.errors import InvalidOption

NAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
MAX_CHARS = 200
GRACE_S = 60.0
"""A firing noticed later than this is a misfire."""

_WINDOWS_S = (3_600.0, 86_400.0, 32 * 86_400.0, 367 * 86_400.0)


class Misfire(StrEnum):
    """What happens to firings that no worker was there for."""

    ONCE = "once"
    """One goal makes up for all that were missed."""
    SKIP = "skip"
    """They are left out."""
    ALL = "all"
    """Each is made up for."""


def parse_zone(name: str) -> tzinfo:
    """The time zone of an IANA name. Raises InvalidOption."""
    try:
        return UTC if name.upper() == "UTC" else ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InvalidOption(
            f"there is no time zone {name!r:.60}.", fix="Use a name as Europe/Vienna, or UTC."
        ) from None


def parse_cron(text: str) -> str:
    """The expression in five fields. Raises InvalidOption for what is none, or never fires."""
    cron = NAMES.get(text.strip().lower(), " ".join(text.split()))
    fix = 'Write minute, hour, day, month, weekday, as in "0 9 * * MON-FRI", or @daily.'
    if len(cron) > MAX_CHARS or len(cron.split()) != 5:
        raise InvalidOption(f"{text!r:.80} is no cron expression of five fields.", fix=fix)
    try:
        if next_fire(cron, UTC, datetime.now(UTC).timestamp()) is None:
            raise InvalidOption(f"{cron!r} never fires.", fix=fix)
    except CronSimError as error:
        raise InvalidOption(f"{cron!r} is no cron expression: {error}.", fix=fix) from None
    return cron


def fires(cron: str, zone: tzinfo, after: float) -> Iterator[float]:
    """All firings later than ``after``, in order; ends when there are none for 50 years."""
    last = after
    for moment in CronSim(cron, datetime.fromtimestamp(after, zone)):
        # In an hour that comes twice the library may name one that lies behind.
        if moment.timestamp() > last:
            last = moment.timestamp()
            yield last


def next_fire(cron: str, zone: tzinfo, after: float) -> float | None:
    """The first firing later than ``after``."""
    return next(fires(cron, zone, after), None)


def due(
    cron: str, zone: tzinfo, misfire: Misfire, first: float, now: float, *, most: int = 500
) -> tuple[list[float], float | None]:
    """(the firings to submit now, the next one to wait for). ``first``: the one waited for.

    With ALL at most ``most`` at a time: the next may then be due already.
    """
    if first > now:
        return [], first
    if misfire is Misfire.ALL:
        wanted = [first]
        for moment in fires(cron, zone, first):
            if moment > now or len(wanted) == most:
                return wanted, moment
            wanted.append(moment)
        return wanted, None
    newest = _newest(cron, zone, first, now)
    skipped = misfire is Misfire.SKIP and now - newest > GRACE_S
    return ([] if skipped else [newest]), next_fire(cron, zone, newest)


def _newest(cron: str, zone: tzinfo, first: float, now: float) -> float:
    """The last firing up to ``now``; looks back step by step, for years of minutes are many."""
    for window in (*_WINDOWS_S, float("inf")):
        start = max(first, now - window)
        newest = None if start > first else first
        for moment in fires(cron, zone, start):
            if moment > now:
                break
            newest = moment
        if newest is not None:
            return newest
    return first
