"""Settings of logs and of traces for OpenTelemetry; a part of config.py."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from llmos_workers.contracts.base import Contract


class LoggingConfig(Contract):
    """What workers and the command line log, and how. See docs/monitoring.md."""

    format: Literal["text", "json"] = "text"
    """Lines for people, or one JSON object a line."""
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    """Least level that workers log; `llmos worker --log-level` beats it."""


class TelemetryConfig(Contract):
    """Traces for OpenTelemetry. Needs the extra ``llmos-workers[otel]``. See docs/monitoring.md."""

    enabled: bool = False
    """Whether goals are traced; off, nothing of OpenTelemetry's SDK is imported."""
    endpoint: str | None = None
    """OTLP over HTTP, without path, e.g. http://collector:4318; None: what the OTEL_EXPORTER_OTLP_*
    variables say, else http://localhost:4318."""
    sample_ratio: float = Field(default=1.0, ge=0, le=1)
    """Share of goals that are traced, where their submitter's trace does not say."""
    propagate: bool = False
    """Whether requests to the model's endpoint name the trace that they belong to (traceparent)."""

    @field_validator("endpoint")
    @classmethod
    def _callable(cls, endpoint: str | None) -> str | None:
        parts = urlsplit(endpoint or "http://x")
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.username:
            raise ValueError("must be http(s)://host[:port], without user and password")
        return endpoint
