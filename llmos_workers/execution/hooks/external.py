"""The user's own hooks: a Python class, or an executable that speaks JSON.

A Python hook derives from Hook and is named ``package.module:Class``, or by the name of its entry
point in the group ``llmos.hooks``. An executable is named by its path (with a slash); for each
event it gets one JSON object on stdin and answers with one on stdout:
``{"decision": "allow" | "deny" | "ask" | "modify" | "inject", "reason": "...", "rule": "...",
"arguments": {...}, "output": "...", "context": "...", "tainted": false}``. Anything else, an exit
code other than 0 or no answer in time is a denial. See docs/gate.md.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import stat
import subprocess
import threading
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from llmos_workers.contracts.hooks import HOOK_TIMEOUT_S, HookKind, HookSetting
from llmos_workers.execution.hooks.base import (
    Hook,
    HookAction,
    HookDecision,
    HookEvent,
)

logger = logging.getLogger(__name__)

GROUP = "llmos.hooks"
"""Entry point group: a class that derives from Hook."""

MAX_ANSWER_BYTES = 1_000_000
_PASSED_ENV = ("PATH", "HOME", "LANG", "TMPDIR")


def load_hook(
    setting: HookSetting,
    *,
    base: Path | None = None,
    writable: Callable[[Path], bool] | None = None,
) -> Hook:
    """The hook that a setting names; one that denies everything when it cannot be had.

    A relative path counts from ``base`` (None: the working folder). ``writable`` says of a
    resolved path whether tools can write there: such an executable is no hook.
    """
    where = setting.use
    try:
        if "/" not in where:
            inner = _from_module(where) if ":" in where else _from_entry_point(where)
            return TimedHook(inner, setting)
        path = (base or Path.cwd()) / Path(where).expanduser()
        hook = ExecutableHook(path.absolute(), setting, writable=writable)
        hook.check()
    # A user's module may raise anything when imported; without its check nothing may run.
    except Exception as error:
        logger.exception("hook %s cannot be loaded; all tool calls are denied", where)
        return BrokenHook(where, f"{type(error).__name__}: {error}")
    return hook


def known_hooks() -> dict[str, str]:
    """Names of installed entry points, with what they stand for."""
    return {point.name: point.value for point in entry_points(group=GROUP)}


def _from_module(where: str) -> Hook:
    module, _, attribute = where.partition(":")
    return _made(getattr(importlib.import_module(module), attribute), where)


def _from_entry_point(name: str) -> Hook:
    found = sorted(entry_points(group=GROUP, name=name), key=lambda point: point.value)
    if len({point.value for point in found}) != 1:
        raise ValueError(f"{len(found)} installed packages have a hook of that name")
    return _made(found[0].load(), name)


def _made(factory: Any, where: str) -> Hook:
    made = factory()
    if not isinstance(made, Hook):
        raise TypeError(f"{where} is not derived from llmos_workers.execution.hooks.base.Hook")
    return made


class BrokenHook(Hook):
    """Stands for a hook that should be there and is not: denies every call and every prompt."""

    def __init__(self, where: str, fault: str) -> None:
        self.name, self.fault = where, fault
        logger.error("hook %s cannot be used (%s): everything is denied", where, fault)

    def pre_tool(self, event: HookEvent) -> HookDecision:
        """Fail, which the chain turns into a denial."""
        del event
        raise RuntimeError(f"the hook cannot be used: {self.fault}")

    def prompt(self, event: HookEvent) -> HookDecision:
        """Fail: no money is spent on a model all of whose calls would be denied."""
        return self.pre_tool(event)


class TimedHook(Hook):
    """Runs another hook with a time limit. A thread that hangs is left behind, not waited for."""

    def __init__(self, inner: Hook, setting: HookSetting) -> None:
        self._inner, self._events = inner, setting.events
        self._timeout_s = setting.timeout_secs
        self.name = inner.name or type(inner).__name__
        self.advises = setting.advises or inner.advises

    def handles(self, kind: HookKind) -> bool:
        """What the inner hook handles, as far as the setting names it."""
        return self._inner.handles(kind) and (not self._events or kind in self._events)

    def _timed(self, method: Callable[[HookEvent], HookDecision], event: HookEvent) -> HookDecision:
        answers: list[HookDecision] = []
        faults: list[Exception] = []

        def answer() -> None:
            try:
                answers.append(method(event))
            # Carried over to the asking thread, where the chain turns it into a denial.
            except Exception as error:  # noqa: BLE001
                faults.append(error)

        thread = threading.Thread(target=answer, daemon=True, name=f"hook-{self.name}")
        thread.start()
        thread.join(self._timeout_s)
        if faults:
            raise faults[0]
        if not answers:
            raise TimeoutError(f"no answer within {self._timeout_s:g} s")
        return answers[0]

    def pre_tool(self, event: HookEvent) -> HookDecision:
        """The inner hook's answer."""
        return self._timed(self._inner.pre_tool, event)

    def post_tool(self, event: HookEvent) -> HookDecision:
        """The inner hook's answer."""
        return self._timed(self._inner.post_tool, event)

    def on_error(self, event: HookEvent) -> HookDecision:
        """The inner hook's answer."""
        return self._timed(self._inner.on_error, event)

    def prompt(self, event: HookEvent) -> HookDecision:
        """The inner hook's answer."""
        return self._timed(self._inner.prompt, event)


