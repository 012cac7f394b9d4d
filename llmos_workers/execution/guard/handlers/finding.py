"""find, fd, xargs and parallel: programs that run others on what they find."""

from __future__ import annotations

import re

from llmos_workers.execution.guard.handlers.interpreters import SHELLS
from llmos_workers.execution.guard.lists import words
from llmos_workers.execution.guard.marks import (
    ANY_MARK,
    ENDLESS,
    GLOB,
    INSIDE,
    UNKNOWN,
    UNSET,
    foreign,
    known,
)
from llmos_workers.execution.guard.paths import Use
from llmos_workers.execution.guard.redirects import content
from llmos_workers.execution.guard.scope import Call

_RUNS = frozenset({"-exec", "-execdir", "-ok", "-okdir"})
_WRITES = frozenset({"-fprint", "-fprint0", "-fls", "-fprintf"})
_TESTS = words(
    "-name -iname -path -ipath -wholename -iwholename -regex -iregex -type -xtype -newer "
    "-mtime -mmin -ctime -cmin -atime -amin -size -empty -user -group -perm -maxdepth -inum "
    "-links -lname -ilname -samefile -uid -gid -nouser -nogroup -newermt -executable "
    "-readable -writable"
)
_SELECTS = _TESTS - {"-type", "-xtype", "-maxdepth"}


def find(call: Call) -> str:
    """find: where it looks, what it runs, what it removes."""
    scope, args = call.scope, [a for a in call.args if a not in ("-H", "-L", "-P")]
    if ("-L" in call.args or "-follow" in args) and {"-delete", "rm", *_WRITES} & set(args):
        call.confirm("path", "it follows links, and removes what it finds there")
    roots = []
    while args and not args[0].startswith(("-", "(", "!", ",")):
        roots.append(args.pop(0))
    roots = [root for root in roots or ["."] if root.replace(UNSET, "")]
    for root in roots:
        scope.path(root, Use.READ)
    if "-files0-from" in args:
        call.confirm("option", "where it looks is in a file")
    selects = any(
        one in _SELECTS and re.search(r"\w", ANY_MARK.sub("", two))
        for one, two in zip(args, [*args[1:], "end"], strict=False)
    )
    found = [_below(root, INSIDE if selects else GLOB) for root in roots]
    if "-delete" in args:
        for root, one in zip(roots, found, strict=True):
            scope.path(one if selects else root, Use.DELETE if selects else Use.WIPE)
    _commands(call, args, roots, found, selects=selects)
    for index, arg in enumerate(args):
        if arg in _WRITES and index + 1 < len(args):
            scope.path(args[index + 1], Use.WRITE)
    return "\n".join(found) + "\n"


def _below(root: str, names: str) -> str:
    plain = root.rstrip("/")
    if root.startswith("/"):
        return f"{plain}/{names}"
    plain = re.sub(r"^(\./?)+", "", f"{plain}/").rstrip("/")
    return f"{plain}/{names}" if plain else names


def _commands(
    call: Call, args: list[str], roots: list[str], found: list[str], *, selects: bool
) -> None:
    index = 0
    while index < len(args):
        if args[index] not in _RUNS:
            index += 1
            continue
        end = index + 1
        while end < len(args) and args[end] not in (";", "+"):
            end += 1
        words = args[index + 1 : end]
        names = found if selects else roots
        if words and words[0].rsplit("/", 1)[-1] in ("rm", "shred", "unlink") and not selects:
            for root in roots:
                call.scope.path(root, Use.WIPE)
        for name in names:
            argv = [word.replace("{}", name) for word in words]
            if argv:
                call.scope.machine.run(argv, call.scope.deeper(), None)
        index = end


def fd(call: Call) -> str:
    """fd: like find, with other options."""
    args = call.args
    for index, arg in enumerate(args):
        if arg in ("-x", "-X", "--exec", "--exec-batch"):
            words = [w.replace("{}", INSIDE) for w in args[index + 1 :] if w != ";"]
            if not any("{" in w for w in args[index + 1 :]):
                words.append(INSIDE)
            call.scope.machine.run(words, call.scope.deeper(), None)
            break
    for arg in args:
        if re.match(r"/|~|\.\./?", arg):
            call.scope.path(arg, Use.READ)
    return f"{INSIDE}\n"


