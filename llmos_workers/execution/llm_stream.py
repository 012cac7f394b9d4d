"""Stopping a stream that is silent: a thread that watches while the caller waits for bytes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self

import httpx2

from llmos_workers.contracts.errors import LLMOSError

WATCH_SECONDS = 0.25
"""How long a cancelled goal may wait for a silent stream to be closed."""


class StreamWatch:
    """While entered, asks ``why_stop`` now and then, and hangs up when it gives an error.

    The reader then meets a broken connection; ``reason`` says why.
    """

    def __init__(
        self, response: httpx2.Response, why_stop: Callable[[], LLMOSError | None]
    ) -> None:
        self.reason: LLMOSError | None = None
        self._response = response
        self._why_stop = why_stop
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="llm-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Joined, so that the socket is not shut after the connection went back to the pool.
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(WATCH_SECONDS):
            reason = self._why_stop()
            if reason is not None:
                self.reason = reason
                self._hang_up()
                return

    def _hang_up(self) -> None:
        stream = self._response.extensions.get("network_stream")
        raw = stream.get_extra_info("socket") if stream is not None else None
        if raw is not None:
            # Closing would not wake a reader in another thread; shutting down does.
            with contextlib.suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)
