"""Goals that ask about a moment: what was right then is not right because it was right. Pure.

No file tells a replay that it is another day. So a trace whose goal speaks of a day, or whose
calls hold its date, counts on the day it was learned; one that speaks of the moment only where its
calls look again.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re

from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.learning.matching.arguments import leaves

_ANY = (
    r"(?:minute|hour|day|night|morning|week|month|quarter|year"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)day)"
)
_DAY = re.compile(
    r"today|tonight|tomorrow|yesterday|heute|gestern|aujourd.hui|demain|hoy|ayer|oggi|ieri"
    rf"|(?:this|last|next|past|previous|coming) (?:\w+ )?{_ANY}s?|{_ANY}s? ago"
    rf"|current (?:date|{_ANY})|(?:what|which) (?:date|day)\b",
    re.IGNORECASE,
)
_CLOCK = re.compile(
    r"current (?:date and )?time|(?:time|as of|right|just) now|what time|this (?:very )?moment"
    r"|the time\b(?= *[?.!]?$)",
    re.IGNORECASE,
)
_STATE = re.compile(
    r"now(?=[^.]*\?)|current(?:ly)?|at (?:the moment|present)|nowadays|latest|newest"
    r"|recent(?:ly)?|so far|jetzt|derzeit|actuellement|maintenant|ahora|adesso",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|`[^`]*`|(?<!\w)'[^']*'(?!\w)")


def day_in(goal: str) -> str:
    """What in a goal means another day on another day; "" when nothing does."""
    return _found(_DAY, goal)


def moment_in(goal: str) -> str:
    """What in a goal means the time of the clock, or of a day; "" when nothing does."""
    return _found(_CLOCK, goal) or day_in(goal)


def time_blockers(trace: ExecutionTrace, day: str) -> list[str]:
    """Why the trace may not be followed on a day (``2026-11-22``, UTC); empty: it may."""
    goal = trace.goal_text
    if not trace.steps:
        word = moment_in(goal) or _found(_STATE, goal)
        return [f"it asks about {word!r}, and its answer was no more than words"] if word else []
    if (word := _found(_CLOCK, goal)) and not any(step.informative for step in trace.steps):
        return [f"it asks about {word!r}, and none of its calls looks at anything"]
    if (word := day_in(goal)) and trace.created_at[:10] != day:
        return [f"it asks about {word!r}, and was learned on {trace.created_at[:10] or 'some day'}"]
    if trace.created_at[:10] != day and (said := _date_of(trace)):
        return [f"its calls hold {said}, the day on which it was learned, which its goal does not"]
    return []


def _date_of(trace: ExecutionTrace) -> str:
    """The day of the learning run as it stands in the calls and not in the goal; "" nowhere."""
    try:
        day = dt.date.fromisoformat(trace.created_at[:10])
    except ValueError:
        return ""
    forms = "|".join(re.escape(form) for form in _forms(day))
    date = re.compile(rf"(?<![A-Za-z0-9])(?:{forms})(?![0-9])", re.IGNORECASE)
    if date.search(trace.goal_text):
        return ""
    texts = (leaf for step in trace.steps for _, leaf in leaves(step.call.arguments))
    found = (date.search(text) for text in texts if isinstance(text, str))
    return next((each[0] for each in found if each), "")


def _forms(day: dt.date) -> list[str]:
    """How a day is written."""
    year, month, number = day.year, day.month, day.day
    names = [calendar.month_name[month], calendar.month_abbr[month]]
    plain = [f"{day:%Y-%m-%d}", f"{day:%Y%m%d}", f"{day:%Y/%m/%d}", f"{day:%d.%m.%Y}"]
    plain += [f"{day:%m/%d/%Y}", f"{day:%d/%m/%Y}", f"{number}.{month}.{year}"]
    words = [f"{name} {number}, {year}" for name in names]
    return plain + words + [f"{number} {name} {year}" for name in names]


def _found(pattern: re.Pattern[str], goal: str) -> str:
    """The first match that stands by itself: no part of a name, and not quoted."""
    for found in pattern.finditer(_QUOTED.sub(" ", goal)):
        before, after = found.string[: found.start()][-1:], found.string[found.end() :][:2]
        inside = before and (before.isalnum() or before in "_-./\\@#")
        if inside or re.match(r"[\w\\/@#-]|\.\w", after):
            continue
        return found[0].lower()
    return ""
