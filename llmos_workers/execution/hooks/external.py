"""The user's own hooks: a Python class by import path, or an executable that speaks JSON.

A Python hook is named ``package.module:Class`` and derives from Hook. An executable is named by
its path; for each event it gets one JSON object on stdin and answers with one on stdout:
``{"decision": "allow" | "deny" | "ask" | "modify" | "inject", "reason": "...", "rule": "...",
"arguments": {...}, "output": "...", "context": "..."}``. Anything else, an exit code other than
0 or no answer within TIMEOUT_S is a denial.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmos_workers.execution.hooks.base import (
    Hook,
    HookAction,
    HookDecision,
    HookEvent,
    deny,
)

logger = logging.getLogger(__name__)

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 1_000_000
_PASSED_ENV = ("PATH", "HOME", "LANG", "TMPDIR")


def load_hook(where: str, *, timeout_s: float = TIMEOUT_S) -> Hook:
    """The hook named in the configuration; one that denies everything when it cannot be had."""
    try:
        if ":" in where and "/" not in where:
            return TimedHook(_import(where), timeout_s)
        path = Path(where).expanduser()
        if not (path.is_file() and os.access(path, os.X_OK)):
            return BrokenHook(where, "it is no executable file")
        return ExecutableHook(path.absolute(), timeout_s)
    # A user's module may raise anything when imported; without its check nothing may run.
    except Exception as error:
        logger.exception("hook %s cannot be loaded; all tool calls are denied", where)
        return BrokenHook(where, f"{type(error).__name__} when it was loaded")


def _import(where: str) -> Hook:
    module, _, attribute = where.partition(":")
    made = getattr(importlib.import_module(module), attribute)()
    if not isinstance(made, Hook):
        raise TypeError(f"{where} is not derived from llmos_workers.execution.hooks.base.Hook")
    return made


class BrokenHook(Hook):
    """Stands for a hook that should be there and is not: denies every call."""

    def __init__(self, where: str, fault: str) -> None:
        self.name, self._fault = where, fault
        logger.error("hook %s cannot be used (%s): every tool call is denied", where, fault)

    def pre_tool(self, event: HookEvent) -> HookDecision:
        """Deny."""
        del event
        return deny(
            f"hook:{self.name}",
            f"the configured hook {self.name} cannot be used ({self._fault}), "
            "so every call is denied",
        )


class TimedHook(Hook):
    """Runs another hook with a time limit. A thread that hangs is left behind, not waited for."""

    def __init__(self, inner: Hook, timeout_s: float) -> None:
        self._inner, self._timeout_s = inner, timeout_s
        self.name = inner.name or type(inner).__name__

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

    def __init__(self, path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self.name, self._path, self._timeout_s = path.name, path, timeout_s

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
            [str(self._path)],
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
    )
