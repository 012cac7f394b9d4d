"""Shells, Python and other languages: code in arguments, in files, on stdin."""

from __future__ import annotations

import re

from llmos_workers.execution.guard.marks import (
    ENDLESS,
    STREAM,
    UNKNOWN,
    foreign,
    known,
    shown,
)
from llmos_workers.execution.guard.paths import Use
from llmos_workers.execution.guard.programs import arguments
from llmos_workers.execution.guard.python_code import judge_python
from llmos_workers.execution.guard.redirects import content
from llmos_workers.execution.guard.scope import Call
from llmos_workers.execution.guard.snippets import judge_snippet

SHELLS = ("sh", "bash", "zsh", "dash", "ksh", "ash", "mksh", "rbash", "fish", "csh", "tcsh")
_SHELL_VALUES = frozenset({"-c", "-o", "-O", "+O", "--rcfile", "--init-file"})
_MODULES_CODE = frozenset({"timeit", "pdb", "cProfile", "profile", "trace", "code", "idlelib"})


def run_text(call: Call, text: str, params: list[str] | None, *, same_shell: bool = False) -> str:
    """Judge a text that a shell runs; ``params`` are its $1 and so on."""
    if foreign(text):
        return call.deny("download", "it runs text from the network, or text nobody can read")
    if ENDLESS in text:
        return call.deny("endless", "it runs text that never ends")
    if not text.strip():
        return ""
    scope = call.scope if same_shell else call.scope.deeper()
    if same_shell:
        scope.step()
        if scope.depth > 12:
            return call.confirm("depth", "it is nested too deeply")
    if params is not None:
        scope.arguments = params
    if not known(text):
        call.confirm("unknown", "what it runs is only known at run time")
        readable = re.sub("[\ue000-\ue012]+", "x", text)
    else:
        readable = re.sub("[\ue000-\ue01f]", "", text)
    depth, scope.depth = scope.depth, scope.depth + 1
    output = scope.machine.script(readable, scope, call.stdin)
    scope.depth = depth
    return output if known(text) else UNKNOWN


def shell(call: Call) -> str:
    """sh, bash and the like: -c, a script, or stdin."""
    args = [re.sub(r"^-([a-zA-Z]+)$", _c_last, arg) for arg in call.args]
    parsed = arguments(args, _SHELL_VALUES, stop=True)
    if parsed.has("--rcfile", "--init-file"):
        return call.deny("option", "it runs a start file")
    operands = list(parsed.operands)
    command = parsed.value("-c")
    if command is not None or parsed.has("-c"):
        inner = Call(call.name, call.args, call.stdin, call.scope.fork())
        if operands:
            inner.scope.variables["0"] = operands[0]
        return run_text(inner, command or "", operands[1:])
    if parsed.has("-n"):
        for path in operands[:1]:
            call.scope.path(path, Use.READ)
        return ""
    if operands and operands[0] != "-" and not parsed.has("-s"):
        return _script(call, operands)
    if call.stdin is not None:
        return _fed(call, operands)
    return UNKNOWN


def _c_last(match: re.Match[str]) -> str:
    # bash -lc: the value is the next word, wherever the c stands.
    letters = match[1]
    return f"-{letters.replace('c', '')}c" if "c" in letters else match[0]


def _script(call: Call, operands: list[str]) -> str:
    path = operands[0]
    if path in ("/dev/stdin", "/proc/self/fd/0"):
        return _fed(call, operands[1:])
    if STREAM not in path:
        call.scope.path(path, Use.READ)
        if not known(path):
            return call.confirm("unknown", "which script runs is only known at run time")
    text = content(path, call.scope)
    if text == UNKNOWN and STREAM not in path:
        return UNKNOWN  # a script of the project: the sandbox holds it
    return run_text(call, text, operands[1:])


def _fed(call: Call, params: list[str]) -> str:
    text = call.stdin or ""
    inner = Call(call.name, call.args, None, call.scope)
    return run_text(inner, text, params)


def python(call: Call) -> str:
    """python: -c, -m, a file, or stdin."""
    args, index = call.args, 0
    while index < len(args):
        arg = args[index]
        if arg == "-m" or re.fullmatch(r"-[bBdEiIOqsSuvx]*m", arg):
            return _module(call, args[index + 1 :])
        if arg.startswith("-m") and len(arg) > 2:
            return _module(call, [arg[2:], *args[index + 1 :]])
        match = re.fullmatch(r"-[bBdEiIOPqsSuvx]*c(.*)", arg, re.S)
        if match:
            code = match[1] or (args[index + 1] if index + 1 < len(args) else "")
            return _python_text(call, code)
        if arg in ("-W", "-X"):
            index += 1
        elif not arg.startswith("-") or arg == "-":
            break
        index += 1
    if index < len(args) and args[index] not in ("-", "/dev/stdin"):
        return _file(call, args[index], args[index + 1 :])
    if call.stdin is not None:
        return _python_text(call, call.stdin)
    return UNKNOWN


