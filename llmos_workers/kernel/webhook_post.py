"""One signed HTTP request: what it says, how it is signed, how it is sent.

Sent with the standard library's plain client on purpose: no redirects, no proxies from the
environment, no cookies. Whatever the answer's body is, it is not read.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.kernel.redact import redact

EVENT = "goal.finished"
BODY_VERSION = 1
MAX_TEXT_CHARS = 20_000
LONGEST_WAIT_S = 3_600.0

DELIVERY_HEADER = "X-LLMOS-Delivery"
TIMESTAMP_HEADER = "X-LLMOS-Timestamp"
SIGNATURE_HEADER = "X-LLMOS-Signature"
ATTEMPT_HEADER = "X-LLMOS-Attempt"


@dataclass(frozen=True)
class Answer:
    """What came back: an HTTP status, or words for why there is none."""

    status: int | None
    problem: str = ""
    retry_after_s: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def unreachable(self) -> bool:
        """Whether nobody answered at all: more requests now would fare the same."""
        return self.status is None


def make_body(record: GoalRecord, delivery_id: str) -> bytes:
    """The JSON of one ended goal. Texts are without secrets this process knows."""
    outcome = record.outcome
    facts = {} if outcome is None else outcome.model_dump(mode="json", exclude={"tool_calls"})
    facts["text"] = redact(str(facts.get("text", "")))[:MAX_TEXT_CHARS]
    message = {
        "version": BODY_VERSION,
        "event": EVENT,
        "delivery_id": delivery_id,
        "goal_id": record.goal_id,
        "project": record.project,
        "status": record.state.value,
        "finished_at": record.updated_at,
        "goal": redact(record.text)[:MAX_TEXT_CHARS],
        "metadata": record.options.metadata,
        "idempotency_key": record.options.idempotency_key,
        "outcome": facts,
    }
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """``v1=`` and the HMAC-SHA256 of ``timestamp.body`` in hex."""
    signed = str(timestamp).encode() + b"." + body
    return "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def headers_for(
    secret: str, body: bytes, *, delivery_id: str, attempt: int, now: float
) -> dict[str, str]:
    """The headers of one attempt; each attempt is signed with its own time."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "llmos-webhooks/1",
        "Connection": "close",
        DELIVERY_HEADER: delivery_id,
        ATTEMPT_HEADER: str(attempt),
        TIMESTAMP_HEADER: str(int(now)),
        SIGNATURE_HEADER: sign(secret, int(now), body),
    }


def post(url: str, body: bytes, headers: dict[str, str], *, timeout_s: float) -> Answer:
    """Send it once. Never raises for what the network or the receiver does."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        return Answer(response.status, retry_after_s=_seconds(response.getheader("Retry-After")))
    except TimeoutError:
        return Answer(None, f"no answer within {timeout_s:g} s")
    except (OSError, http.client.HTTPException) as error:
        # The error's text may hold the URL, and a URL may hold a token.
        return Answer(None, type(error).__name__)
    finally:
        connection.close()


def place(url: str) -> str:
    """Scheme, host and port of a URL, for logs: path and query may hold a token."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def _seconds(text: str | None) -> float | None:
    return min(float(text), LONGEST_WAIT_S) if text and text.isdecimal() else None
