"""Redirections: files they read and write, and here-documents."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field

from llmos_workers.execution.guard.marks import ENDLESS, STREAM, UNKNOWN, shown
from llmos_workers.execution.guard.parse import Node
from llmos_workers.execution.guard.paths import Use
from llmos_workers.execution.guard.scope import Scope
from llmos_workers.execution.guard.words import document, text_of

_WRITES = frozenset({">", ">>", ">|", "&>", "&>>", "<>", ">&"})
_ENDLESS = frozenset({"/dev/zero", "/dev/random", "/dev/urandom", "/dev/full"})


@dataclass
class Redirected:
    """Where a statement reads and writes."""

    stdin: str | None
    targets: list[str] = field(default_factory=list)
    """Files that get its output."""


def redirect(node: Node, to: Redirected, scope: Scope) -> None:
    """Judge one redirection, and follow it."""
    op = node.get("Op", "")
    if op in ("<<", "<<-"):
        to.stdin = document(node.get("Hdoc"), scope)
        return
    target = text_of(node.get("Word"), scope)
    if op == "<<<":
        to.stdin = target
        return
    if op in ("<&", ">&") and re.fullmatch(rf"\d*-?|{UNKNOWN}", target):
        return
    if re.search(r"/dev/(tcp|udp)(/|$)", posixpath.normpath(target)):
        scope.deny("network", f"it opens a connection: {shown(target)}")
        return
    number = str((node.get("N") or {}).get("Value", ""))
    if op in _WRITES:
        scope.path(target, Use.WRITE) if STREAM not in target else None
        if number in ("", "1"):
            to.targets.append(target)
        return
    if STREAM not in target:
        scope.path(target, Use.READ)
    if number in ("", "0"):
        to.stdin = content(target, scope)


def content(path: str, scope: Scope) -> str:
    """What is in a file, as far as this command line tells."""
    if path.startswith(STREAM) and path.endswith(STREAM):
        return scope.shared.streams[int(path.strip(STREAM))]
    if posixpath.normpath(path) in _ENDLESS:
        return ENDLESS
    return scope.shared.made.get(place(path, scope), UNKNOWN)


def place(path: str, scope: Scope) -> str:
    """One spelling for each file."""
    return posixpath.normpath(path if path.startswith("/") else f"{scope.cwd}/{path}")


def remember(to: Redirected, output: str, scope: Scope) -> None:
    """Keep what was written to files, for those that run them later."""
    for target in to.targets:
        if not target.startswith("/dev/"):
            scope.shared.made[place(target, scope)] = output
