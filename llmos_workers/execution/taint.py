"""Taint: what a run has taken in from outside, and what it may no longer do then.

Of three things a run never does all: hold content that others wrote, know secrets, and reach out of
its project. Whoever wrote the content may have written instructions into it, and no model is
sure not to follow them; so once a run holds such content, the gate refuses what would complete the
three, whatever the model was talked into.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.contracts.tools import COMMAND_TOOLS, ToolCall, ToolResult, ToolSpec
from llmos_workers.contracts.trace import TraceStep
from llmos_workers.execution.hooks.base import ALLOW, HookDecision, deny
from llmos_workers.execution.secret_files import SECRET_FILE
from llmos_workers.execution.tools.search import walk_files
from llmos_workers.kernel.tainted import TaintedFiles

_PATHS = ("path", "file", "folder", "pattern", "glob")
_OPAQUE = ("command", "code")
"""Arguments of tools that may read any file of the project without naming it."""
_WORD = re.compile(r"[^\s'\"`|&;<>()$=,:@]+")


@dataclass
class RunTaint:
    """What one run holds. It only grows; a resumed run finds it again in its journal."""

    outside: str = ""
    """Where the first content from outside came from; "" while there is none."""
    secret: str = ""
    """A file of secrets that the run has read or changed; "" while there is none."""
    opaque: bool = False
    """Whether a command ran, of which nobody knows what it read."""
    reached: bool = False
    """Whether a command connected to something outside."""
    files: TaintedFiles = field(default_factory=TaintedFiles, repr=False)
    """Files of the project that runs with content from outside published."""
    notice: Callable[[str], None] = field(default=lambda _words: None, repr=False)
    """Tells who watches."""

    def mark(self, source: str) -> None:
        """The run holds, from now on, what others wrote; ``source`` in a few words."""
        if not self.outside:
            self.outside = source
            self.notice(
                f"This run now holds content from outside ({source}): it may not read secrets nor "
                "change agents any more, and what is learned from it waits for approval."
            )

    def learn(self, spec: ToolSpec | None, call: ToolCall, result: ToolResult) -> None:
        """Take note of a call that ran, now or in an earlier run of the goal."""
        if result.tainted or (spec is not None and spec.from_outside and not result.denied_by):
            self.mark(call.name)
        elif file := self.file_in(result):
            self.mark(f"the file {file}")
        self.reached = self.reached or (result.tainted and call.name in COMMAND_TOOLS)
        if not result.denied_by:
            self.opaque = self.opaque or any(name in call.arguments for name in _OPAQUE)
        self.secret = self.secret or _secret_among((*result.reads, *result.writes))

    def file_in(self, result: ToolResult) -> str:
        """A tainted file of the project that a call read, in words; "" when there is none."""
        return result.tainted_file or self.files.among(result.reads)

    def learn_step(self, spec: ToolSpec | None, step: TraceStep) -> None:
        """The same for a step of a replay that was handed over. A tool that is gone meanwhile
        may have been one that reads from outside.
        """
        result = ToolResult(ok=step.ok, reads=step.reads, writes=step.writes)
        gone = spec is None and bool(step.tool_version)
        self.learn(spec, step.call, result.model_copy(update={"tainted": gone}))

    def decision(self, call: ToolCall, spec: ToolSpec, area: Path) -> HookDecision:
        """What taint says about a call that is about to run. It can only refuse."""
        if not self.outside:
            return ALLOW
        if spec.control:
            return deny("taint:control", f"{self._holds}: it may not change what agents may do")
        if named := _secret_named(call):
            return deny("taint:secret", f"{self._holds}: it may not read {named}")
        if spec.egress and (known := self._known_secret(area)):
            return deny(
                "taint:egress",
                f"{self._holds}, and it may know {known}: nothing may leave the project any more",
            )
        return ALLOW

    def withheld(self, result: ToolResult) -> HookDecision:
        """Whether the output of a call that ran may be shown: a search may have met secrets."""
        if self.outside and (met := _secret_among(result.reads)):
            return deny("taint:secret", f"{self._holds}: what was read of {met} is withheld")
        return ALLOW

    def keeps_in(self, area: Path) -> str:
        """Why a command that could reach outside must not; "" when it may.

        What it fetches is others' words, it can read all of the project, and it can send: with a
        secret within its reach it would hold all three by itself.
        """
        known = self._known_secret(area, opaque=True)
        return f"it may know {known}: nothing may leave the project" if known else ""

    @property
    def _holds(self) -> str:
        return f"this run holds content from outside ({self.outside})"

    def _known_secret(self, area: Path, *, opaque: bool = False) -> str:
        """A file of secrets that the run knows, or may know as a command ran beside it."""
        if self.secret or not (self.opaque or opaque):
            return self.secret
        return next((path for path, _ in walk_files(area) if SECRET_FILE.fullmatch(path)), "")


def _secret_among(files: Iterable[FileDigest]) -> str:
    return next((file.path for file in files if SECRET_FILE.fullmatch(file.path)), "")


def _secret_named(call: ToolCall) -> str:
    """A file of secrets that a call names; "" when it names none."""
    for name in (*_PATHS, *_OPAQUE):
        value = call.arguments.get(name)
        if not isinstance(value, str):
            continue
        words: list[str] = _WORD.findall(value)
        for word in (value.strip(), *words):
            if SECRET_FILE.fullmatch(word):
                return word
    return ""
