"""Programs that the table describes: their operands, options and output."""

from __future__ import annotations

import re

from llmos_workers.execution.guard.lists import words
from llmos_workers.execution.guard.marks import (
    DECODED,
    ENDLESS,
    FETCHED,
    GLOB,
    INSIDE,
    STREAM,
    UNKNOWN,
    known,
)
from llmos_workers.execution.guard.paths import Use
from llmos_workers.execution.guard.programs import Arguments, Options, arguments
from llmos_workers.execution.guard.redirects import content, place
from llmos_workers.execution.guard.scope import Call

_FILTERS = words(
    "cat tac sort uniq head tail nl shuf tee sponge rev pv paste cut column fold less more bat"
)
"""What these print is what they read, in another order or less of it."""
_ENDLESS_OK = words("head dd cat tr od hexdump xxd base64 cut tee fold strings pv")
_LIMITS = {
    "od": ("-N", "--read-bytes"),
    "hexdump": ("-n", "--length"),
    "hd": ("-n", "--length"),
    "xxd": ("-l", "-len"),
}
"""Options after which a program reads only so much."""
_SIZE = re.compile(r"[<>+/%-]?(\d+)([KMGTPE]?)(i?B)?", re.I)
MOST_BYTES = 10 << 30
"""Files larger than this are not made without asking."""


def generic(call: Call, kind: str, spec: Options) -> str:
    """Judge a program by its kind."""
    if spec.run:
        parsed = arguments(call.args, spec.with_value, stop=True)
        _options(call, parsed, spec)
        return call.scope.machine.run(list(parsed.operands), call.scope, call.stdin)
    if kind == "tool":
        return _tool(call, spec)
    parsed = arguments(call.args, spec.with_value)
    _options(call, parsed, spec)
    for option, value in parsed.options:
        if option in ("-c", "-n", "-l", "--bytes", "--length") and too_large(value or ""):
            call.confirm("endless", "it makes more than a disk should take")
    if kind != "text":
        _operands(call, parsed, kind, spec)
    return _output(call, parsed, kind, spec)


def _options(call: Call, parsed: Arguments, spec: Options) -> None:
    for option, value in parsed.options:
        if option in spec.refuse:
            call.deny("option", f"{call.name} {option} runs or writes something else")
        elif value and option in spec.reads:
            call.scope.path(value, Use.READ)
        elif value and option in spec.writes:
            call.scope.path(value, Use.WRITE)


def _operands(call: Call, parsed: Arguments, kind: str, spec: Options) -> None:
    scope, operands = call.scope, list(parsed.operands)
    skip = 0 if parsed.has("--reference") else spec.skip
    operands = [one for one in operands[skip:] if one != "-"]
    recursive = parsed.has("-r", "-R", "--recursive")
    if call.name in ("chmod", "chown", "chgrp", "install"):
        _modes(call, parsed)
    if kind in ("copy", "move") and operands:
        _copy(call, operands, parsed, kind)
        return
    for index, path in enumerate(operands):
        if STREAM in path:
            continue
        if spec.stat:
            continue
        if kind == "remove":
            scope.path(path, Use.WIPE if recursive else Use.DELETE)
        elif kind == "write" or (spec.last == "write" and index == 1):
            wide = recursive and call.name.startswith("ch")
            scope.path(path, Use.WIPE if wide else Use.WRITE)
            _keep(call, path)
        elif not (spec.only_first and index):
            scope.path(path, Use.READ)


def _keep(call: Call, path: str) -> None:
    if call.name in ("tee", "sponge") and known(path):
        call.scope.shared.made[place(path, call.scope)] = call.stdin or ""


def _modes(call: Call, parsed: Arguments) -> None:
    mode = parsed.operands[0] if parsed.operands else ""
    if call.name == "install":
        mode = parsed.value("-m", "--mode") or ""
    special = re.fullmatch(r"0*[4-7]\d\d\d", mode) or re.search(
        r"(^|,)[ao]*u?[ao]*[+=][rwxX]*s", mode
    )
    if call.name in ("chmod", "install") and special:
        call.deny("privileges", "it makes programs run as somebody else")
    if call.name in ("chown", "chgrp") and mode.split(":")[0] in ("root", "0"):
        call.deny("privileges", "it gives files to root")


