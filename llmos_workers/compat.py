"""What has to be put right in the libraries below us, each bound to the versions that need it."""

from __future__ import annotations

import logging
from queue import Empty
from typing import Any

logger = logging.getLogger(__name__)

RECONNECT_CRASH_VERSIONS = frozenset({(5, 7, 0)})
"""celery releases whose worker dies when Redis goes away while a late-acknowledged task runs."""


FOREIGN_BYTES_VERSIONS = frozenset({(5, 7)})
"""kombu releases whose consumer ends when a list holds something that is no message."""


class NotAMessage(Empty, ValueError):
    """What a Redis list gave is no message; for kombu as if the list had been empty."""


def apply() -> bool:
    """Apply what the installed libraries need; whether anything was. May be called again."""
    import celery
    import kombu

    applied = False
    if tuple(celery.VERSION[:3]) in RECONNECT_CRASH_VERSIONS:
        _skip_closing_collected_connections()
        applied = True
    if tuple(kombu.VERSION[:2]) in FOREIGN_BYTES_VERSIONS:
        _drop_what_is_no_message()
        applied = True
    return applied


def _drop_what_is_no_message() -> None:
    """kombu parses what BRPOP gave before any handler for bad messages is in place.

    Whoever can push into a list could end one worker with each push. Such bytes are dropped
    and logged instead, as Celery does with messages whose body it cannot decode.
    """
    from kombu.transport import redis

    transport: Any = redis
    parse, deliver = transport.loads, transport.Transport._deliver
    if getattr(parse, "llmos_shim", False):
        return

    def loads(text: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return parse(text, *args, **kwargs)
        except ValueError as error:
            logger.critical("dropped %d bytes that are no message: %s", len(text), error)
            raise NotAMessage from error

    def deliver_message(self: Any, message: Any, queue: str) -> Any:
        if not isinstance(message, dict):
            logger.critical("dropped a %s from %s: no message", type(message).__name__, queue)
            raise NotAMessage
        return deliver(self, message, queue)

    loads.llmos_shim = True  # type: ignore[attr-defined]
    transport.loads = loads
    transport.Transport._deliver = deliver_message


def _skip_closing_collected_connections() -> None:
    """celery 5.7.0 collects the broken connection and then closes it through ignore_errors.

    ignore_errors asks the connection for its exception classes, which needs the transport that
    collecting has just dropped: AttributeError, and the worker ends. Nothing is left to close.
    """
    from celery.worker.consumer import consumer as module

    consumer: Any = module
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