_XARGS_VALUES = words(
    "-n -L -P -s -d -a -E -I --max-args --max-lines --max-procs --max-chars --delimiter "
    "--arg-file --replace --process-slot-var"
)


def xargs(call: Call) -> str:
    """xargs: a command whose last words come from its input."""
    args, replaced, source, crowd = list(call.args), "", call.stdin, False
    while args and args[0].startswith("-") and len(args[0]) > 1:
        arg = args.pop(0)
        name, equals, value = arg.partition("=")
        if name in _XARGS_VALUES and not equals:
            value = args.pop(0) if args else ""
        elif re.fullmatch(r"-[InLPsdaE].+", arg):
            name, value = arg[:2], arg[2:]
        crowd = crowd or (name in ("-P", "--max-procs") and value == "0")
        if name in ("-I", "--replace"):
            replaced = value or "{}"
        elif name in ("-i",) or arg.startswith("-i"):
            replaced = arg[2:] or "{}"
        elif name in ("-a", "--arg-file"):
            call.scope.path(value, Use.READ) if "\ue005" not in value else None
            source = content(value, call.scope)
    words = args or ["echo"]
    if crowd and words[0].rsplit("/", 1)[-1] in SHELLS:
        call.confirm("endless", "it starts as many shells as there are words")
    items = _items(source)
    if ENDLESS in (source or ""):
        return call.deny("endless", "what it is fed never ends")
    if foreign(source or "") and words[0] not in (
        "echo",
        "grep",
        "wc",
        "printf",
        "basename",
        "cut",
    ):
        call.confirm(
            "download", "words from the network, or that nobody can read, become arguments"
        )
    remover = words[0].rsplit("/", 1)[-1] in ("rm", "shred", "unlink")
    if remover and any(
        item == GLOB or (item.startswith(("./", ".")) and item.endswith(GLOB)) for item in items
    ):
        call.confirm("wipe", "it removes everything that is found")
    if replaced:
        return "".join(
            call.scope.machine.run(
                [w.replace(replaced, i) for w in words], call.scope.deeper(), None
            )
            for i in items[:10]
        )
    return call.scope.machine.run([*words, *items], call.scope.deeper(), None)


def _items(text: str | None) -> list[str]:
    if text is None:
        return [UNKNOWN]
    if "\0" in text:
        return [one for one in text.split("\0") if one]
    if known(text):
        return text.split()[:200]
    lines = [line for line in text.split("\n") if line]
    return [one for line in lines for one in (line.split() if GLOB in line else [line])]


def parallel(call: Call) -> str:
    """GNU parallel: a command line with words from ::: or stdin."""
    args, items = list(call.args), []
    for mark in (":::", "::::", ":::+"):
        if mark in args:
            at = args.index(mark)
            items = args[at + 1 :] if mark == ":::" else [UNKNOWN]
            args = args[:at]
            break
    values = {"-j", "--jobs", "-N", "-n", "-I", "-a", "--colsep", "-C", "--delay", "--timeout"}
    while args and args[0].startswith("-"):
        arg = args.pop(0)
        if arg in ("-S", "--sshlogin", "--sshloginfile", "--slf"):
            return call.deny("network", "it runs on other machines")
        if arg in values and args:
            args.pop(0)
    if not args:
        return call.confirm("unknown", "what it is fed are the commands themselves")
    items = items or _items(call.stdin)
    line = " ".join(args)
    for item in items[:10]:
        words = line.replace("{}", item) if "{" in line else f"{line} {item}"
        if known(words):
            call.scope.machine.script(words, call.scope.deeper(), None)
        else:
            call.scope.machine.run(words.split(), call.scope.deeper(), None)
    return UNKNOWN


HANDLERS = {
    **{"find": find, "gfind": find, "fd": fd, "fdfind": fd},
    **{"xargs": xargs, "gxargs": xargs, "parallel": parallel},
}
