"""Traces for OpenTelemetry. Off unless a process calls ``start``; then a span costs one look at a
variable, and nothing of OpenTelemetry is imported.

Spans carry ids, names, counts and kinds of errors: no goal's text, no prompt, no argument of a
call, no message of an error. A goal keeps the context of its submission (``traceparent``) in its
record, and each hop that of the one before in the message's headers, so that all that workers do
for it is one trace, also after a redelivery.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import Tracer, TracerProvider

    from llmos_workers.config_telemetry import TelemetryConfig

Value = str | bool | int | float
Kind = Literal["internal", "producer", "consumer"]

SUBMIT = "llmos.submit"
FLUSH_MILLIS = 5_000
HEADER = "traceparent"
"""Name of W3C trace context in a message's headers and a goal's record."""


class Span:
    """What is under way; with telemetry off it takes everything and keeps nothing."""

    traceparent: str | None = None
    """Its W3C trace context; None with telemetry off."""

    def set(self, facts: Mapping[str, Value | None]) -> None:
        """Add attributes; those that are None are left out."""

    def fail(self, kind: str) -> None:
        """It failed; ``kind`` names the error's class."""


class _Live(Span):
    def __init__(self, span: OtelSpan) -> None:
        self._span = span
        self.traceparent = _written(span)

    def set(self, facts: Mapping[str, Value | None]) -> None:
        self._span.set_attributes({k: v for k, v in facts.items() if v is not None})

    def fail(self, kind: str) -> None:
        from opentelemetry.trace import StatusCode

        self._span.set_attribute("error.type", kind)
        self._span.set_status(StatusCode.ERROR)


_OFF = nullcontext(Span())
_tracer: Tracer | None = None
_provider: TracerProvider | None = None
_propagate = False


def start(config: TelemetryConfig, service: str) -> None:
    """Trace what this process does from now on, where ``telemetry.enabled`` asks for it.

    A process that has a tracer provider already keeps it. Raises ConfigError without the extra.
    """
    global _tracer, _provider, _propagate  # noqa: PLW0603 - one a process, as OpenTelemetry's
    if not config.enabled or _tracer is not None:
        return
    from llmos_workers.kernel.telemetry_export import provider_for

    _provider, _propagate = provider_for(config, service), config.propagate
    _tracer = _provider.get_tracer("llmos")


def stop() -> None:
    """Send what waits, and trace nothing more in this process."""
    global _tracer, _provider
    found, _tracer, _provider = _provider, None, None
    if flush := getattr(found, "force_flush", None):
        flush(FLUSH_MILLIS)


def on() -> bool:
    """Whether this process traces."""
    return _tracer is not None


def of_sdk() -> Any:
    """The option ``open_telemetry`` of the model's SDK: its spans join ours, without contents,
    whatever its own environment variables say.
    """
    if _provider is None:
        return {"propagation": False, "traces": False}
    return {
        "propagation": _propagate,
        "tracer_provider": _provider,
        "traces": {"enabled": True, "content_mode": "metadata_only"},
    }


def span(
    name: str,
    facts: Mapping[str, Value | None] | None = None,
    *,
    kind: Kind = "internal",
    parent: str | None = None,
    calm: tuple[type[BaseException], ...] = (),
) -> AbstractContextManager[Span]:
    """What runs inside is this. ``parent``: W3C trace context of another process; None: what is
    under way in this thread. An exception makes it failed, unless it is one of ``calm``.
    """
    if _tracer is None:
        return _OFF
    return _live(_tracer, name, facts or {}, kind=kind, parent=parent, calm=calm)


@contextmanager
def _live(
    tracer: Tracer,
    name: str,
    facts: Mapping[str, Value | None],
    *,
    kind: Kind,
    parent: str | None,
    calm: tuple[type[BaseException], ...],
) -> Iterator[Span]:
    from opentelemetry.trace import SpanKind

    with tracer.start_as_current_span(
        name,
        context=_context(parent),
        kind=SpanKind[kind.upper()],
        attributes={k: v for k, v in facts.items() if v is not None},
        record_exception=False,  # its message may hold a goal's text
        set_status_on_exception=False,
    ) as found:
        live = _Live(found)
        try:
            yield live
        except calm:
            raise
        except BaseException as error:
            live.fail(type(error).__name__)
            raise


def tell(facts: Mapping[str, Value | None]) -> None:
    """Add attributes to what is under way in this thread."""
    if _tracer is not None:
        from opentelemetry.trace import get_current_span

        _Live(get_current_span()).set(facts)


def here() -> str | None:
    """W3C trace context of what is under way in this thread; None: nothing, or telemetry is off."""
    if _tracer is None:
        return None
    from opentelemetry.trace import get_current_span

    found = get_current_span()
    return _written(found) if found.get_span_context().is_valid else None


def trace_id() -> str | None:
    """Of what is under way in this thread, 32 hex digits."""
    context = here()
    return context.split("-")[1] if context else None


def submitted(traceparent: str | None, facts: Mapping[str, Value | None]) -> str | None:
    """The context that a new goal's record keeps: that of its submission, which is told here.

    ``traceparent`` is what its submitter named; where that is what is under way in this thread,
    somebody tells it already.
    """
    if _tracer is None or (traceparent is not None and traceparent == here()):
        return traceparent
    with span(SUBMIT, facts, kind="producer", parent=traceparent) as told:
        return told.traceparent


def _written(span: OtelSpan) -> str:
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def _context(traceparent: str | None) -> Context | None:
    if traceparent is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, Any] = {HEADER: traceparent}
    return TraceContextTextMapPropagator().extract(carrier)