def _python_text(call: Call, code: str) -> str:
    if foreign(code):
        return call.deny("download", "it runs code from the network, or code nobody can read")
    if not known(code):
        return call.confirm("unknown", "the code is only known at run time")
    judge_python(code, call.scope)
    return UNKNOWN


def _module(call: Call, args: list[str]) -> str:
    name = args[0] if args else ""
    rest = args[1:]
    if name in ("pip", "pip3"):
        return call.scope.machine.run(["pip", *rest], call.scope, call.stdin)
    if name in _MODULES_CODE:
        for arg in rest:
            if not arg.startswith("-") and re.search(r"\W", arg) and not arg.endswith(".py"):
                judge_python(arg, call.scope)
        return UNKNOWN
    if name == "http.server" and not _bound_here(rest):
        return call.confirm("network", "it serves the folder to the network")
    if name.split(".")[0] in ("smtpd", "ftplib", "telnetlib", "webbrowser", "antigravity"):
        return call.deny("network", f"the module {name} talks to the network")
    for arg in rest:
        if re.match(r"/|~|\.\./", arg):
            call.scope.path(arg, Use.READ)
    return UNKNOWN


def _bound_here(args: list[str]) -> bool:
    text = " ".join(args)
    return "127.0.0.1" in text or "localhost" in text or "::1" in text


def _file(call: Call, path: str, rest: list[str]) -> str:
    if STREAM not in path:
        call.scope.path(path, Use.READ)
    text = content(path, call.scope)
    if foreign(text):
        return call.deny("download", "it runs code from the network, or code nobody can read")
    if call.name.startswith(("python", "pypy")) and known(text):
        judge_python(text, call.scope)
    elif known(text):
        judge_snippet(call.name, text, call.scope)
    for arg in rest:
        if re.match(r"/|~|\.\./", arg):
            call.scope.path(arg, Use.READ)
    return UNKNOWN


_CODE_OPTIONS = {
    "perl": ("-e", "-E"),
    "ruby": ("-e",),
    "node": ("-e", "--eval", "-p", "--print", "-pe"),
    "nodejs": ("-e", "--eval", "-p", "--print", "-pe"),
    "deno": ("eval",),
    "bun": ("-e", "--eval"),
    "php": ("-r", "-B", "-R", "-E"),
    "lua": ("-e",),
    "luajit": ("-e",),
    "tclsh": (),
    "Rscript": ("-e",),
    "R": ("-e",),
    "julia": ("-e", "-E"),
    "osascript": ("-e",),
    "groovy": ("-e",),
    "jshell": (),
    "irb": (),
    "guile": ("-c",),
    "racket": ("-e",),
    "octave": ("--eval",),
}


def language(call: Call) -> str:
    """perl, ruby, node and others: code in options, in a file, or on stdin."""
    code, rest, args = _code(call)
    if foreign(code) or (foreign(call.stdin or "") and not code and not rest):
        return call.deny("download", "it runs code from the network, or code nobody can read")
    if code:
        if not known(code):
            call.confirm("unknown", "the code is only known at run time")
        judge_snippet(call.name, code, call.scope)
        in_place = any(re.match(r"-[a-zA-Z]*i", arg) for arg in args)
        for path in rest:
            call.scope.path(
                path, Use.WRITE if in_place and call.name in ("perl", "ruby") else Use.READ
            )
        return UNKNOWN
    if rest and rest[0] != "-":
        return _file(call, rest[0], rest[1:])
    if call.stdin:
        if not known(call.stdin):
            return call.confirm("unknown", "the code is only known at run time")
        judge_snippet(call.name, call.stdin, call.scope)
    return UNKNOWN


def _code(call: Call) -> tuple[str, list[str], list[str]]:
    """The code among the arguments, the operands, and the options."""
    wanted = _CODE_OPTIONS.get(call.name, ("-e",))
    codes, rest, options, queue = [], [], [], list(call.args)
    while queue:
        arg = queue.pop(0)
        cluster = call.name in ("perl", "ruby") and re.fullmatch(r"-[a-zA-Z0-9.]*[eE]", arg)
        if arg in wanted or cluster:
            options.append(arg)
            codes.append(queue.pop(0) if queue else "")
        elif arg.startswith("-") and len(arg) > 1:
            options.append(arg)
            if re.match(r"-[rMm]\W|-[rIMm]|--require|--import|--loader", arg):
                codes.append(f"# {arg}")
                if re.match(r"-(r\./|r/|I)|--(require|import|loader)", arg) and call.name != "php":
                    call.confirm("option", f"{shown(arg)} loads code")
        else:
            rest.append(arg)
    code = "\n".join(codes)
    return ("" if code and all(c.startswith("# ") for c in codes) else code), rest, options


HANDLERS = {
    **dict.fromkeys(SHELLS, shell),
    **dict.fromkeys(("python", "python2", "python3", "pypy", "pypy3"), python),
    **dict.fromkeys(_CODE_OPTIONS, language),
}
