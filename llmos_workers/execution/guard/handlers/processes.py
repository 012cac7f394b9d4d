"""kill and its like: a tool may end what it started itself."""

from __future__ import annotations

import re

from llmos_workers.execution.guard.marks import ENDLESS, UNKNOWN
from llmos_workers.execution.guard.scope import Call


def kill(call: Call) -> str:
    """kill: only jobs of the same command line."""
    if call.args[:1] in (["-l"], ["-L"]):
        return UNKNOWN
    rest = list(call.args)
    if rest[:1] == ["-s"]:
        rest = rest[2:]
    elif rest and re.fullmatch(r"-([A-Z]+\d*|\d+)", rest[0]) and len(rest) > 1:
        if rest[0] == "-0":
            return UNKNOWN
        rest = rest[1:]
    targets = [arg for arg in rest if arg != "--"]
    if targets and all(re.fullmatch(r"%[\w+-]*", arg) for arg in targets):
        return UNKNOWN
    if call.scope.shared.jobs and targets and all(arg == UNKNOWN for arg in targets):
        return UNKNOWN
    return call.deny("process", "it ends processes that are not its own")


def watch(call: Call) -> str:
    """top: it only looks."""
    del call
    return UNKNOWN


def endless(call: Call) -> str:
    """yes: the same line without end."""
    del call
    return ENDLESS


HANDLERS = {"kill": kill, "yes": endless, "top": watch, "htop": watch}
