"""What the guard says about a part of a call, and how sayings add up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Verdict(IntEnum):
    """The worst of all parts is the verdict on the whole."""

    ALLOW = 0
    CONFIRM = 1
    """A person has to say yes; unattended that is a no that leaves a question behind."""
    DENY = 2


@dataclass(frozen=True)
class Finding:
    """A verdict with the rule that gave it, and the part of the call it is about."""

    verdict: Verdict
    rule: str
    """``path``, ``network``, ``unknown``, ...: docs/guard.md lists them."""
    reason: str


FINE = Finding(Verdict.ALLOW, "", "")


def worst(findings: Iterable[Finding]) -> Finding:
    """The first of the worst ones; FINE when there are none."""
    found = FINE
    for finding in findings:
        if finding.verdict > found.verdict:
            found = finding
    return found


def deny(rule: str, reason: str) -> Finding:
    """Never, whoever asks."""
    return Finding(Verdict.DENY, rule, reason)


def confirm(rule: str, reason: str) -> Finding:
    """Not without a person's yes."""
    return Finding(Verdict.CONFIRM, rule, reason)
