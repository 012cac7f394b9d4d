"""Builtins of the shell that change what comes after them."""

from __future__ import annotations

import re

from llmos_workers.execution.guard.assignments import judge_operand, judge_variable
from llmos_workers.execution.guard.generic import too_large
from llmos_workers.execution.guard.handlers.interpreters import run_text
from llmos_workers.execution.guard.loops import riskiest_line
from llmos_workers.execution.guard.marks import (
    ENDLESS,
    INSIDE,
    STREAM,
    UNKNOWN,
    UNSET,
    known,
)
from llmos_workers.execution.guard.parameters import SECRET_NAME
from llmos_workers.execution.guard.paths import Use
from llmos_workers.execution.guard.redirects import content, place
from llmos_workers.execution.guard.scope import Call
from llmos_workers.execution.guard.words import ansi_c


def cd(call: Call) -> str:
    """The folder that everything after it is relative to."""
    scope = call.scope
    operands = [one for one in call.args if not re.fullmatch(r"-[LPe@]+|--", one)]
    target = operands[0] if operands else scope.variables.get("HOME", scope.policy.home)
    plain = target.replace(UNSET, "")
    if target == "-" or not plain:
        return ""
    scope.path(target, Use.READ)
    if known(plain):
        scope.cwd = place(plain, scope)
    elif plain.startswith("/"):
        scope.cwd = plain
    elif not (plain.startswith(INSIDE) and ".." not in plain):
        scope.cwd = f"{scope.cwd}/{UNKNOWN}"
    return ""


def echo(call: Call) -> str:
    """echo, with its escapes."""
    args = list(call.args)
    escapes = newline = False
    while args and re.fullmatch(r"-[neE]+", args[0]):
        escapes = escapes or "e" in args[0]
        newline = newline or "n" in args[0]
        args.pop(0)
    text = " ".join(arg.replace(UNSET, "") for arg in args)
    return (ansi_c(text) if escapes else text) + ("" if newline else "\n")


def printf(call: Call) -> str:
    """printf, near enough: %s and %b in order, all else unknown."""
    args = list(call.args)
    variable = ""
    if args[:1] == ["-v"] and len(args) > 1:
        variable, args = args[1], args[2:]
        judge_operand(variable, call.scope)
    form, values = (args[0] if args else ""), args[1:]
    text = _formatted(ansi_c(form), values)
    if variable:
        call.scope.variables[variable] = text
        return ""
    return text


def _formatted(form: str, values: list[str]) -> str:
    queue, out = list(values), []
    for _ in range(max(1, len(values))):
        out.append(re.sub(r"%(%|[-+ #0\d.*]*[a-zA-Z])", lambda m: _one(m[1], queue), form))
        if not queue or "%" not in form:
            break
    return "".join(out)


def _one(spec: str, queue: list[str]) -> str:
    if spec == "%":
        return "%"
    value = queue.pop(0) if queue else ""
    if spec == "s":
        return value
    if spec[-1] == "b":
        return ansi_c(value)
    if spec[-1] in "qs" and not known(value):
        return value
    return value if spec[-1] in "sqd" else UNKNOWN


def read(call: Call) -> str:
    """read: its variables get a line of what it is fed."""
    names = [one for one in call.args if re.fullmatch(r"[A-Za-z_]\w*", one)]
    line = riskiest_line(call.stdin) if call.stdin else UNKNOWN
    if call.stdin and "-d" in call.args and not known(call.stdin):
        line = riskiest_line(call.stdin)
    parts = line.split(None, len(names) - 1) if len(names) > 1 and known(line) else [line]
    for index, name in enumerate(names or ["REPLY"]):
        call.scope.variables[name] = parts[index] if index < len(parts) else UNKNOWN
    for arg in call.args:
        judge_operand(arg, call.scope)
    callback = next((at for at, arg in enumerate(call.args) if arg.startswith("-C")), None)
    if callback is not None and call.name in ("mapfile", "readarray"):
        code = call.args[callback][2:] or "".join(call.args[callback + 1 : callback + 2])
        run_text(call, code, None, same_shell=True)
    return ""


def evaluate(call: Call) -> str:
    """eval: its words are a command line."""
    text = " ".join(call.args).replace(UNSET, "")
    return run_text(call, text, None, same_shell=True)


def source(call: Call) -> str:
    """A script run in this shell."""
    if not call.args:
        return ""
    path = call.args[0]
    if path == "/dev/stdin":
        return run_text(call, call.stdin or "", None, same_shell=True)
    if STREAM not in path:
        call.scope.path(path, Use.READ)
    text = content(path, call.scope)
    if text == UNKNOWN:
        return UNKNOWN  # a file of the project
    return run_text(call, text, call.args[1:], same_shell=True)


