"""Branches and loops: what is known after them, and which of them never end."""

from __future__ import annotations

import re

from llmos_workers.execution.guard.marks import GLOB, UNKNOWN, UNSET
from llmos_workers.execution.guard.parse import Node
from llmos_workers.execution.guard.scope import Scope

MOST_ITEMS = 12
"""Items of a for loop that are tried one by one."""

_RISKY = re.compile(r"[/~]|.*\.\.")


def telling(items: list[str]) -> list[str]:
    """The items that can make a difference, few enough to try each."""
    distinct = list(dict.fromkeys(items))
    if len(distinct) <= MOST_ITEMS:
        return distinct
    risky = [item for item in distinct if _RISKY.match(item)]
    return [*risky[:MOST_ITEMS], *distinct[:2], UNKNOWN]


def merge(scope: Scope, ends: list[Scope]) -> None:
    """What holds after one of several ways was taken, nobody knows which."""
    names = {name for end in ends for name in end.variables}
    for name in names:
        values = {end.variables.get(name, UNSET) for end in ends}
        scope.variables[name] = values.pop() if len(values) == 1 else riskiest(values)
    folders = {end.cwd for end in ends}
    scope.cwd = folders.pop() if len(folders) == 1 else UNKNOWN
    for end in ends:
        scope.functions.update(end.functions)


def riskiest(values: set[str]) -> str:
    """The value that can do most harm as a path, or UNKNOWN."""
    risky = sorted(value for value in values if _RISKY.match(value))
    return risky[0] if risky else UNKNOWN


def riskiest_line(text: str) -> str:
    """The line of a text that can do most harm as a path or word."""
    lines = [line.strip() for line in text.strip("\n").split("\n")]
    if len(lines) == 1:
        return lines[0]
    risky = [line for line in lines if _RISKY.match(line)]
    unsure = [line for line in lines if GLOB in line or UNKNOWN in line]
    return (risky or unsure or lines)[0]


def judge_endless(node: Node, scope: Scope) -> None:
    """``while true`` that starts jobs without waiting, or spins without ever ending."""
    conditions = node.get("Cond") or []
    if len(conditions) != 1 or not _always(conditions[0], until=bool(node.get("Until"))):
        return
    names, background = set(), False
    todo: list[object] = [node.get("Do")]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            background = background or bool(one.get("Background"))
            if one.get("Type") == "CallExpr" and one.get("Args"):
                names.add(_literal(one["Args"][0]))
            todo.extend(one.values())
        elif isinstance(one, list):
            todo.extend(one)
    if background and not names & {"wait", "sleep", "break", "read"}:
        scope.deny("bomb", "it starts jobs without end")
    elif not names & {"sleep", "break", "read", "exit", "return", "wait", "inotifywait"}:
        scope.confirm("endless", "it repeats without end and without a pause")


def _always(statement: Node, *, until: bool) -> bool:
    command = statement.get("Cmd") or {}
    if command.get("Type") == "ArithmCmd":
        return not until
    words = [_literal(word) for word in command.get("Args") or []]
    return words in ([":"], ["true"], ["[", "1", "]"]) if not until else words == ["false"]


def _literal(word: Node) -> str:
    return "".join(str(part.get("Value", "")) for part in word.get("Parts") or [])


def judge_counted(loop: Node, scope: Scope) -> None:
    """``for ((;;))`` without a condition never ends."""
    if loop.get("Cond") is None:
        scope.confirm("endless", "it repeats without a condition")


def forget_counter(expression: Node | None, scope: Scope) -> None:
    """A counting loop's variable is unknown in its body."""
    todo: list[object] = [expression]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            if one.get("Type") == "Lit" and re.fullmatch(r"[A-Za-z_]\w*", str(one.get("Value"))):
                scope.variables[str(one["Value"])] = UNKNOWN
            todo.extend(one.values())
        elif isinstance(one, list):
            todo.extend(one)
