"""What a script has done so far: its folder, variables, functions and new files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

from llmos_workers.execution.guard.marks import UNKNOWN, shown
from llmos_workers.execution.guard.parse import Node
from llmos_workers.execution.guard.paths import Use, check_path
from llmos_workers.execution.guard.policy import GuardPolicy
from llmos_workers.execution.guard.urls import check_host, check_url
from llmos_workers.execution.guard.verdict import Finding, confirm, deny

MAX_DEPTH = 16
MAX_STEPS = 20_000
"""Simple commands and words that are evaluated before a line counts as too long to judge."""


class TooDeep(Exception):
    """The command line nests or repeats more than the analysis follows."""


class Machine(Protocol):
    """What a handler of a program may ask for: running more commands, on paper."""

    def run(self, argv: list[str], scope: Scope, stdin: str | None) -> str:
        """What a program with these words prints."""
        ...

    def script(self, text: str, scope: Scope, stdin: str | None) -> str:
        """What a command line prints."""
        ...

    def statements(self, nodes: list[Node], scope: Scope, stdin: str | None) -> str:
        """What parsed statements print."""
        ...


@dataclass
class Shared:
    """What all scopes of one analysis have in common."""

    findings: list[Finding] = field(default_factory=list)
    streams: list[str] = field(default_factory=list)
    """What process substitutions hold."""
    made: dict[str, str] = field(default_factory=dict)
    """Files written by this command line, by normal path -> what is in them."""
    steps: int = 0
    backquotes: bool = False
    jobs: bool = False
    """Whether the command line started something in the background."""
    destructive: bool = False
    """Whether something is removed or overwritten that may not come back."""


@dataclass
class Scope:
    """One shell's state. A subshell has a copy of everything but ``shared``."""

    policy: GuardPolicy
    machine: Machine
    cwd: str
    variables: dict[str, str] = field(default_factory=dict)
    functions: dict[str, Node] = field(default_factory=dict)
    arguments: list[str] | None = None
    """``$1`` and so on; None: none were given, as at the start of a command line."""
    shared: Shared = field(default_factory=Shared)
    depth: int = 0
    active: tuple[str, ...] = ()
    """Functions that are being run."""
    background: bool = False
    """Inside a pipe or a background job."""

    def fork(self) -> Scope:
        """The state of a subshell."""
        return replace(self, variables=dict(self.variables), functions=dict(self.functions))

    def deeper(self) -> Scope:
        """One level further down. Raises TooDeep."""
        if self.depth >= MAX_DEPTH:
            raise TooDeep
        inner = self.fork()
        inner.depth += 1
        return inner

    def step(self) -> None:
        """Count one step. Raises TooDeep."""
        self.shared.steps += 1
        if self.shared.steps > MAX_STEPS:
            raise TooDeep

    def note(self, finding: Finding) -> None:
        """Keep a finding."""
        if finding.verdict:
            self.shared.findings.append(finding)

    def deny(self, rule: str, reason: str) -> None:
        """Note a no."""
        self.note(deny(rule, reason))

    def confirm(self, rule: str, reason: str) -> None:
        """Note that a person has to be asked."""
        self.note(confirm(rule, reason))

    def path(self, path: str, use: Use) -> None:
        """Judge one path."""
        if use in (Use.DELETE, Use.WIPE):
            self.shared.destructive = True
        cwd = self.cwd
        if UNKNOWN in cwd and not path.startswith("/"):
            path, cwd = f"{UNKNOWN}/{path}", self.policy.workspace
        self.note(check_path(path, use, self.policy, cwd))

    def url(self, url: str) -> None:
        """Judge one web address."""
        self.note(check_url(url, self.policy))

    def host(self, host: str) -> None:
        """Judge one host."""
        self.note(check_host(host, self.policy))


@dataclass
class Call:
    """One program about to run, for the code that knows the program."""

    name: str
    args: list[str]
    stdin: str | None
    """What it reads; None when nothing was given to it."""
    scope: Scope

    @property
    def text(self) -> str:
        """The command as people would write it, for reasons."""
        return shown(" ".join([self.name, *self.args]))

    def deny(self, rule: str, reason: str) -> str:
        """Note a no, and give unknown output."""
        self.scope.deny(rule, f"{reason} ({self.text})")
        return UNKNOWN

    def confirm(self, rule: str, reason: str) -> str:
        """Note a question, and give unknown output."""
        self.scope.confirm(rule, f"{reason} ({self.text})")
        return UNKNOWN
