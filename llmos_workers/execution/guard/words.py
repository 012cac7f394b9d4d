"""Words as bash would expand them, as far as that is known before it runs."""

from __future__ import annotations

import json
import re
from itertools import pairwise, product

from llmos_workers.execution.guard.marks import (
    CLOSE,
    COMMA,
    GLOB,
    OPAQUE,
    OPEN,
    STREAM,
    UNKNOWN,
    UNSET,
    known,
)
from llmos_workers.execution.guard.parameters import expand_parameter
from llmos_workers.execution.guard.parse import Node
from llmos_workers.execution.guard.scope import Scope

MOST_WORDS = 200
"""Most words that brace expansion gives one by one; of longer lists the ends are kept."""

_NESTED = re.compile(r'"Backquotes": true|\\\\[`$\\\\]')
"""Back-quotes in back-quotes, and escapes that one level of them takes away."""
_SPLIT = "\ue013"
"""Between two fields, until a word is cut into them."""
_BRACES = {"{": OPEN, ",": COMMA, "}": CLOSE}
_SPELLED = {OPEN: "{", COMMA: ",", CLOSE: "}"}
_ANSI = {
    **{"a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "n": "\n", "r": "\r"},
    **{"t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"', "?": "?"},
}
_ANSI_ESCAPE = re.compile(
    r"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})|c(.)|(.))", re.S
)


def fields(word: Node, scope: Scope) -> list[str]:
    """The arguments that one word becomes: none, one or many."""
    scope.step()
    text = "".join(_part(part, scope, split=True) for part in word.get("Parts") or [])
    quoted = any(part["Type"] in ("SglQuoted", "DblQuoted") for part in word.get("Parts") or [])
    found: list[str] = []
    for one in expand_braces(text):
        kept = quoted and _SPLIT not in one  # "" is an argument
        cut = [field for field in one.split(_SPLIT) if kept or field.replace(UNSET, "")]
        found.extend(_tilde(_spelled(field), word, scope) for field in cut)
    return found


def text_of(word: Node | None, scope: Scope) -> str:
    """The word as one text, as on the right of ``=`` and in redirections: never split."""
    if word is None:
        return ""
    scope.step()
    parts = word.get("Parts") or []
    text = _spelled("".join(_part(part, scope, split=False) for part in parts))
    return _tilde(text.replace(_SPLIT, " "), word, scope)


def _tilde(text: str, word: Node, scope: Scope) -> str:
    first = (word.get("Parts") or [{}])[0]
    if not text.startswith("~") or first.get("Type") != "Lit":
        return text
    name, slash, rest = text.partition("/")
    if name == "~+":
        home = scope.cwd
    elif name == "~":
        home = scope.variables.get("HOME", scope.policy.home)
    else:
        home = "/root" if name == "~root" else f"/home/{name[1:]}"
    return home + slash + rest


def _part(part: Node, scope: Scope, *, split: bool) -> str:
    """One part of a word outside of double quotes."""
    kind = part["Type"]
    if kind == "Lit":
        return unquoted(part.get("Value", ""))
    if kind == "SglQuoted":
        value = str(part.get("Value", ""))
        return ansi_c(value) if part.get("Dollar") else value
    if kind == "DblQuoted":
        return "".join(_quoted(one, scope) for one in part.get("Parts") or [])
    value = _dynamic(part, scope, quoted=False)
    return _cut(value, scope) if split and kind in ("ParamExp", "CmdSubst") else value


def _quoted(part: Node, scope: Scope) -> str:
    if part["Type"] == "Lit":
        return re.sub(r"\\([$`\"\\]|\n)", lambda m: m[1].strip("\n"), part.get("Value", ""))
    return _dynamic(part, scope, quoted=True)


def document(word: Node | None, scope: Scope) -> str:
    """The text of a here-document's body."""
    if word is None:
        return ""
    return "".join(_body(one, scope) for one in word.get("Parts") or [])


def _body(part: Node, scope: Scope) -> str:
    if part["Type"] == "Lit":
        return re.sub(r"\\([$`\\]|\n)", lambda m: m[1].strip("\n"), part.get("Value", ""))
    return _quoted(part, scope)


def _dynamic(part: Node, scope: Scope, *, quoted: bool) -> str:
    """What only the run knows: parameters, substitutions, arithmetic."""
    kind = part["Type"]
    if kind == "ParamExp":
        return expand_parameter(part, scope, text_of, _SPLIT if quoted else " ")
    if kind == "CmdSubst":
        if part.get("Backquotes") and _NESTED.search(json.dumps(part.get("Stmts"))):
            scope.shared.backquotes = True
        inner = scope.deeper()
        output = scope.machine.statements(part.get("Stmts") or [], inner, None)
        return output.rstrip("\n")
    if kind == "ProcSubst":
        inner = scope.deeper()
        inner.background = True
        fed = UNKNOWN if part.get("Op") == ">(" else None
        output = scope.machine.statements(part.get("Stmts") or [], inner, fed)
        scope.shared.streams.append(output)
        return f"{STREAM}{len(scope.shared.streams) - 1}{STREAM}"
    if kind == "ArithmExp":
        arithmetic(part, scope)
        return UNKNOWN
    if kind == "ExtGlob":
        return GLOB
    scope.confirm("parse", f"a {kind} is not known to the analysis")
    return UNKNOWN


def arithmetic(node: Node, scope: Scope) -> None:
    """Judge an arithmetic expression: an index in it may run commands."""
    todo: list[object] = [node]
    while todo:
        one = todo.pop()
        if isinstance(one, list):
            todo.extend(one)
        elif isinstance(one, dict):
            if one.get("Index") is not None and one.get("Type") == "ParamExp":
                scope.confirm("arithmetic", "an index inside arithmetic may run commands")
            if one.get("Type") == "ParamExp" or one.get("Type") == "CmdSubst":
                _dynamic(one, scope, quoted=True)
            else:
                todo.extend(one.values())


def _cut(value: str, scope: Scope) -> str:
    """Split an unquoted expansion into fields, and let globs in it count."""
    marks = scope.variables.get("IFS", " \t\n")
    pattern = f"[{re.escape(marks)}]+" if marks else None
    value = re.sub(r"[*?]|\[[^\]]*\]", GLOB, value)
    return re.sub(pattern, _SPLIT, value) if pattern else value


def unquoted(value: str) -> str:
    """Unquoted text: escapes undone, globs and braces marked."""
    out, index = [], 0
    while index < len(value):
        char = value[index]
        if char == "\\" and index + 1 < len(value):
            index += 1
            out.append("" if value[index] == "\n" else value[index])
        elif char in "*?":
            out.append(GLOB)
        elif char == "[" and (end := value.find("]", index + 2)) > 0:
            out.append(GLOB)
            index = end
        else:
            out.append(_BRACES.get(char, char))
        index += 1
    return "".join(out)


def ansi_c(value: str) -> str:
    """The text of ``$'...'``."""

    def one(match: re.Match[str]) -> str:
        octal, byte, short, long, control, simple = match.groups()
        if octal:
            return chr(int(octal, 8) & 0xFF)
        code = byte or short or long
        if code:
            return chr(min(int(code, 16), 0x10FFFF))
        if control:
            return chr(ord(control) & 0x1F)
        return _ANSI.get(simple, f"\\{simple}")

    return _ANSI_ESCAPE.sub(one, value)


def _spelled(text: str) -> str:
    return "".join(_SPELLED.get(char, char) for char in text)


def expand_braces(text: str) -> list[str]:
    """``a{b,c}`` as ``ab`` and ``ac``; sequences by their ends when they are long."""
    start = text.find(OPEN)
    if start < 0:
        return [text]
    depth, cuts, end = 0, [start], -1
    for index in range(start, len(text)):
        if text[index] == OPEN:
            depth += 1
        elif text[index] == CLOSE:
            depth -= 1
            if not depth:
                end = index
                break
        elif text[index] == COMMA and depth == 1:
            cuts.append(index)
    if end < 0:
        return [text[:start] + "{" + rest for rest in expand_braces(text[start + 1 :])]
    cuts.append(end)
    inner = [text[a + 1 : b] for a, b in pairwise(cuts)]
    if len(inner) == 1:
        sequence = _sequence(inner[0])
        inner = sequence or [f"{{{one}}}" for one in expand_braces(inner[0])]
    else:
        inner = [one for choice in inner for one in expand_braces(choice)]
    rest = expand_braces(text[end + 1 :])
    both = product(inner[:MOST_WORDS], rest[:MOST_WORDS])
    return [text[:start] + one + after for one, after in both][:MOST_WORDS]


def _sequence(text: str) -> list[str]:
    match = re.fullmatch(r"(-?\d{1,15}|[a-zA-Z])\.\.(-?\d{1,15}|[a-zA-Z])(\.\.-?\d+)?", text)
    if match is None:
        return [UNKNOWN] if ".." in text and not known(text) else []
    first, last = match[1], match[2]
    if first.lstrip("-").isdigit() and last.lstrip("-").isdigit():
        low, high = sorted((int(first), int(last)))
        if high - low < MOST_WORDS // 4:
            return [str(number) for number in range(low, high + 1)]
    return [first, last, UNKNOWN]


def is_opaque(text: str) -> bool:
    """Whether a word is not fully known."""
    return OPAQUE.search(text) is not None
