"""Command lines as trees: shfmt is the authority, tree-sitter the second opinion.

A command line whose two readings differ is not understood, whatever each of them says. Trees are
kept by text: a replayed command costs its analysis only.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from llmos_workers.execution.guard.lists import words

Node = dict[str, Any]

MAX_CHARS = 50_000
"""Longest command line that is analysed."""
TIMEOUT_S = 10.0
"""A reading takes 5 ms; past this the machine is in trouble, and the line counts as unreadable."""

_PLAIN = re.compile(r"[A-Za-z0-9_./][\w./:,@%+-]*( [\w./:,@%+=-]+)*")
_RESERVED = words(
    "if then else elif fi for while until do done case esac in function select time coproc "
    "declare typeset local readonly export nameref let"
)


class UnreadableCommand(Exception):
    """The text is no command line that shfmt can read."""


@dataclass(frozen=True)
class Parsed:
    """A command line's statements, and whether the second parser reads it alike."""

    statements: list[Node]
    agreed: bool
    difference: str = ""
    """How the second reading differs."""


@lru_cache(maxsize=4_096)
def parse(text: str) -> Parsed:
    """The tree of a command line. Raises UnreadableCommand."""
    if len(text) > MAX_CHARS:
        raise UnreadableCommand("it is too long to be analysed")
    if _PLAIN.fullmatch(text) and text.split(" ", 1)[0] not in _RESERVED:
        # Nothing in it but words and single spaces: every parser reads it alike.
        return Parsed([_plain_command(text)], agreed=True)
    tree = shfmt(text)
    difference = _difference(text, tree)
    return Parsed(tree.get("Stmts") or [], agreed=not difference, difference=difference)


def _plain_command(text: str) -> Node:
    words, at = [], 0
    for word in text.split(" "):
        place = {"Offset": at}
        words.append({"Pos": place, "Parts": [{"Type": "Lit", "Value": word}]})
        at += len(word) + 1
    return {"Cmd": {"Type": "CallExpr", "Args": words}}


def shfmt(text: str) -> Node:
    """The tree that shfmt reads. Raises UnreadableCommand."""
    program = _shfmt_path()
    if program is None:
        raise UnreadableCommand("shfmt is not installed")
    try:
        done = subprocess.run(
            [program, "-ln", "bash", "--to-json"],
            input=text.encode(),
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
            env={},
        )
    except (OSError, UnicodeError, subprocess.TimeoutExpired) as error:
        raise UnreadableCommand(f"shfmt failed: {type(error).__name__}") from None
    if done.returncode:
        message = done.stderr.decode("utf-8", "replace").strip().replace("<standard input>:", "")
        raise UnreadableCommand(message.splitlines()[0][:200] if message else "shfmt failed")
    try:
        tree = json.loads(done.stdout)
    except ValueError:
        raise UnreadableCommand("shfmt answered nonsense") from None
    return tree if isinstance(tree, dict) else {}


@cache
def _shfmt_path() -> str | None:
    beside = Path(sys.executable).with_name("shfmt")
    if beside.exists():
        return str(beside)
    # Packages may come from another place than the interpreter (--user, --target, a .pth file).
    try:
        files = distribution("shfmt-py").files or []
    except PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "shfmt" and (place := Path(str(file.locate()))).exists():
            return str(place.resolve())
    return shutil.which("shfmt")


def _difference(text: str, tree: Node) -> str:
    """How tree-sitter's reading differs in where commands begin; empty when it does not."""
    theirs = second_opinion(text)
    if theirs is None:
        return "the second parser finds errors in it"
    ours = set(command_starts(tree))
    if ours != theirs:
        return f"the parsers differ about {len(ours ^ theirs)} commands"
    return ""


def command_starts(node: Any) -> Iterator[int]:
    """Byte offsets of the first words of all simple commands of shfmt's tree."""
    for found in _nodes(node):
        if found.get("Type") == "CallExpr" and found.get("Args"):
            yield int(found["Args"][0]["Pos"].get("Offset", 0))


def _nodes(node: Any) -> Iterator[Node]:
    todo = [node]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            yield one
            todo.extend(one.values())
        elif isinstance(one, list):
            todo.extend(one)


@cache
def _tree_sitter() -> Any:
    import tree_sitter
    import tree_sitter_bash

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


def second_opinion(text: str) -> set[int] | None:
    """Where tree-sitter sees simple commands begin; None when it finds errors."""
    root = _tree_sitter().parse(text.encode("utf-8", "replace")).root_node
    if root.has_error:
        return None
    starts: set[int] = set()
    todo = [root]
    while todo:
        one = todo.pop()
        todo.extend(one.children)
        if one.type == "command_name":
            if one.text == b"let":
                continue  # a clause of its own for shfmt
            after = one.next_named_sibling
            timed = one.text == b"time" and after is not None  # a keyword for shfmt
            starts.add(after.start_byte if timed and after else one.start_byte)
        elif one.type in ("test_command", "unset_command") and one.children[0].type != "[[":
            starts.add(one.start_byte)  # shfmt: commands named [ and unset
    return starts