def _copy(call: Call, operands: list[str], parsed: Arguments, kind: str) -> None:  # noqa: PLR0912 - one way out for each case
    scope = call.scope
    target = parsed.value("-t", "--target-directory")
    sources, last = (operands, target) if target else (operands[:-1], operands[-1])
    if call.name == "ln" and not sources:
        sources, last = [last], "."
    if call.name == "install" and parsed.has("-d", "--directory"):
        sources = []
        for path in operands[:-1]:
            scope.path(path, Use.WRITE)
    if call.name == "ln":
        for path in sources:
            # Where a link points to is what everything behind it gets.
            scope.path(path, Use.READ)
            if path in ("/", ".."):
                call.deny("path", "it links to what is outside the project's folder")
            scope.shared.made[place(last, scope)] = UNKNOWN
    elif kind == "move":
        if any(path in (GLOB, ".", f"./{GLOB}") for path in sources) and last.startswith("/"):
            call.confirm("wipe", "it moves everything out of the project's folder")
        for path in sources:
            scope.path(path, Use.DELETE)
        scope.shared.destructive = True
    else:
        for path in sources:
            if content(path, scope) == ENDLESS:
                call.deny("endless", "it copies a device that never ends")
            scope.path(path, Use.READ)
    scope.path(last, Use.WRITE)
    if len(sources) == 1 and known(last) and place(sources[0], scope) in scope.shared.made:
        scope.shared.made[place(last, scope)] = scope.shared.made[place(sources[0], scope)]
    for path in sources:
        # What comes to lie in a folder has the folder's name before its own.
        if known(path) and known(last):
            scope.path(f"{last.rstrip('/')}/{path.rstrip('/').rsplit('/', 1)[-1]}", Use.WRITE)


def _tool(call: Call, spec: Options) -> str:
    """A project's own program: what looks like a path outside is judged."""
    first = next((arg for arg in call.args if not arg.startswith("-")), "")
    if first in spec.ask_first:
        return call.confirm("tool", f"{call.name} {first} changes what is outside")
    if spec.ask_any & set(call.args):
        return call.confirm("tool", f"{call.name} changes what is outside")
    if any(STREAM in arg for arg in call.args) or _fed_makefile(call):
        return call.confirm("unknown", f"{call.name} runs what only the run knows")
    for arg in call.args:
        name = arg.split("=", 1)[0]
        if arg in spec.refuse or name in spec.refuse:
            return call.deny("option", f"{call.name} {name} runs something else")
    outputs = ("-o", "--output", "--out", "-O", "--prefix", "--outdir", "--out-dir", "--outfile")
    for index, arg in enumerate(call.args):
        before = call.args[index - 1] if index else ""
        name, equals, value = arg.partition("=")
        path = value if equals and name.startswith("-") else arg
        if arg.startswith("-") and not equals:
            match = re.fullmatch(r"-[A-Za-z](/.*|~.*)", arg)
            path = match[1] if match else ""
        if name in outputs or before in outputs:
            call.scope.path(path, Use.WRITE)
        elif re.match(r"/|~|\.\.(/|$)", path):
            call.scope.path(path, Use.READ)
    return UNKNOWN


def _fed_makefile(call: Call) -> bool:
    """Whether make takes its rules, or its shell, from the command line."""
    text = " ".join(call.args)
    return call.name in ("make", "gmake") and bool(
        re.search(r"(^| )(-f ?|--(make)?file[= ])(-|/dev/|/tmp/)|(^| )\.?SHELL(FLAGS)?=", text)
    )


