"""What a failed model call means: which error it is for us, and what became of the money."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import anthropic
import httpx2

from llmos_workers.contracts.errors import (
    ModelError,
    ModelRefusedRequest,
    ModelTransient,
    ModelUnauthorized,
    Overloaded,
    RateLimited,
    UnknownModel,
)

NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
"""Faults that happen before a byte of the request is written."""

SPEND_LIMIT = "spend_limit_reached"
MAX_SAID_CHARS = 800
KEY_FIX = "Check ANTHROPIC_API_KEY (or sdk.api_key), and that it belongs to the endpoint."


class Fate(StrEnum):
    """What became of the reservation of a failed attempt."""

    NOT_SENT = "not_sent"
    """Nothing left this machine."""
    FREE = "free"
    """The endpoint answered that it did no work."""
    IN_DOUBT = "in_doubt"
    """It may have worked, and nobody told us what that cost."""


@dataclass(frozen=True)
class Failure:
    """A failed attempt."""

    error: ModelError
    fate: Fate


CALL_FAULTS = (
    anthropic.AnthropicError,
    httpx2.HTTPError,
    httpx2.StreamError,
    ValueError,  # an answer that is no JSON
    RuntimeError,  # events in an impossible order
)
"""What the SDK raises when a call fails; everything else is a fault of ours."""


def classify(error: Exception, *, sent: bool) -> Failure:
    """Say what an exception of the SDK means. ``sent``: whether the request was written."""
    if isinstance(error, anthropic.APIStatusError):
        return _status(error)
    cause = error.__cause__ if isinstance(error, anthropic.APIConnectionError) else error
    fate = Fate.IN_DOUBT if sent and not isinstance(cause, NEVER_SENT) else Fate.NOT_SENT
    if isinstance(error, anthropic.CredentialsError):
        return Failure(ModelUnauthorized(str(error), fix=KEY_FIX), fate)
    return Failure(_transient(error, cause), fate)


def _transient(error: Exception, cause: BaseException | None) -> ModelTransient:
    if isinstance(cause, NEVER_SENT):
        return ModelTransient(
            "the model's endpoint cannot be reached.",
            fix="Check the network and sdk.base_url.",
        )
    if isinstance(cause, httpx2.TimeoutException) or isinstance(error, anthropic.APITimeoutError):
        return ModelTransient(
            "the model's endpoint went silent.",
            fix="Raise sdk.stall_secs or sdk.timeout_secs if this model needs longer.",
        )
    said = str(cause or error).strip() or type(cause or error).__name__
    return ModelTransient(f"the connection to the model broke off: {said[:MAX_SAID_CHARS]}.")


def _status(error: anthropic.APIStatusError) -> Failure:
    said = (error.api_message or error.message or "no reason given")[:MAX_SAID_CHARS]
    status = error.status_code
    if status < 400:
        # An error event in the middle of an answer: work was done before it.
        return Failure(_of_type(error.type, said), Fate.IN_DOUBT)
    if status in (408, 499) or (status >= 500 and status != 529):
        words = f"the model's endpoint failed ({status}): {said}"
        return Failure(ModelTransient(words), Fate.IN_DOUBT)
    return Failure(_refused(error, status, said), Fate.FREE)


def _refused(error: anthropic.APIStatusError, status: int, said: str) -> ModelError:
    retry_after = retry_after_of(error.response)
    if status == 429 and (error.error_code or "").endswith(SPEND_LIMIT):
        return ModelRefusedRequest(
            f"the account's spend limit is reached: {said}",
            fix="Raise the limit with the provider; waiting does not help.",
        )
    if status in (429, 529):
        kind = RateLimited if status == 429 else Overloaded
        words = "rate limit" if status == 429 else "the endpoint is overloaded"
        return kind(f"{words} ({status}): {said}", retry_after=retry_after)
    match status:
        case 401 | 403:
            return ModelUnauthorized(
                f"the endpoint refused the key ({status}): {said}", fix=KEY_FIX
            )
        case 404:
            return UnknownModel(
                f"the endpoint does not know this model or path (404): {said}",
                fix="Check sdk.model and sdk.base_url.",
            )
        case 409:
            return ModelTransient(f"the endpoint reports a conflict (409): {said}")
    return ModelRefusedRequest(f"the endpoint refused the request ({status}): {said}")


def _of_type(kind: str | None, said: str) -> ModelError:
    if kind == "overloaded_error":
        return Overloaded(f"the endpoint became overloaded during the answer: {said}")
    if kind == "rate_limit_error":
        return RateLimited(f"rate limit met during the answer: {said}")
    return ModelTransient(f"the endpoint failed during the answer: {said}")


def retry_after_of(response: httpx2.Response) -> float | None:
    """Seconds to wait, as the endpoint said; None when it said none that can be read."""
    try:
        seconds = float(response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < 86_400 else None
