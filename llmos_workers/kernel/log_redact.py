"""What a worker logs goes out without secrets, whoever logs it."""

from __future__ import annotations

import logging

from llmos_workers.kernel.redact import redact


class RedactingFormatter(logging.Formatter):
    """Another formatter's lines, tracebacks included, without secrets."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        return redact(self._inner.format(record))


def redact_handlers(logger: logging.Logger) -> None:
    """Let every handler that a logger has write through such a formatter."""
    for handler in logger.handlers:
        if not isinstance(handler.formatter, RedactingFormatter):
            handler.setFormatter(RedactingFormatter(handler.formatter or logging.Formatter()))
