"""``$name`` and ``${name...}`` as far as they are known, and what is dangerous about them."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable

from llmos_workers.execution.guard.lists import words
from llmos_workers.execution.guard.loops import riskiest
from llmos_workers.execution.guard.marks import ELEMENT, SELF, UNKNOWN, UNSET, known
from llmos_workers.execution.guard.parse import Node
from llmos_workers.execution.guard.scope import Scope

TextOf = Callable[[Node | None, Scope], str]

SECRET_NAME = re.compile(
    r"KEY|TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|BROKER_URL|DATABASE_URL|^ANTHROPIC|^AWS_"
    r"|^LLMOS_|_DSN$",
    re.I,
)
"""Variables that hold what nobody should see; the sandbox does not pass them on."""

_RUN_TIME = words(
    "RANDOM SECONDS LINENO EPOCHSECONDS EPOCHREALTIME HOSTNAME UID EUID PPID BASHPID LINES "
    "COLUMNS BASH_VERSION OSTYPE HOSTTYPE MACHTYPE SHLVL LANG LC_ALL TERM TZ REPLY PIPESTATUS "
    "FUNCNAME BASH_SOURCE OPTARG OPTIND SHELL LOGNAME DISPLAY EDITOR PAGER VISUAL "
    "BASH_REMATCH"
)


def expand_parameter(part: Node, scope: Scope, text_of: TextOf, between: str) -> str:
    """The value of a parameter expansion. ``between``: separates the words of ``$@``."""
    name = str((part.get("Param") or {}).get("Value", ""))
    operator = part.get("Exp") or {}
    if SECRET_NAME.search(name) and name not in scope.variables:
        scope.deny("secret", f"it uses the variable {name}, which holds a secret by its name")
    if part.get("Excl") and not part.get("Names"):
        return _indirect(name, scope)
    if part.get("Excl"):
        scope.deny("secret", f"it lists the names of variables (${{!{name}*}})")
        return UNKNOWN
    if operator.get("Op") == "@":
        scope.confirm("expansion", f"${{{name}@...}} may run what is in the variable")
        return UNKNOWN
    if name == "IFS":
        scope.confirm("expansion", "$IFS is used to put a command together")
    index = part.get("Index")
    if index is not None:
        _judge_index(index, scope, text_of)
    value = _element(value_of(name, scope, between), index, between)
    if part.get("Length"):
        return UNKNOWN if value else "0"
    return _operated(part, value, scope, text_of)


def _element(value: str, index: Node | None, between: str) -> str:
    """The element of an array that an index names; all of them for ``@``."""
    if ELEMENT not in value:
        return value
    elements = value.split(ELEMENT)
    parts = (index or {}).get("Parts") or [{}]
    text = str(parts[0].get("Value", "")) if len(parts) == 1 else ""
    if text in ("@", "*"):
        return between.join(elements)
    if index is None or text.isdigit():
        number = int(text or 0)
        return elements[number] if number < len(elements) else UNSET
    return riskiest(set(elements))


def value_of(name: str, scope: Scope, between: str = " ") -> str:  # noqa: PLR0911 - one way out for each case
    """A variable's value: known, UNKNOWN, or UNSET when nobody set it."""
    if name in ("@", "*"):
        if scope.arguments is None:
            return UNSET
        return between.join(scope.arguments)
    if name.isdigit():
        return _argument(int(name), scope)
    if name in ("#", "?", "$", "!", "-", "_"):
        return UNKNOWN
    if name in scope.variables:
        return scope.variables[name]
    fixed = {
        "HOME": scope.policy.home,
        "PWD": scope.cwd,
        "OLDPWD": scope.policy.workspace,
        "IFS": " ",
        "TMPDIR": "/tmp",  # noqa: S108
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "USER": "agent",
    }
    if name in fixed:
        return fixed[name]
    return UNKNOWN if name in _RUN_TIME else UNSET


def _argument(number: int, scope: Scope) -> str:
    if number == 0:
        return scope.variables.get("0", SELF)
    if scope.arguments is None or number > len(scope.arguments):
        return UNSET
    return scope.arguments[number - 1]