class ExecutableHook(Hook):
    """Asks a program. It gets no secrets: only a few harmless environment variables."""

    def __init__(
        self,
        path: Path,
        setting: HookSetting | None = None,
        *,
        writable: Callable[[Path], bool] | None = None,
    ) -> None:
        self.name, self._path, self._writable = path.name, path, writable
        self._events = setting.events if setting else ()
        self._timeout_s = setting.timeout_secs if setting else HOOK_TIMEOUT_S
        self.advises = setting.advises if setting else False

    def check(self) -> Path:
        """The program's real path. Raises ValueError when it is none, or others could change it:
        whoever writes the file decides about every call.
        """
        real = self._path.resolve()
        if not (real.is_file() and os.access(real, os.X_OK)):
            raise ValueError(f"{self._path} is no executable file")
        if self._writable is not None and self._writable(real):
            raise ValueError(f"{real} lies where tools can write")
        for place in (real, *real.parents):
            mode = place.stat().st_mode
            # In a sticky folder such as /tmp nobody replaces the files of others.
            if mode & stat.S_IWOTH and not (place.is_dir() and mode & stat.S_ISVTX):
                raise ValueError(f"everybody may write {place}")
        return real

    def handles(self, kind: HookKind) -> bool:
        """All, or what the setting names."""
        return not self._events or kind in self._events

    def pre_tool(self, event: HookEvent) -> HookDecision:
        """The program's answer."""
        return self._ask(event)

    def post_tool(self, event: HookEvent) -> HookDecision:
        """The program's answer."""
        return self._ask(event)

    def on_error(self, event: HookEvent) -> HookDecision:
        """The program's answer."""
        return self._ask(event)

    def prompt(self, event: HookEvent) -> HookDecision:
        """The program's answer."""
        return self._ask(event)

    def _ask(self, event: HookEvent) -> HookDecision:
        env = {name: os.environ[name] for name in _PASSED_ENV if name in os.environ}
        with subprocess.Popen(
            [str(self.check())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            start_new_session=True,
        ) as process:
            try:
                told = json.dumps(describe(event)).encode()
                answer, _ = process.communicate(told, timeout=self._timeout_s)
            except BaseException:
                # The group, not the process alone: a child of it may hold the pipe open.
                _end_group(process.pid)
                raise
            if process.returncode:
                raise ValueError(f"exit code {process.returncode}")
        return parse_answer(answer)


def _end_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def describe(event: HookEvent) -> dict[str, Any]:
    """The event as an executable gets it."""
    return {
        "version": 1,
        "event": event.kind.value,
        "project": event.project,
        "goal_id": event.goal_id,
        "agent": event.agent,
        "mode": event.mode.value,
        "source": event.source,
        "turn": event.turn,
        "tool": event.call.name if event.call else None,
        "arguments": event.call.arguments if event.call else None,
        "effect": event.spec.effect.value if event.spec else None,
        "result": event.result.model_dump(mode="json") if event.result else None,
        "prompt": event.prompt or None,
    }


def parse_answer(answer: bytes) -> HookDecision:
    """An executable's answer. Raises ValueError for one that makes no sense."""
    if len(answer) > MAX_ANSWER_BYTES:
        raise ValueError("the answer is too long")
    data = json.loads(answer)
    if not isinstance(data, dict) or "decision" not in data:
        raise ValueError("the answer is no JSON object with a decision")
    return HookDecision(
        action=HookAction(data["decision"]),
        rule=str(data.get("rule", "")),
        reason=str(data.get("reason", "")),
        arguments=data.get("arguments"),
        output=data.get("output"),
        context=str(data.get("context", "")),
        tainted=data.get("tainted") is True,
    )
