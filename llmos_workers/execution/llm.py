"""The way to the model: every call reserved before it, settled after it, stopped when asked.

One attempt is one reservation: reserve at the upper bound, mark it sent right before the
socket write, call, then settle to the real usage together with the journal entry. An attempt
that got no answer is released (nothing was sent), settled at nothing (the endpoint refused)
or in doubt (charged at its bound until evidence comes).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from llmos_workers.config import SDKConfig
from llmos_workers.contracts.errors import (
    Cancelled,
    DeadlineExceeded,
    LLMOSError,
    ModelError,
    ModelTransient,
    ModelUnauthorized,
    RateLimited,
)
from llmos_workers.contracts.outcome import Usage
from llmos_workers.execution.llm_admission import Admission, Admitted
from llmos_workers.execution.llm_contracts import (
    CallContext,
    ModelRequest,
    ModelResponse,
    journal_entry,
    read_journal_entry,
)
from llmos_workers.execution.spans import traced_model
from llmos_workers.kernel import telemetry
from llmos_workers.kernel.clock import Clock
from llmos_workers.kernel.economy import TokenEconomy
from llmos_workers.kernel.rates import ModelRates

if TYPE_CHECKING:
    import anthropic
    import httpx2
    from anthropic.types import Message

__all__ = [
    "CallContext",
    "ModelGateway",
    "ModelRequest",
    "ModelResponse",
    "journal_entry",
    "read_journal_entry",
]

logger = logging.getLogger(__name__)

ANTHROPIC_URL = "https://api.anthropic.com"
NO_KEY = "no-key-needed"
"""Sent to an own endpoint when no key is configured; such endpoints ignore it."""

MAX_UNSTREAMED_TOKENS = 16_000
"""Longer answers are streamed whatever the configuration says: they outlast idle timeouts."""

CONNECT_SECONDS = 10.0
FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.5, 8.0
PAUSE_SLICE_SECONDS = 0.25
CHECK_SECONDS = 0.05
"""Cancel flag and deadline are looked at between stream events, but not more often."""


class ModelGateway:
    """Calls the model. One per process, shared by its threads."""

    def __init__(
        self,
        config: SDKConfig,
        economy: TokenEconomy,
        clock: Clock,
        *,
        rates: ModelRates | None = None,
        on_breach: str = "fail",
        http_client: httpx2.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._config = config
        self._economy = economy
        self._clock = clock
        self._prices = economy.prices
        self._admission = Admission(economy, rates, on_breach=on_breach)
        self._http_client = http_client
        self._sleep = sleep
        self._client: anthropic.Anthropic | None = None
        self._making = threading.Lock()
        self._local = threading.local()

    def complete(self, request: ModelRequest, ctx: CallContext) -> ModelResponse:
        """One message of the model, paid and journaled.

        Short faults are tried again, at most ``sdk.max_attempts`` times in all. Raises
        BudgetExceeded, UnknownModel, ModelUnauthorized, ModelRefusedRequest, RateLimited,
        Overloaded, ModelTransient, Cancelled, DeadlineExceeded, LeaseLost, BrokerUnavailable.
        """
        client = self._connect()
        attempt = 1
        while True:
            self._check(ctx)
            try:
                return self._attempt(client, request, ctx)
            except (RateLimited, ModelTransient) as error:
                # A deadline or a cancel that cut the call short is the better reason.
                self._check(ctx)
                delay = self._backoff(error, attempt)
                if attempt >= self._config.max_attempts or delay is None:
                    raise
                logger.info("model call failed, attempt %d: %s", attempt, error)
                ctx.on_event(
                    "model_retry",
                    {"attempt": attempt, "wait_s": round(delay, 2), "why": str(error)},
                )
                self._pause(delay, ctx)
                attempt += 1

    def close(self) -> None:
        """Close the connections."""
        with self._making:
            if self._client is not None:
                self._client.close()
                self._client = None

    # --- one attempt ---------------------------------------------------------------------

    @traced_model
    def _attempt(
        self, client: anthropic.Anthropic, request: ModelRequest, ctx: CallContext
    ) -> ModelResponse:
        body = request.body(self._prices.resolve(request.model))
        admitted = self._admission.admit(request, body, ctx)
        sent = _Sent(self._economy, admitted.reservation)

        def begin() -> None:
            sent.begin(lambda: self._check(ctx))

        self._local.mark = begin
        try:
            message = self._call(client, body, ctx)
        except Exception as error:  # noqa: BLE001 - all of them end in _fail, which raises
            self._fail(error, sent, admitted)
        except BaseException:
            # The process is being ended: what was sent may have been worked on.
            sent.give_up()
            raise
        finally:
            self._local.mark = None
        sent.mark()
        usage = usage_of(message.usage)
        self._admission.answered(admitted, usage)
        response = ModelResponse(
            content=[block.to_dict(warnings=False) for block in message.content],
            stop_reason=str(message.stop_reason),
            usage=usage,
            cost_micro=self._prices.cost(body["model"], usage),
            model=message.model,
            request_id=getattr(message, "_request_id", None) or "",
            container=message.container.id if message.container is not None else "",
        )
        entry = None
        if ctx.lease is not None:
            entry = journal_entry(response, request.turn, request.journal_kind)
        cost = self._economy.settle(sent.reservation, usage=usage, journal=entry, lease=ctx.lease)
        return (
            response
            if cost == response.cost_micro
            else response.model_copy(update={"cost_micro": cost})
        )

    def _fail(self, error: Exception, sent: _Sent, admitted: Admitted) -> NoReturn:
        """Close the reservation of a failed attempt and raise what the failure means."""
        from llmos_workers.execution.llm_errors import CALL_FAULTS, Fate, classify

        if sent.fault is not None:
            # Nothing left. Where it could not be marked, upkeep will see what it is now.
            if sent.marked:
                sent.settle_free()
            raise sent.fault
        if not isinstance(error, CALL_FAULTS):
            sent.give_up()
            raise error
        failure = classify(error, sent=sent.marked)
        if failure.fate is Fate.FREE:
            sent.settle_free()
        elif failure.fate is Fate.IN_DOUBT:
            sent.give_up()
        else:
            sent.take_back()
        if isinstance(failure.error, RateLimited):
            self._admission.refused(admitted.model, failure.error)
        if failure.fate is not Fate.IN_DOUBT:
            self._admission.give_back(admitted)
        raise failure.error from error

    # --- the call ------------------------------------------------------------------------

    def _call(self, client: anthropic.Anthropic, body: dict[str, Any], ctx: CallContext) -> Message:
        """Call once; the message is whole when this returns."""
        end = self._clock.steady() + self._config.timeout_secs
        if self._config.enable_streaming or body["max_tokens"] > MAX_UNSTREAMED_TOKENS:
            message = self._streamed(client, body, ctx, end)
        else:
            timeout = self._timeout(self._config.timeout_secs, ctx)
            message = client.messages.create(**body, timeout=timeout)
        if message is None or message.stop_reason is None:
            # The SDK raises nothing when a stream ends early.
            raise ModelTransient("the model's answer broke off: it ended without a stop reason.")
        return message

    def _streamed(
        self, client: anthropic.Anthropic, body: dict[str, Any], ctx: CallContext, end: float
    ) -> Message | None:
        import httpx2
        from anthropic import APIError

        from llmos_workers.execution.llm_stream import StreamWatch

        def why_stop() -> LLMOSError | None:
            return self._why_stop(ctx, end)

        timeout = self._timeout(self._config.stall_secs, ctx)
        message: Message | None = None
        with client.messages.stream(**body, timeout=timeout) as stream:
            watch = StreamWatch(stream.response, why_stop)
            try:
                with watch:
                    checked = self._clock.steady()
                    for event in stream:
                        if (
                            event.type == "content_block_stop"
                            and event.content_block.type == "text"
                        ):
                            ctx.on_event("text", {"text": event.content_block.text})
                        message = stream.current_message_snapshot
                        if self._clock.steady() - checked >= CHECK_SECONDS:
                            checked = self._clock.steady()
                            if reason := why_stop():
                                raise reason
            except (httpx2.HTTPError, APIError):
                if watch.reason is not None:
                    raise watch.reason from None
                raise
            if watch.reason is not None:
                raise watch.reason
            if message is not None:
                message._request_id = stream.request_id
        return message

    def _why_stop(self, ctx: CallContext, end: float) -> LLMOSError | None:
        if ctx.cancelled():
            return Cancelled("the goal was cancelled during a model call.")
        if ctx.deadline is not None and self._clock.now() >= ctx.deadline:
            return DeadlineExceeded("the goal's deadline passed during a model call.")
        if self._clock.steady() >= end:
            return ModelTransient(
                f"the model call took longer than {self._config.timeout_secs:g} s.",
                fix="Raise sdk.timeout_secs if this model needs longer.",
            )
        return None

    def _check(self, ctx: CallContext) -> None:
        if reason := self._why_stop(ctx, self._clock.steady() + 1):
            raise reason

    def _timeout(self, read: float, ctx: CallContext) -> httpx2.Timeout:
        import httpx2

        if ctx.deadline is not None:
            # A little later than the deadline, which is then the reason that is seen.
            read = min(read, max(0.0, ctx.deadline - self._clock.now()) + 0.05)
        return httpx2.Timeout(read, connect=min(read, CONNECT_SECONDS))

    # --- trying again --------------------------------------------------------------------

    def _backoff(self, error: ModelError, attempt: int) -> float | None:
        """Seconds before the next attempt; None when the wait is the queue's business."""
        asked = error.retry_after if isinstance(error, RateLimited) else None
        if asked is not None:
            return asked if asked <= MAX_BACKOFF_SECONDS else None
        delay = min(MAX_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0 ** (attempt - 1))
        return delay * random.uniform(0.75, 1.0)

    def _pause(self, seconds: float, ctx: CallContext) -> None:
        while seconds > 0:
            self._check(ctx)
            self._sleep(min(seconds, PAUSE_SLICE_SECONDS))
            seconds -= PAUSE_SLICE_SECONDS

    # --- the client ----------------------------------------------------------------------

    def _connect(self) -> anthropic.Anthropic:
        """The shared client, made at the first call so that no fork inherits it."""
        with self._making:
            if self._client is None:
                self._client = self._make_client()
            return self._client

    def _make_client(self) -> anthropic.Anthropic:
        key = self._config.api_key.get_secret_value() if self._config.api_key else ""
        if not key and not self._config.base_url:
            raise ModelUnauthorized(
                "no key and no endpoint for a model is configured.",
                fix="Set ANTHROPIC_API_KEY, or sdk.base_url to an endpoint that speaks the "
                "Messages API; 'llmos up' without either offers the scripted rehearsal model.",
            )
        import anthropic

        http = self._http_client or anthropic.DefaultHttpxClient()
        hooks = http.event_hooks
        http.event_hooks = {**hooks, "request": [*hooks.get("request", []), self._on_request]}
        return anthropic.Anthropic(
            api_key=key or NO_KEY,
            base_url=self._config.base_url or ANTHROPIC_URL,
            max_retries=0,
            http_client=http,
            open_telemetry=telemetry.of_sdk(),
        )

    def _on_request(self, request: httpx2.Request) -> None:
        """Ask the transport to tell when it begins to write this request."""
        mark = getattr(self._local, "mark", None)

        def trace(event: str, _info: dict[str, Any]) -> None:
            if mark is not None and event.endswith("send_request_headers.started"):
                mark()

        request.extensions = {**request.extensions, "trace": trace}


