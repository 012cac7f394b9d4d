"""Programs that run another program: env, timeout, nohup, watch, flock and others."""

from __future__ import annotations

import re

from llmos_workers.execution.guard.assignments import judge_variable
from llmos_workers.execution.guard.handlers.interpreters import run_text
from llmos_workers.execution.guard.marks import UNKNOWN
from llmos_workers.execution.guard.paths import Use
from llmos_workers.execution.guard.programs import arguments
from llmos_workers.execution.guard.scope import Call

_VALUES: dict[str, str] = {
    "nohup": "",
    "setsid": "",
    "nice": "-n --adjustment",
    "ionice": "-c -n --class --classdata",
    "timeout": "-s -k --signal --kill-after",
    "gtimeout": "-s -k --signal --kill-after",
    "stdbuf": "-i -o -e --input --output --error",
    "unbuffer": "",
    "time": "-f -o --format --output",
    "taskset": "-c --cpu-list",
    "xvfb-run": "-s -n -e -f -p -w --server-args",
    "busybox": "",
    "toybox": "",
    "catchsegv": "",
    "chronic": "",
    "caffeinate": "-t -w",
    "dumb-init": "",
    "tini": "",
    "builtin": "",
    "noglob": "",
    "faketime": "-f",
    "rlwrap": "",
    "winpty": "",
    "dbus-run-session": "",
    "eatmydata": "",
    "daemonize": "",
    "ltrace_": "",
    "not": "",
    "numactl": "",
    "cgexec": "-g",
    "firejail": "",
    "proot": "",
}
"""Wrappers, and the options of each that take a value."""
_FIRST = frozenset({"timeout", "gtimeout", "taskset", "faketime"})
"""These have an operand of their own before the command."""


def wrapper(call: Call) -> str:
    """The command behind a wrapper."""
    values = frozenset(_VALUES[call.name].split())
    parsed = arguments(call.args, values, stop=True)
    output = parsed.value("-o", "--output") if call.name == "time" else None
    if output:
        call.scope.path(output, Use.WRITE)
    words = list(parsed.operands)
    if call.name in _FIRST and not (call.name == "taskset" and parsed.has("-c", "--cpu-list")):
        words = words[1:]
    if not words:
        return UNKNOWN
    inner = call.scope
    if call.name in ("nohup", "setsid"):
        inner = inner.fork()
        inner.background = True
    return inner.machine.run(words, inner, call.stdin)


def env(call: Call) -> str:
    """env: variables, then a command; alone it shows everything."""
    args = list(call.args)
    while args:
        arg = args[0]
        if arg in ("-S", "--split-string") or arg.startswith(("-S", "--split-string=")):
            text = " ".join([re.sub(r"^(-S|--split-string=?)", "", arg), *args[1:]])
            return run_text(call, text.strip(), None)
        if arg in ("-u", "--unset", "-C", "--chdir"):
            if arg in ("-C", "--chdir") and len(args) > 1:
                call.scope.path(args[1], Use.READ)
            args = args[2:]
        elif "=" in arg and not arg.startswith("-"):
            name, _, value = arg.partition("=")
            judge_variable(name, value, call.scope)
            args = args[1:]
        elif arg.startswith("-"):
            args = args[1:]
        else:
            return call.scope.machine.run(args, call.scope, call.stdin)
    return call.confirm("secret", "it shows the environment")


def command(call: Call) -> str:
    """command: -v only looks a program up."""
    if call.args[:1] in (["-v"], ["-V"]):
        return UNKNOWN
    words = [arg for arg in call.args if arg not in ("-p", "--")]
    if words and words[0] in call.scope.functions:
        inner = call.scope.fork()
        inner.functions = {k: v for k, v in inner.functions.items() if k != words[0]}
        return inner.machine.run(words, inner, call.stdin)
    return call.scope.machine.run(words, call.scope, call.stdin)


def replace_shell(call: Call) -> str:
    """exec: the command takes the shell's place."""
    args = list(call.args)
    while args and args[0].startswith("-"):
        if args[0] == "-a":
            return call.deny("hidden", "the program would go by another name")
        args = args[1:]
    return call.scope.machine.run(args, call.scope, call.stdin)


def watch(call: Call) -> str:
    """watch: its words are a command line."""
    parsed = arguments(call.args, frozenset({"-n", "--interval", "-q"}), stop=True)
    return run_text(call, " ".join(parsed.operands), None)


def flock(call: Call) -> str:
    """flock: a file, then a command, or -c and a command line."""
    values = frozenset({"-w", "--timeout", "-E", "-c", "--command"})
    parsed = arguments(call.args, values, stop=True)
    words = list(parsed.operands)
    if words and not words[0].isdigit():
        call.scope.path(words[0], Use.WRITE)
    rest = words[1:]
    if rest[:1] in (["-c"], ["--command"]):
        return run_text(call, " ".join(rest[1:]), None)
    return call.scope.machine.run(rest, call.scope, call.stdin)


def script(call: Call) -> str:
    """script -c: a command line; its record is a file."""
    parsed = arguments(call.args, frozenset({"-c", "--command", "-O", "-I", "-T", "-B"}))
    text = parsed.value("-c", "--command")
    for path in parsed.operands:
        call.scope.path(path, Use.WRITE)
    if text is None:
        return call.deny("session", "it starts a session")
    return run_text(call, text, None)


HANDLERS = {
    **dict.fromkeys(_VALUES, wrapper),
    **{"env": env, "command": command, "exec": replace_shell, "watch": watch},
    **{"flock": flock, "script": script},
}
