"""A command line as simple commands: words, pipes, redirections, what is nested in it.

Honest and small: quotes, escapes, substitutions, here-documents, pipes and the usual wrappers
(sudo, env, xargs, sh -c, find -exec). Variables are not resolved, functions not followed. It is
an early warning; the sandbox is the boundary.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_DEPTH = 8
_OPERATORS = ("&&", "||", ";;", "|&", "&>>", "&>", ">>", "<<<", "<<-", "<<", ">&", "<&", ">|")
_SEPARATORS = frozenset({"&&", "||", ";", ";;", "&", "\n", "(", ")"})
_PIPES = frozenset({"|", "|&"})
_KEYWORDS = frozenset(
    {"if", "then", "else", "elif", "fi", "do", "done", "while", "until", "!", "{", "}", "time"}
)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")
SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash"})
# Wrappers, and those of their options that take a value of their own.
WRAPPERS: dict[str, frozenset[str]] = {
    "sudo": frozenset({"-u", "-g", "-h", "-p", "-C", "-D", "-R", "-T", "-U"}),
    "doas": frozenset({"-u", "-C"}),
    "env": frozenset({"-u", "-C", "-S"}),
    "nice": frozenset({"-n"}),
    "ionice": frozenset({"-c", "-n", "-p"}),
    "timeout": frozenset({"-k", "-s"}),
    "xargs": frozenset({"-I", "-n", "-P", "-d", "-a", "-L", "-s", "-E"}),
    "stdbuf": frozenset({"-i", "-o", "-e"}),
    **{name: frozenset[str]() for name in ("command", "builtin", "exec", "nohup", "setsid")},
    **{name: frozenset[str]() for name in ("busybox", "time", "chronic", "unbuffer")},
}


class UnreadableCommand(ValueError):
    """The command line has an open quote or parenthesis."""


@dataclass
class Simple:
    """One simple command."""

    words: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    """Files it redirects its output to."""
    fed: list[str] = field(default_factory=list)
    """Texts it gets on stdin: here-documents and here-strings."""
    inner: list[str] = field(default_factory=list)
    """Command lines in its substitutions."""
    upstream: list[Simple] = field(default_factory=list)
    """Commands before it in the same pipeline."""

    @property
    def program(self) -> str:
        """Name of the program without its folder; empty when there is none."""
        return self.words[0].rsplit("/", 1)[-1].removeprefix("\\") if self.words else ""


@dataclass
class _Line:
    """State of one pass over a command line."""

    text: str
    at: int = 0
    word: str | None = None
    current: Simple = field(default_factory=Simple)
    pipeline: list[Simple] = field(default_factory=list)
    done: list[Simple] = field(default_factory=list)
    redirect: str = ""
    waiting: list[tuple[str, bool, Simple]] = field(default_factory=list)
    """Here-documents whose body starts on the next line."""


def read(command: str) -> list[Simple]:
    """The simple commands of a line, in source order. Raises UnreadableCommand."""
    line = _Line(command)
    while line.at < len(line.text):
        _step(line)
    _end_word(line)
    _end_command(line, pipe=False)
    return line.done


def _step(line: _Line) -> None:
    text, at = line.text, line.at
    char = text[at]
    if char == "\\":
        if text[at + 1 : at + 2] != "\n":
            _add(line, text[at + 1 : at + 2])
        line.at += 2
    elif char == "'":
        end = text.find("'", at + 1)
        if end < 0:
            raise UnreadableCommand("a single quote is not closed")
        _add(line, text[at + 1 : end])
        line.at = end + 1
    elif char == '"':
        _double_quoted(line)
    elif _substitution(line):
        return
    elif char in " \t\r":
        _end_word(line)
        line.at += 1
    elif char == "#" and line.word is None:
        end = text.find("\n", at)
        line.at = len(text) if end < 0 else end
    elif char in "|&;()<>\n":
        _operator(line)
    else:
        _add(line, char)
        line.at += 1


def _add(line: _Line, text: str) -> None:
    line.word = (line.word or "") + text


def _double_quoted(line: _Line) -> None:
    line.at += 1
    _add(line, "")
    while line.at < len(line.text):
        char = line.text[line.at]
        if char == '"':
            line.at += 1
            return
        if char == "\\" and line.text[line.at + 1 : line.at + 2] in '"\\$`':
            _add(line, line.text[line.at + 1 : line.at + 2])
            line.at += 2
        elif not (char in "$`" and _substitution(line)):
            _add(line, char)
            line.at += 1
    raise UnreadableCommand("a double quote is not closed")


def _substitution(line: _Line) -> bool:
    """Take ``$(...)``, ``<(...)``, ``>(...)`` or back-quotes; False when there is none here."""
    text, at = line.text, line.at
    if text[at] == "`":
        end = text.find("`", at + 1)
        if end < 0:
            raise UnreadableCommand("a back-quote is not closed")
        inner, line.at = text[at + 1 : end], end + 1
    elif text[at] in "$<>" and text[at + 1 : at + 2] == "(":
        end = _closing(text, at + 2)
        inner, line.at = text[at + 2 : end], end + 1
    else:
        return False
    line.current.inner.append(inner)
    _add(line, f"{'<' if text[at] == '<' else '$'}(…)")
    return True


def _closing(text: str, at: int) -> int:
    """Index of the parenthesis that closes the one before ``at``; quotes are passed over."""
    depth, quote = 1, ""
    while at < len(text):
        char = text[at]
        if quote:
            at += char == "\\" and quote == '"'
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "\\":
            at += 1
        elif char in "()":
            depth += 1 if char == "(" else -1
            if not depth:
                return at
        at += 1
    raise UnreadableCommand("a parenthesis is not closed")


def _operator(line: _Line) -> None:
    found = next((op for op in _OPERATORS if line.text.startswith(op, line.at)), None)
    operator = found or line.text[line.at]
    line.at += len(operator)
    if operator[0] in "<>" or operator.startswith("&>"):
        # 2>file: the number belongs to the operator.
        if line.word is not None and line.word.isdigit():
            line.word = None
        _end_word(line)
        line.redirect = operator
        return
    _end_word(line)
    _end_command(line, pipe=operator in _PIPES)
    if operator == "\n" and line.waiting:
        _take_bodies(line)


def _end_word(line: _Line) -> None:
    if line.word is None:
        return
    word, line.word = line.word, None
    operator, line.redirect = line.redirect, ""
    if not operator:
        line.current.words.append(word)
    elif operator == "<<<":
        line.current.fed.append(word)
    elif operator in ("<<", "<<-"):
        line.waiting.append((word, operator == "<<-", line.current))
    elif ">" in operator:
        line.current.targets.append(word)


def _end_command(line: _Line, *, pipe: bool) -> None:
    current = line.current
    if current.words or current.targets or current.inner or current.fed:
        current.words = _unwrapped_keywords(current.words)
        current.upstream = list(line.pipeline)
        line.done.append(current)
        line.pipeline.append(current)
    if not pipe:
        line.pipeline = []
    line.current = Simple()


def _take_bodies(line: _Line) -> None:
    for mark, indented, command in line.waiting:
        body = []
        while line.at < len(line.text):
            end = line.text.find("\n", line.at)
            end = len(line.text) if end < 0 else end
            row, line.at = line.text[line.at : end], end + 1
            if (row.lstrip("\t") if indented else row) == mark:
                break
            body.append(row)
        command.fed.append("\n".join(body))
    line.waiting = []


def _unwrapped_keywords(words: list[str]) -> list[str]:
    index = 0
    while index < len(words) and (words[index] in _KEYWORDS or _ASSIGNMENT.match(words[index])):
        index += 1
    return words[index:]


def unwrap(command: Simple) -> Simple:
    """The command that wrappers (sudo, env, xargs, timeout, ...) run in the end."""
    words = command.words
    for _ in range(MAX_DEPTH):
        name = words[0].rsplit("/", 1)[-1] if words else ""
        if name not in WRAPPERS:
            break
        rest, index = words[1:], 0
        while index < len(rest) and (rest[index].startswith("-") or _ASSIGNMENT.match(rest[index])):
            index += 2 if rest[index] in WRAPPERS[name] else 1
        # timeout has a duration before the command.
        index += name == "timeout"
        words = rest[index:]
    return Simple(words, command.targets, command.fed, command.inner, command.upstream)


def everything(command: str, depth: int = 0) -> list[Simple]:
    """All simple commands of a line with those nested in it. Raises UnreadableCommand."""
    if depth > MAX_DEPTH:
        raise UnreadableCommand("it is nested too deeply")
    found: list[Simple] = []
    for outer in read(command):
        simple = unwrap(outer)
        found.append(simple)
        for text in [*simple.inner, *_scripts(simple)]:
            found += everything(text, depth + 1)
        found += [unwrap(Simple(words)) for words in _exec_parts(simple)]
    return found


def _scripts(command: Simple) -> list[str]:
    """Command lines that a shell or eval gets as an argument or on stdin."""
    if command.program == "eval":
        return [" ".join(command.words[1:])]
    if command.program not in SHELLS:
        return []
    for index, word in enumerate(command.words[1:], 1):
        if re.fullmatch(r"-[a-z]*c[a-z]*", word):
            return command.words[index + 1 : index + 2]
    return command.fed


def _exec_parts(command: Simple) -> list[list[str]]:
    """Commands behind find's -exec, -execdir, -ok."""
    if command.program != "find":
        return []
    starts = [i for i, w in enumerate(command.words) if w in ("-exec", "-execdir", "-ok")]
    parts = []
    for start in starts:
        rest = command.words[start + 1 :]
        end = next((i for i, word in enumerate(rest) if word in (";", "+")), len(rest))
        parts.append(rest[:end])
    return parts
