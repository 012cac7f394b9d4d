"""What keeps a command quick to start."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

OTEL = "opentelemetry.sdk.metrics"


@contextmanager
def lean_redis() -> Iterator[None]:
    """Keep redis from loading OpenTelemetry's SDK, which it does wherever that is installed, for
    figures that this process does not have: 0.1 s for each command. Who needs the SDK itself
    imports it as ever.
    """
    if OTEL in sys.modules or "redis" in sys.modules:
        yield
        return
    sys.modules[OTEL] = None  # type: ignore[assignment]  # how Python says: not to be imported
    try:
        yield
    finally:
        del sys.modules[OTEL]