class _Sent:
    """One reservation: whether its request was written, and its ends without an answer."""

    def __init__(self, economy: TokenEconomy, reservation: str) -> None:
        self.reservation = reservation
        self.marked = False
        self.fault: Exception | None = None
        """Why the request was not written."""
        self._economy = economy

    def begin(self, check: Callable[[], None]) -> None:
        """Mark it sent, and ask once more whether it may be written: a process that was stopped
        right here and is woken would buy an answer that its goal's next run has bought.
        """
        self.mark()
        try:
            check()
        except Exception as error:
            self.fault = error
            raise

    def mark(self) -> None:
        """Mark it sent, once."""
        if self.marked:
            return
        try:
            self._economy.mark_sent(self.reservation)
        except Exception as error:
            # The SDK would wrap it in a connection error of its own.
            self.fault = error
            raise
        self.marked = True

    def take_back(self) -> None:
        """Nothing was charged for sure."""
        self._economy.release(self.reservation)

    def settle_free(self) -> None:
        """The endpoint answered that it did nothing: charged at nothing."""
        self.mark()
        self._economy.settle(self.reservation, usage=Usage())

    def give_up(self) -> None:
        """No answer: in doubt when it was sent, else released."""
        if self.marked:
            self._economy.in_doubt(self.reservation)
        else:
            self._economy.release(self.reservation)


def usage_of(reported: Any) -> Usage:
    """The API's usage as ours. Fields that an endpoint leaves out count as 0."""
    created = reported.cache_creation_input_tokens or 0
    detail = reported.cache_creation
    hourly = min(created, (detail.ephemeral_1h_input_tokens or 0) if detail is not None else 0)
    return Usage(
        input_tokens=reported.input_tokens or 0,
        output_tokens=reported.output_tokens or 0,
        cache_write_5m_tokens=created - hourly,
        cache_write_1h_tokens=hourly,
        cache_read_tokens=reported.cache_read_input_tokens or 0,
    )
