"""From a program's name to what is known about it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable

from llmos_workers.execution.guard.generic import generic
from llmos_workers.execution.guard.handlers import (
    archives,
    builtins,
    containers,
    databases,
    finding,
    git,
    interpreters,
    network,
    packages,
    processes,
    text,
    wrappers,
)
from llmos_workers.execution.guard.marks import (
    ANY_MARK,
    GLOB,
    UNKNOWN,
    UNSET,
    foreign,
    known,
    shown,
)
from llmos_workers.execution.guard.paths import Use
from llmos_workers.execution.guard.programs import table
from llmos_workers.execution.guard.redirects import place
from llmos_workers.execution.guard.scope import Call, Scope

Handler = Callable[[Call], str]

HANDLERS: dict[str, Handler] = {
    **builtins.HANDLERS,
    **text.HANDLERS,
    **finding.HANDLERS,
    **wrappers.HANDLERS,
    **interpreters.HANDLERS,
    **archives.HANDLERS,
    **network.HANDLERS,
    **git.HANDLERS,
    **packages.HANDLERS,
    **containers.HANDLERS,
    **databases.HANDLERS,
    **processes.HANDLERS,
}

_SYSTEM = ("/bin", "/usr/bin", "/sbin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")
_VERSIONED = re.compile(r"(python|pypy|ruby|perl|lua|php|node|pip|gcc|g\+\+|clang)[23]?[\d.]*")


def run(argv: list[str], scope: Scope, stdin: str | None) -> str:
    """What a program that is no function of the script prints."""
    name, args = argv[0].replace(UNSET, ""), argv[1:]
    call = Call(name, args, stdin, scope)
    if not known(name):
        rule = "download" if foreign(name) else "unknown"
        note = scope.deny if foreign(name) or GLOB in name else scope.confirm
        note(rule, f"which program runs is only known at run time ({shown(name)})")
        return UNKNOWN
    if re.search(r"\s", name):
        return call.confirm("unknown", "a program's name holds blanks")
    if not name.isascii() or not name.strip() or ANY_MARK.search(name):
        return call.deny("hidden", "the program's name is not what it seems")
    if "/" in name:
        folder, base = posixpath.split(posixpath.normpath(name))
        if folder in _SYSTEM:
            name = base
        else:
            return _by_path(call)
    return by_name(Call(name, args, stdin, scope))


def by_name(call: Call) -> str:  # noqa: PLR0911 - one way out for each case
    """Judge a program that is found by its name."""
    handler = HANDLERS.get(call.name)
    if handler is not None:
        return handler(call)
    data = table()
    about = data.refused.get(call.name) or ("disk" if call.name.startswith("mkfs.") else None)
    if about:
        return call.deny(about, f"{call.name} is not for tools")
    kind = data.kinds.get(call.name)
    if kind is not None:
        return generic(call, kind, data.of(call.name))
    stem = _VERSIONED.fullmatch(call.name)
    if stem is not None and (handler := HANDLERS.get(stem[1])):
        return handler(call)
    if stem is not None:
        return generic(call, "tool", data.of(call.name))
    if call.args in (["--version"], ["--help"], ["-h"], ["-V"]):
        return UNKNOWN
    return call.confirm("unknown", f"{shown(call.name)} is a program nobody told the guard about")


def _by_path(call: Call) -> str:
    """A program called by where it is: the project's own, or one that was just made."""
    scope = call.scope
    before = len(scope.shared.findings)
    scope.path(call.name, Use.READ)
    if len(scope.shared.findings) > before:
        return UNKNOWN
    text = scope.shared.made.get(place(call.name, scope))
    if text is not None:
        return interpreters.run_text(call, text, call.args)
    if call.name.startswith(("/tmp", "../")):  # noqa: S108
        return call.confirm("unknown", "it runs a program that lies outside the project's folder")
    for arg in call.args:
        if re.match(r"/|~|\.\./", arg):
            scope.path(arg, Use.READ)
    base = posixpath.basename(call.name)
    if posixpath.dirname(call.name).endswith(("venv/bin", "node_modules/.bin")):
        return by_name(Call(base, call.args, call.stdin, scope))
    return UNKNOWN