def set_arguments(call: Call) -> str:
    """``set -- a b``: the shell's own arguments."""
    if not call.args:
        return call.confirm("secret", "it shows all variables")
    if "--" in call.args:
        call.scope.arguments = call.args[call.args.index("--") + 1 :]
    elif not call.args[0].startswith(("-", "+")):
        call.scope.arguments = list(call.args)
    return ""


def shift(call: Call) -> str:
    """``shift``: the first arguments go."""
    if call.scope.arguments:
        count = int(call.args[0]) if call.args and call.args[0].isdigit() else 1
        call.scope.arguments = call.scope.arguments[count:]
    return ""


def test(call: Call) -> str:
    """test and [: nothing is changed."""
    for arg in call.args:
        judge_operand(arg, call.scope)
    return ""


def environment(call: Call) -> str:
    """printenv."""
    if not call.args:
        return call.confirm("secret", "it shows the environment")
    for name in call.args:
        if SECRET_NAME.search(name):
            call.deny("secret", f"it shows {name}")
    return UNKNOWN


def trap(call: Call) -> str:
    """trap: its first argument runs later."""
    if call.args and not call.args[0].startswith("-"):
        return run_text(call, call.args[0], None, same_shell=True)
    return ""


def let(call: Call) -> str:
    """let: arithmetic from words."""
    for arg in call.args:
        judge_operand(arg, call.scope)
    return ""


def alias(call: Call) -> str:
    """alias: names that get another meaning."""
    if not call.args:
        return UNKNOWN
    for arg in call.args:
        name, equals, value = arg.partition("=")
        if equals:
            judge_variable(name, value, call.scope)
            run_text(call, value, None)
    return call.confirm("function", "it gives programs another meaning")


def truncate(call: Call) -> str:
    """truncate: not to nothing by globs, not to what fills the disk."""
    size, paths, args = "", [], list(call.args)
    while args:
        arg = args.pop(0)
        if arg in ("-s", "--size"):
            size = args.pop(0) if args else ""
        elif arg.startswith(("-s", "--size=")):
            size = arg.removeprefix("--size=").removeprefix("-s")
        elif arg in ("-r", "--reference"):
            args = args[1:]
        elif not arg.startswith("-"):
            paths.append(arg)
    if too_large(size):
        call.deny("endless", "it makes a file that fills the disk")
    for path in paths:
        call.scope.path(path, Use.DELETE)
        if not known(path):
            call.confirm("wipe", "it truncates whatever matches")
    return ""


def dd(call: Call) -> str:
    """dd: if= is read, of= written; without a count a device never ends."""
    given = dict(arg.partition("=")[::2] for arg in call.args)
    source_path, target = given.get("if", ""), given.get("of", "")
    if source_path:
        call.scope.path(source_path, Use.READ)
    if target:
        call.scope.path(target, Use.WRITE)
        call.scope.shared.destructive = True
    endless = content(source_path, call.scope) if source_path else call.stdin or ""
    if "count" not in given and target and not target.startswith("/dev/") and ENDLESS in endless:
        call.deny("endless", "it copies a device that never ends")
    size = f"{given.get('count', '0')}"
    if too_large(size) or _product(given) > 10 << 30:
        call.deny("endless", "it makes a file that fills the disk")
    return UNKNOWN


def _product(given: dict[str, str]) -> int:
    sizes = []
    for name in ("bs", "count"):
        match = re.fullmatch(r"(\d{1,15})([kKMGT]?)B?", given.get(name, ""))
        power = " KMGT".index(match[2].upper() or " ") if match else 0
        sizes.append((int(match[1]) if match else 512) << (10 * power))
    return sizes[0] * sizes[1] if "count" in given else 0


def nothing(call: Call) -> str:
    """What changes nothing that matters here."""
    del call
    return ""


def unset(call: Call) -> str:
    """unset: variables and functions go."""
    for name in call.args:
        if "[" in name:
            judge_operand(name, call.scope)
        call.scope.variables.pop(name, None)
        call.scope.functions.pop(name, None)
    return ""


HANDLERS = {
    **{"cd": cd, "pushd": cd, "chdir": cd, "popd": nothing, "dirs": nothing},
    **{"echo": echo, "printf": printf, "read": read, "eval": evaluate},
    **{"source": source, ".": source, "set": set_arguments, "shift": shift},
    **{"test": test, "[": test, "let": let, "trap": trap, "printenv": environment},
    **{"alias": alias, "truncate": truncate, "dd": dd, "unset": unset},
    **{"mapfile": read, "readarray": read, "unalias": nothing},
}