def _indirect(name: str, scope: Scope) -> str:
    target = value_of(name, scope)
    if known(target) and re.fullmatch(r"\w+", target):
        if SECRET_NAME.search(target):
            scope.deny("secret", f"it uses the variable {target} by way of {name}")
        value = value_of(target, scope)
        scope.confirm("expansion", f"${{!{name}}} takes a variable by way of another")
        return value
    scope.confirm("expansion", f"${{!{name}}} takes a variable whose name only the run knows")
    return UNKNOWN


def _judge_index(index: Node, scope: Scope, text_of: TextOf) -> None:
    text = text_of(index, scope) if index.get("Type") == "Word" else UNKNOWN
    if not re.fullmatch(r"[@*]|-?\w+|\W?\w+[-+]\d+|[\ue000-\ue01f*@]+", text):
        scope.confirm("arithmetic", "an index in it may run commands")


def _operated(part: Node, value: str, scope: Scope, text_of: TextOf) -> str:  # noqa: PLR0911 - one way out for each case
    """The value behind ``${name:-word}``, ``#``, ``%``, ``/``, ``:n:m``."""
    operator = part.get("Exp") or {}
    op = operator.get("Op", "")
    missing = not value.replace(UNSET, "")
    if op in (":-", "-", ":=", "="):
        other = text_of(operator.get("Word"), scope)
        if missing and op in (":=", "="):
            scope.variables[str(part["Param"]["Value"])] = other
        return other if missing else value
    if op in (":+", "+"):
        other = text_of(operator.get("Word"), scope)
        return UNSET if missing else other
    if op in (":?", "?"):
        text_of(operator.get("Word"), scope)
        return value.replace(UNSET, "") or UNKNOWN  # when it is not set, the shell stops
    if op in ("#", "##", "%", "%%"):
        return _trimmed(value, op, text_of(operator.get("Word"), scope))
    if op in ("^", "^^", ",", ",,"):
        text_of(operator.get("Word"), scope)
        return _cased(value, op) if known(value) else value
    if op:
        text_of(operator.get("Word"), scope)
        return UNKNOWN
    if part.get("Repl"):
        text_of(part["Repl"].get("Orig"), scope)
        other = text_of(part["Repl"].get("With"), scope)
        return UNSET if missing else value + other if not known(value) else _replaced(value, other)
    if part.get("Slice"):
        return UNSET if missing else _sliced(part["Slice"], value)
    return value


def _sliced(part: Node, value: str) -> str:
    """``${name:2:3}`` where the numbers are written out."""
    numbers = []
    for name in ("Offset", "Length"):
        parts = (part.get(name) or {}).get("Parts") or []
        text = str(parts[0].get("Value", "")) if len(parts) == 1 else ""
        numbers.append(int(text) if text.isdigit() else None)
    start, length = numbers
    if not known(value) or start is None or (part.get("Length") and length is None):
        return UNKNOWN if known(value) else value
    return value[start:] if length is None else value[start : start + length]


def _replaced(value: str, other: str) -> str:
    # What is replaced may be a pattern; whatever the result is, it may begin like the value.
    return UNKNOWN if not value.startswith("/") or other.startswith("/") else "/" + UNKNOWN


def _trimmed(value: str, op: str, pattern: str) -> str:
    if not known(value):
        return value
    if not value.replace(UNSET, ""):
        return UNSET
    glob = re.sub("[\ue000-\ue01f]", "*", pattern)
    front = op[0] == "#"
    cuts = range(len(value) + 1)
    order = cuts if (len(op) == 1) == front else reversed(cuts)
    for cut in order:
        piece = value[:cut] if front else value[cut:]
        if fnmatch.fnmatchcase(piece, glob):
            return value[cut:] if front else value[:cut]
    return value


def _cased(value: str, op: str) -> str:
    change = str.upper if "^" in op else str.lower
    return change(value) if len(op) == 2 else change(value[:1]) + value[1:]
