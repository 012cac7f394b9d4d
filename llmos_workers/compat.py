"""What has to be put right in the libraries below us, each bound to the versions that need it."""

from __future__ import annotations

import logging
from typing import Any

logger = logging.getLogger(__name__)

RECONNECT_CRASH_VERSIONS = frozenset({(5, 7, 0)})
"""celery releases whose worker dies when Redis goes away while a late-acknowledged task runs."""


def apply() -> bool:
    """Apply what the installed celery needs; whether anything was. May be called again."""
    from celery import VERSION

    if tuple(VERSION[:3]) not in RECONNECT_CRASH_VERSIONS:
        return False
    _skip_closing_collected_connections()
    return True


def _skip_closing_collected_connections() -> None:
    """celery 5.7.0 collects the broken connection and then closes it through ignore_errors.

    ignore_errors asks the connection for its exception classes, which needs the transport that
    collecting has just dropped: AttributeError, and the worker ends. Nothing is left to close.
    """
    from celery.worker.consumer import consumer

    stock = consumer.ignore_errors
    if getattr(stock, "llmos_shim", False):
        return

    def ignore_errors(connection: Any, fun: Any = None, *args: Any, **kwargs: Any) -> Any:
        # Looked up without triggering Connection.transport, which would build a new one.
        if getattr(connection, "_transport", connection) is None:
            return None
        return stock(connection, fun, *args, **kwargs)

    ignore_errors.llmos_shim = True  # type: ignore[attr-defined]
    consumer.ignore_errors = ignore_errors
    logger.debug("applied the reconnect fix for this celery version")
