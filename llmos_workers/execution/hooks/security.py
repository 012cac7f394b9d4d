"""SecurityHook: refuses what is plainly out of bounds, before the sandbox has to."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from llmos_workers.contracts.errors import ToolError
from llmos_workers.contracts.tools import Effect, ToolCall, ToolSpec
from llmos_workers.execution.hooks import rules
from llmos_workers.execution.hooks.base import ALLOW, Hook, HookDecision, HookEvent, ask, deny
from llmos_workers.execution.hooks.shellwords import Simple, UnreadableCommand, everything
from llmos_workers.execution.tools.search import glob_pattern
from llmos_workers.kernel import paths

Protected = tuple[str, re.Pattern[str]]
_PATH_ARGUMENTS = ("path", "file", "folder")
_DIRECTION_CHARS = frozenset("\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2069")


class SecurityHook(Hook):
    """Paths stay in the project, arguments are what they seem, obvious harm is refused.

    ``protected`` are globs of project paths that no tool may write.
    """

    name = "SecurityHook"

    def __init__(self, protected: Iterable[str] = ()) -> None:
        self._protected = [(text, glob_pattern(text)) for text in protected]

    def pre_tool(self, event: HookEvent) -> HookDecision:
        """See check_call."""
        if event.call is None or event.spec is None:
            return deny("security:event", "there is no call to check")
        return self._check(event.call, event.spec)

    def _check(self, call: ToolCall, spec: ToolSpec) -> HookDecision:
        for name, value in call.arguments.items():
            if isinstance(value, str) and "\0" in value:
                return deny("security:argument", f"{name} holds a NUL character")
        for name in _PATH_ARGUMENTS:
            value = call.arguments.get(name)
            if isinstance(value, str):
                decision = self._check_path(value, writes=spec.effect is not Effect.READ)
                if decision is not ALLOW:
                    return decision
        command = call.arguments.get("command")
        return check_command(command, self._protected) if isinstance(command, str) else ALLOW

    def _check_path(self, path: str, *, writes: bool) -> HookDecision:
        if _DIRECTION_CHARS & set(path):
            return deny("security:argument", "the path holds characters that cannot be seen")
        try:
            plain = paths.plain(path)
        except ToolError as error:
            return deny("security:path", str(error))
        if plain == ".." or plain.startswith("../"):
            return deny("security:path", f"{path!r} leads out of the project's folder")
        if writes:
            for text, pattern in self._protected:
                if pattern.fullmatch(plain):
                    return deny("security:protected", f"{path!r} is protected ({text})")
        return ALLOW


def check_command(command: str, protected: Iterable[Protected] = ()) -> HookDecision:
    """What the rules say about a command line. ``protected``: paths it must not write."""
    if rules.is_bomb(command):
        return deny("security:fork-bomb", "it starts copies of itself without end")
    try:
        simple = everything(command)
    except UnreadableCommand as error:
        if rules.OBVIOUS.search(command):
            return deny("security:unreadable", f"the command cannot be read: {error}")
        return ALLOW
    return _judge(simple) or _protected(simple, protected) or _confirm(simple) or ALLOW


def _judge(simple: list[Simple]) -> HookDecision | None:
    for name, rule in rules.DENIED:
        for part in simple:
            if reason := rule(part):
                return deny(f"security:{name}", f"refused: {reason}")
    return None


def _protected(simple: list[Simple], protected: Iterable[Protected]) -> HookDecision | None:
    for text, pattern in protected:
        for part in simple:
            for path in rules.written_paths(part):
                if pattern.fullmatch(posixpath.normpath(path)):
                    return deny("security:protected", f"{path!r} is protected ({text})")
    return None


def _confirm(simple: list[Simple]) -> HookDecision | None:
    for name, rule in rules.CONFIRMED:
        for part in simple:
            if reason := rule(part):
                return ask(f"security:{name}", f"needs confirmation: {reason}")
    return None


def is_destructive(call: ToolCall, spec: ToolSpec) -> bool:
    """Whether a call removes or overwrites what may not come back.

    A command line that cannot be read counts as destructive.
    """
    command = call.arguments.get("command")
    if not isinstance(command, str):
        return spec.destructive
    try:
        return any(rules.destructive(part) for part in everything(command))
    except UnreadableCommand:
        return True
