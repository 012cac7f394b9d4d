"""Warm runners: generated tools run in processes that are there already.

One process serves one run at a time and then the next; as many are kept as ran side by side.
"""

from __future__ import annotations

import base64
import marshal
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from llmos_workers.contracts.errors import ToolError
from llmos_workers.contracts.tools import ToolCall, ToolResult
from llmos_workers.execution.crystal.channel import Broken, Channel
from llmos_workers.execution.references import handle

THINK_S = 10.0
"""How long a tool may compute between two calls, in seconds."""
MAX_CALLS = 500
"""Most calls of one run."""
SETTLE_S = 1.0
"""How long the process of an ended run may take to be gone."""
KEPT = 8
"""Idle runners that are kept."""


class ProgramFault(ToolError):
    """A generated tool broke its rules, its limits, or down."""


@dataclass(frozen=True)
class Program:
    """A module that policy.check_source let pass, ready to be sent."""

    name: str
    """Of its function."""
    code: str
    """Marshalled, base64: a runner is the same Python as the worker."""

    @classmethod
    def of(cls, name: str, source: str) -> Program:
        """Nothing of the source runs here."""
        compiled = compile(source, f"<generated tool {name}>", "exec", dont_inherit=True)
        return cls(name, base64.b64encode(marshal.dumps(compiled)).decode())


@dataclass
class Session:
    """One run of a generated tool: it asks for calls, and is told what came of them."""

    channel: Channel
    calls: int = 0
    value: str | None = None
    """What it returned, once it has."""

    def next_call(self) -> ToolCall | None:
        """The call that it asks for; None: it has returned. Raises ProgramFault."""
        frame = self._frame()
        if "value" in frame:
            if not isinstance(frame["value"], str):
                raise ProgramFault("it returned no text.")
            self.value = frame["value"]
            return None
        call = _as_call(frame.get("call"))
        if call is None or "fault" in frame:
            raise ProgramFault(f"it failed: {str(frame.get('fault', 'no words'))[:300]}.")
        self.calls += 1
        if self.calls > MAX_CALLS:
            raise ProgramFault(f"it asks for more than {MAX_CALLS} calls.")
        return call

    def told(self, result: ToolResult) -> None:
        """What came of the call that it asked for. Raises ProgramFault."""
        facts = {
            "ok": result.ok,
            "output": result.output,
            "exit_code": result.exit_code,
            "word": handle(result.output),
        }
        self._send(facts)

    def begin(self, program: Program, arguments: Mapping[str, str | int]) -> None:
        """Start it. Raises ProgramFault."""
        order = {"code": program.code, "name": program.name, "arguments": dict(arguments)}
        self._send(order)

    def _send(self, frame: object) -> None:
        try:
            self.channel.send(frame, until=time.monotonic() + THINK_S)
        except Broken as error:
            raise ProgramFault(f"{error}.") from None

    def _frame(self) -> dict[str, Any]:
        try:
            return self.channel.receive(until=time.monotonic() + THINK_S)
        except Broken as error:
            raise ProgramFault(f"{error}.") from None


def _as_call(told: object) -> ToolCall | None:
    """What it asks for; None when that is no call."""
    if not isinstance(told, list) or len(told) != 2:
        return None
    name, arguments = told
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    return ToolCall(name=name, arguments=arguments)


@dataclass
class Runners:
    """The runners of a worker process. Thread-safe; a fork of the worker starts its own."""

    _idle: list[Channel] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        os.register_at_fork(after_in_child=self._start_anew)

    @contextmanager
    def session(self, program: Program, arguments: Mapping[str, str | int]) -> Iterator[Session]:
        """A run of a program. Its runner is used again only after a clean end.

        Raises SandboxUnavailable, ProgramFault.
        """
        channel = self._take()
        session = Session(channel)
        try:
            session.begin(program, arguments)
            yield session
        finally:
            self._put_back(channel, clean=session.value is not None)

    def close(self) -> None:
        """End all idle runners."""
        with self._lock:
            idle, self._idle = self._idle, []
        for channel in idle:
            channel.kill()

    def _take(self) -> Channel:
        """An idle runner whose last fork is gone without another word, or a new one."""
        while True:
            with self._lock:
                channel = self._idle.pop(0) if self._idle else None
            if channel is None:
                return Channel()
            try:
                if channel.used:
                    channel.settled(until=time.monotonic() + SETTLE_S)
            except Broken:
                channel.kill()
            else:
                return channel

    def _put_back(self, channel: Channel, *, clean: bool) -> None:
        if clean:
            with self._lock:
                if len(self._idle) < KEPT:
                    channel.used = True
                    self._idle.append(channel)
                    return
        channel.kill()

    def _start_anew(self) -> None:
        """In a fork of the worker: the runners are our parent's."""
        idle, self._idle, self._lock = self._idle, [], threading.Lock()
        for channel in idle:
            channel.forget()
