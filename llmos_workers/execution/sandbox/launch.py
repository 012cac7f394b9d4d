"""One order to a launcher: passed on, watched, and its report read."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

from llmos_workers.contracts.errors import SandboxUnavailable
from llmos_workers.execution.sandbox.base import Network, SandboxResult
from llmos_workers.execution.sandbox.process import Stream, drain
from llmos_workers.execution.sandbox.zygote import ZYGOTE

GRACE_S = 10.0
"""How long the launcher may take to end a tree of processes before it is killed itself."""


def carry_out(
    order: list[tuple[str, str]],
    kept: int,
    cancelled: Callable[[], bool],
    network: Network | None = None,
) -> SandboxResult:
    """Have one command run, read until its end; ``kept`` bytes of its output are kept.

    Raises SandboxUnavailable when it could not be confined, or when its launcher was killed.
    """
    body = "\0".join(f"{key}={value}" for key, value in order).encode("utf-8", "surrogateescape")
    with ZYGOTE.launcher(two_way=network is not None) as launcher:
        output = Stream(launcher.output.fileno(), kept)
        report = Stream(launcher.report.fileno(), 65_536)
        control = launcher.control.fileno()
        reason = ""
        try:
            _write_all(control, b"%08d" % len(body) + body)
            if network is not None and (listener := _listener(control)) is not None:
                network.serve(listener)
            until = time.monotonic() + float(dict(order)["timeout"]) + GRACE_S
            reason = drain([output, report], until=until, cancelled=cancelled)
            if reason:
                _write_all(control, b"c")
                drain([output, report], until=time.monotonic() + GRACE_S, cancelled=_never)
        except BrokenPipeError:
            # The launcher ended early; its report, or the lack of one, says why.
            drain([output, report], until=time.monotonic() + GRACE_S, cancelled=_never)
        finally:
            # Whatever went wrong here: at the end of its stdin the launcher ends the tree.
            launcher.control.close()
            if not launcher.ended(GRACE_S):
                launcher.kill()
        return _result(output, report, reason)


def _listener(control: int) -> socket.socket | None:
    """The socket on which the command's network ends; None when there is none: its report says
    why.
    """
    with socket.socket(fileno=os.dup(control)) as channel:
        channel.settimeout(GRACE_S)
        try:
            _, found, _, _ = socket.recv_fds(channel, 1, 1, socket.MSG_CMSG_CLOEXEC)
        except TimeoutError:
            return None
        finally:
            channel.settimeout(None)  # the descriptors share it
    return socket.socket(fileno=found[0]) if found else None


def _never() -> bool:
    return False


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _result(output: Stream, report: Stream, reason: str) -> SandboxResult:
    """Read the launcher's report. Raises SandboxUnavailable when the command never ran."""
    items = dict(item.partition("=")[::2] for item in report.text.split("\0"))
    if items.get("fault"):
        raise SandboxUnavailable(
            f"the command could not be confined: {items['fault']}.", fix="See llmos doctor."
        )
    if "exit" not in items and not reason:
        raise SandboxUnavailable(
            f"the sandbox's launcher failed: {report.text[-500:].strip() or 'no report'}.",
            fix="See llmos doctor.",
        )
    code = int(items.get("exit", "-9"))
    killed = reason if reason == "output" else items.get("killed") or reason or None
    by_signal = {-24: "cpu", -25: "file_size"}
    return SandboxResult(
        exit_code=code,
        output=output.text,
        timed_out=killed == "timeout",
        cancelled=killed == "cancelled",
        killed_for=killed or by_signal.get(code),
        output_bytes=output.seen,
        truncated=output.cut,
    )