def _output(call: Call, parsed: Arguments, kind: str, spec: Options) -> str:  # noqa: PLR0911 - one way out for each case
    """What a described program prints, as far as it matters."""
    scope = call.scope
    if spec.endless:
        return ENDLESS
    operands = [one for one in parsed.operands if one != "-"]
    if call.name in ("pwd",):
        return scope.cwd
    if call.name in ("ls", "dir", "vdir", "tree", "du", "stat", "wc"):
        return _names(call, operands)
    if call.name in ("base64", "base32") and parsed.has("-d", "-D", "--decode"):
        return DECODED
    if call.name in ("basename", "mktemp", "dirname", "realpath", "readlink"):
        return _named(call, operands)
    if call.name == "seq":
        return "\n".join(operands[:1] + operands[-1:]) + "\n"
    if call.name == "xxd" and parsed.has("-r", "-revert"):
        return DECODED
    if kind == "read" or call.name in _FILTERS:
        return _filtered(call, operands)
    if call.name == "tr" and known(call.stdin or UNKNOWN) and len(operands) == 2:
        return _translated(call.stdin or "", *operands)
    if call.name in ("tr", "expand", "unexpand", "fmt", "iconv"):
        return _changed(call.stdin)
    return UNKNOWN


def _filtered(call: Call, operands: list[str]) -> str:
    texts = [content(path, call.scope) for path in operands] or [call.stdin or ""]
    if call.name == "tee":
        texts = [call.stdin or ""]
    text = "".join(texts)
    if ENDLESS in text:
        if call.name not in _ENDLESS_OK:
            call.deny("endless", "it reads a device that never ends")
        return UNKNOWN if _ends(call) else ENDLESS
    if call.name in (
        "cat",
        "tee",
        "sponge",
        "head",
        "tail",
        "sort",
        "uniq",
        "shuf",
        "pv",
        "less",
        "more",
    ):
        return text
    return _changed(text)


def _ends(call: Call) -> bool:
    """Whether the program stops reading by itself, also where what it reads never ends."""
    limits = _LIMITS.get(call.name, ())
    return call.name == "head" or any(one.startswith(limits) for one in call.args if limits)


def _changed(text: str | None) -> str:
    """Text that went through a program that rewrites it."""
    if not text:
        return UNKNOWN
    if ENDLESS in text:
        return ENDLESS
    if FETCHED in text or DECODED in text:
        return FETCHED if FETCHED in text else DECODED
    if known(text):
        return DECODED  # it was there to be read, and is no more
    return UNKNOWN if UNKNOWN in text else text


def _translated(text: str, old: str, new: str) -> str:
    """``tr`` of one character, which is how lists are cut into lines."""
    old, new = (re.sub(r"\\n", "\n", one) for one in (old, new))
    return text.replace(old, new) if len(old) == len(new) == 1 else DECODED


def _names(call: Call, operands: list[str]) -> str:
    """The names that ls prints: of the operands themselves, or of what is in them."""
    named = [path for path in operands if path not in (".", "./")]
    lines = [path if GLOB in path or "/" in path or call.name == "du" else INSIDE for path in named]
    return "\n".join(lines or [GLOB]) + "\n"


def _named(call: Call, operands: list[str]) -> str:
    first = operands[0] if operands else ""
    if call.name == "mktemp":
        return f"/tmp/{UNKNOWN}" if not first else INSIDE  # noqa: S108
    if call.name == "basename":
        base = first.rstrip("/").rsplit("/", 1)[-1] or first
        suffix = operands[1] if len(operands) > 1 else ""
        return base.removesuffix(suffix)
    if call.name == "dirname":
        if not known(first):
            return first.rsplit("/", 1)[0] if "/" in first else INSIDE
        return (
            first.rsplit("/", 1)[0]
            if "/" in first.lstrip("/")
            else "."
            if first[:1] != "/"
            else "/"
        )
    return first if first.startswith(("/", "..")) else INSIDE


def too_large(text: str) -> bool:
    """Whether a size like 900G is more than a tool should write."""
    match = _SIZE.fullmatch(text)
    if match is None:
        return False
    power = " KMGTPE".index(match[2].upper() or " ")
    return int(match[1][:20]) << (10 * power) > MOST_BYTES
