"""Where spans go: OTLP over HTTP, cleaned of secrets. Needs the extra ``llmos-workers[otel]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmos_workers.contracts.errors import ConfigError
from llmos_workers.kernel.redact import redact

try:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    from opentelemetry.trace import Status
except ImportError as missing:
    raise ConfigError(
        "telemetry.enabled is set, but OpenTelemetry's SDK is not installed.",
        fix="pip install 'llmos-workers[otel]', or set telemetry.enabled to false.",
    ) from missing

if TYPE_CHECKING:
    from llmos_workers.config_telemetry import TelemetryConfig

PATH = "/v1/traces"
EXPORT_SECS = 3.0
"""How long one request to the collector may take, and so how long a short-lived program waits at
most for one that is away."""


class CleanExporter(SpanExporter):
    """Another exporter's, with every text of a span passed through the detector of secrets first:
    other libraries' spans go through it, too.
    """

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """As the inner one's."""
        return self._inner.export([_clean(span) for span in spans])

    def shutdown(self) -> None:
        """As the inner one's."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """As the inner one's."""
        return self._inner.force_flush(timeout_millis)


def provider_for(config: TelemetryConfig, service: str) -> trace.TracerProvider:
    """The process's own provider where it has one; else a new one, which becomes the process's:
    instrumentation of other libraries joins. Names of services may come from OTEL_SERVICE_NAME.
    """
    there = trace.get_tracer_provider()
    if isinstance(there, TracerProvider):
        return there
    endpoint = config.endpoint and config.endpoint.rstrip("/") + PATH
    made = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(config.sample_ratio)),
        resource=Resource.create({"service.namespace": "llmos"}).merge(_named(service)),
    )
    exporter = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_SECS)
    made.add_span_processor(BatchSpanProcessor(CleanExporter(exporter)))
    trace.set_tracer_provider(made)
    return made


def _named(service: str) -> Resource:
    """Our name for the service, unless the environment has one (OTEL_SERVICE_NAME)."""
    told = Resource.create().attributes.get("service.name", "")
    unnamed = not told or str(told).startswith("unknown_service")
    return Resource({"service.name": service} if unnamed else {})


def _clean(span: ReadableSpan) -> ReadableSpan:
    status = Status(span.status.status_code, _text(span.status.description))
    events = [Event(redact(e.name), _values(e.attributes), e.timestamp) for e in span.events]
    return ReadableSpan(
        name=redact(span.name),
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=_values(span.attributes),
        events=events,
        links=span.links,
        kind=span.kind,
        status=status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _values(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: _text(value) for name, value in (attributes or {}).items()}


def _text(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, tuple | list):
        return type(value)(_text(item) for item in value)
    return value
