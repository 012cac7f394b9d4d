"""The table of programs (programs.toml), and how options are told from operands."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Options:
    """Which options of a program take a value, and what the value is."""

    values: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    refuse: frozenset[str] = frozenset()
    skip: int = 0
    """So many first operands are no paths."""
    last: str = ""
    """``write``: a second operand is written."""
    stat: bool = False
    """Operands are looked at, not read."""
    run: bool = False
    """The operands are a command."""
    endless: bool = False
    only_first: bool = False
    ask_any: frozenset[str] = frozenset()
    """Words that need a yes wherever they stand."""
    ask_first: frozenset[str] = frozenset()
    """First operands that need a yes."""

    @property
    def with_value(self) -> frozenset[str]:
        """All options that take one."""
        return self.values | self.reads | self.writes


@dataclass(frozen=True)
class Table:
    """All that programs.toml says."""

    kinds: dict[str, str]
    """Program -> text, read, write, remove, copy, move, tool."""
    refused: dict[str, str]
    """Program -> what it is about."""
    options: dict[str, Options]

    def of(self, name: str) -> Options:
        """The options of a program; none are known of most."""
        return self.options.get(name, _NONE)


_NONE = Options()


@cache
def table() -> Table:
    """The table, read once."""
    text = resources.files(__package__).joinpath("programs.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    kinds = {name: kind for kind, names in data["kinds"].items() for name in names.split()}
    refused = {name: about for about, names in data["refuse"].items() for name in names.split()}
    options = {name: _options(spec) for name, spec in data["options"].items()}
    return Table(kinds, refused, options)


def _options(spec: dict[str, object]) -> Options:
    def words(name: str) -> frozenset[str]:
        return frozenset(str(spec.get(name, "")).split())

    return Options(
        values=words("values"),
        reads=words("reads"),
        writes=words("writes"),
        refuse=words("refuse"),
        skip=int(str(spec.get("skip", 0))),
        last=str(spec.get("last", "")),
        stat=bool(spec.get("stat")),
        run=bool(spec.get("run")),
        endless=bool(spec.get("endless")),
        only_first=bool(spec.get("only_first")),
        ask_any=words("ask_any"),
        ask_first=words("ask_first"),
    )


@dataclass(frozen=True)
class Arguments:
    """A program's arguments, told apart."""

    options: tuple[tuple[str, str | None], ...]
    """Each option as it is called, with its value."""
    operands: tuple[str, ...]

    def has(self, *names: str) -> bool:
        """Whether one of these options is given."""
        return any(option in names for option, _ in self.options)

    def value(self, *names: str) -> str | None:
        """The value of the last of these options."""
        found = [value for option, value in self.options if option in names]
        return found[-1] if found else None


def arguments(args: list[str], with_value: frozenset[str], *, stop: bool = False) -> Arguments:
    """Tell options, their values and operands apart as getopt_long does.

    ``stop``: options end at the first operand.
    """
    options: list[tuple[str, str | None]] = []
    operands: list[str] = []
    queue = list(args)
    while queue:
        arg = queue.pop(0)
        if arg == "--":
            operands += queue
            break
        if len(arg) < 2 or not arg.startswith("-"):
            operands.append(arg)
            if stop:
                operands += queue
                break
        elif arg.startswith("--") or arg in with_value:
            name, equals, value = arg.partition("=")
            taken = value if equals else queue.pop(0) if name in with_value and queue else None
            options.append((name, taken))
        else:
            _cluster(arg, with_value, queue, options)
    return Arguments(tuple(options), tuple(operands))


def _cluster(
    arg: str, with_value: frozenset[str], queue: list[str], options: list[tuple[str, str | None]]
) -> None:
    """``-abcvalue``."""
    for index, letter in enumerate(arg[1:], 1):
        option = f"-{letter}"
        if option in with_value:
            rest = arg[index + 1 :]
            options.append((option, rest or (queue.pop(0) if queue else None)))
            return
        options.append((option, None))
