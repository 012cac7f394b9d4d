"""One HTTP request at a time: read, check, answer, count, charge, send."""

from __future__ import annotations

import hmac
import json
import secrets
import select
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from llmos_workers.contracts.errors import UnknownModel
from llmos_workers.contracts.outcome import Usage
from llmos_workers.rehearsal.brain import Reply, goal_of
from llmos_workers.rehearsal.code_execution import container_of
from llmos_workers.rehearsal.faults import AT_EVENT, Fault
from llmos_workers.rehearsal.faults import HEADER as FAULT_HEADER
from llmos_workers.rehearsal.log import ServedRequest
from llmos_workers.rehearsal.protocol import (
    API_VERSIONS,
    ApiFault,
    check_request,
    count_input,
    count_output,
    fit_output,
    stream_events,
    usage_body,
)

if TYPE_CHECKING:
    from llmos_workers.rehearsal.server import RehearsalServer

SERVER_NAME = "llmos-rehearsal (scripted, not an LLM)"
ABOUT = (
    "This is a scripted rehearsal server, not a language model: it answers known job families "
    "from data files, counts tokens by a fixed rule and charges nobody."
)
SKILL_HEADER = "x-llmos-rehearsal-skill"
"""Response header: the family that answered, ``none`` when no skill fits."""

MAX_BODY_BYTES = 32 * 1024 * 1024
POLL_SECONDS = 0.02
"""How often a held or stalled response looks whether it may go on or the client left."""


class HTTPServer(ThreadingHTTPServer):
    """A server whose requests know whose they are."""

    daemon_threads = True
    request_queue_size = 128
    owner: RehearsalServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is killed resets its connection: no news, and no traceback."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Dropped(Exception):
    """The connection is to be closed as it is, without another byte."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: HTTPServer
    request_id = ""
    asked_at = 0.0

    # Small SSE events must not wait for the client's delayed ACKs.
    disable_nagle_algorithm = True

    def version_string(self) -> str:
        """The Server header."""
        return SERVER_NAME

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - signature of the base
        """Say nothing on stderr; the served log has it all."""

    @property
    def owner(self) -> RehearsalServer:
        """The server it answers for."""
        return self.server.owner

    def do_GET(self) -> None:
        """Health."""
        if self.path.split("?")[0] == "/health":
            names = [family.name for family in self.owner.families()]
            self._json(200, {"status": "ok", "scripted": True, "about": ABOUT, "families": names})
        else:
            self._json(404, ApiFault(404, f"no such path: {self.path}").body(self._new_id()))

    def do_POST(self) -> None:
        """Messages and token counts."""
        self.request_id = self._new_id()
        try:
            body = self._read_body()
            self.asked_at = time.time()
            path = self.path.split("?")[0]
            if path == "/v1/messages":
                self._messages(body)
            elif path == "/v1/messages/count_tokens":
                self._authorize()
                self._json(200, {"input_tokens": count_input(check_request(body, counting=True))})
            else:
                raise ApiFault(404, f"no such path: {self.path}")
        except ApiFault as fault:
            self._refuse(fault)
        except (_Dropped, ConnectionError):
            self.close_connection = True

    def _new_id(self) -> str:
        return f"req_rehearsal_{secrets.token_hex(12)}"

    def _read_body(self) -> Any:
        length = int(self.headers.get("content-length") or 0)
        if length > MAX_BODY_BYTES:
            self.close_connection = True
            raise ApiFault(413, "Request exceeds the maximum size")
        try:
            return json.loads(self.rfile.read(length))
        except ValueError:
            raise ApiFault(400, "request body is not valid JSON") from None

    def _authorize(self) -> None:
        if self.headers.get("anthropic-version") not in API_VERSIONS:
            raise ApiFault(400, "anthropic-version: header is required and must be a known version")
        wanted = self.owner.api_key
        bearer = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        given = bearer or self.headers.get("x-api-key") or ""
        if wanted is not None and not hmac.compare_digest(given.encode(), wanted.encode()):
            raise ApiFault(401, "invalid x-api-key or bearer token")

    def _messages(self, body: Any) -> None:
        """Serve one call: check, answer, count, charge, send."""
        self._authorize()
        request = check_request(body)
        user_id = str((request.get("metadata") or {}).get("user_id") or "")
        fault = self.owner.faults.pick(self.headers.get(FAULT_HEADER) or "", user_id)
        if fault is not None and (error := fault.error()) is not None:
            self._record(request, status=error.status, fault=fault)
            raise error
        self._check_model(request["model"])
        reply = self.owner.brain.reply(request)
        message = self._message(request, reply, fault)
        if request.get("stream"):
            self._stream(request, reply, message, fault)
        else:
            self._whole(request, reply, message, fault)

    def _message(
        self, request: dict[str, Any], reply: Reply, fault: Fault | None
    ) -> dict[str, Any]:
        content, cut = fit_output(reply.content, request["max_tokens"])
        stop_reason = "max_tokens" if cut else reply.stop_reason
        if fault is not None and fault.kind == "stop_reason":
            stop_reason = fault.argument
            if stop_reason != "tool_use":
                content = [block for block in content if block["type"] == "text"]
        with self.owner.cache_lock:
            prompt = self.owner.cache.count(request, time.time())
        return {
            "id": f"msg_rehearsal_{secrets.token_hex(12)}",
            "type": "message",
            "role": "assistant",
            "model": request["model"],
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "stop_details": None,
            "usage": usage_body(prompt, count_output(content)),
            **container_of(request, content),
        }

    def _check_model(self, model: Any) -> None:
        try:
            self.owner.prices.cost(str(model), Usage())
        except UnknownModel:
            raise ApiFault(404, f"model: {model}") from None

    def _whole(
        self, request: dict[str, Any], reply: Reply, message: dict[str, Any], fault: Fault | None
    ) -> None:
        """The answer as one JSON body."""
        kind = fault.kind if fault else ""
        broken = kind in ("cut", "stall", "lost", "error_event", "no_stop")
        if kind == "hold":
            self._hold(release=True)
        elif kind == "slow" and fault is not None:
            self.owner.stopping.wait(fault.number)
        self._record(request, reply, message, fault=fault, complete=not broken)
        if kind == "error_event":
            raise ApiFault(500, "rehearsal fault on request: error_event")
        if kind == "stall":
            self._hold(release=False)
        if broken:
            raise _Dropped
        self._json(200, message, family=reply.family)

    def _stream(
        self, request: dict[str, Any], reply: Reply, message: dict[str, Any], fault: Fault | None
    ) -> None:
        """The answer as server-sent events. The log entry precedes the last byte."""
        kind = fault.kind if fault else ""
        if kind == "lost":
            self._record(request, reply, message, fault=fault, complete=False)
            raise _Dropped
        self.send_response(200)
        self._headers(
            {
                "content-type": "text/event-stream; charset=utf-8",
                SKILL_HEADER: reply.family or "none",
                "transfer-encoding": "chunked",
            }
        )
        self.end_headers()
        events = list(stream_events(message))
        sent, recorded = 0, False
        try:
            for name, data in events:
                self._fault_before(fault, sent)
                if name == "message_delta":
                    if kind == "no_stop":
                        break
                    self._record(request, reply, message, fault=fault)
                    recorded = True
                self._chunk(f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n")
                sent += 1
            if not recorded:
                self._record_broken(request, reply, message, events[:sent], fault)
            self._chunk("")
        except (_Dropped, ConnectionError):
            if not recorded:
                self._record_broken(request, reply, message, events[:sent], fault)
            raise

    def _fault_before(self, fault: Fault | None, sent: int) -> None:
        """Do what the fault asks for before event number ``sent``."""
        if fault is None:
            return
        if fault.kind == "slow":
            self.owner.stopping.wait(fault.number)
        if fault.kind not in AT_EVENT or sent != int(fault.number):
            return
        if fault.kind == "cut":
            raise _Dropped
        if fault.kind == "stall":
            self._hold(release=False)
            raise _Dropped
        if fault.kind == "hold":
            self._hold(release=True)
        if fault.kind == "error_event":
            error = ApiFault(529, "Overloaded").body(self.request_id)
            self._chunk(f"event: error\ndata: {json.dumps(error)}\n\n")
            self._chunk("")
            raise _Dropped

    def _hold(self, *, release: bool) -> None:
        """Wait until released (if that may be), the server stops or the client leaves."""
        owner = self.owner
        while not owner.stopping.wait(POLL_SECONDS):
            if release and owner.faults.released.is_set():
                return
            readable, _, _ = select.select([self.connection], [], [], 0)
            # Nothing is pipelined here: readable means that the client closed.
            if readable:
                raise _Dropped
        raise _Dropped

    def _record_broken(
        self,
        request: dict[str, Any],
        reply: Reply,
        message: dict[str, Any],
        sent: list[tuple[str, dict[str, Any]]],
        fault: Fault | None,
    ) -> None:
        """Charge an answer that broke off for its prompt and for the output sent so far."""
        deltas = [data["delta"] for name, data in sent if name == "content_block_delta"]
        text = "".join(d.get("text") or d.get("partial_json") or "" for d in deltas)
        output = min(count_output([{"text": text}]), message["usage"]["output_tokens"])
        partial = {**message, "stop_reason": None}
        partial["usage"] = {**message["usage"], "output_tokens": output}
        self._record(request, reply, partial, fault=fault, complete=False)

    def _record(
        self,
        request: dict[str, Any],
        reply: Reply | None = None,
        message: dict[str, Any] | None = None,
        *,
        status: int = 200,
        fault: Fault | None = None,
        complete: bool = True,
    ) -> None:
        usage = message["usage"] if message else {}
        model = str(request["model"])
        charged = self.owner.prices.cost(model, usage_of(usage)) if usage else 0
        self.owner.log.add(
            ServedRequest(
                at=time.time(),
                request_id=self.request_id,
                model=model,
                status=status,
                stream=bool(request.get("stream")),
                family=reply.family if reply else "",
                turn=reply.turn if reply else 0,
                stop_reason=message["stop_reason"] if message else None,
                usage=usage,
                charged_micro=charged,
                complete=complete,
                fault=str(fault or ""),
                goal=goal_of(request["messages"]),
                asked_at=self.asked_at,
                messages=len(request["messages"]),
                port=self.client_address[1],
            )
        )

    def _refuse(self, fault: ApiFault) -> None:
        extra = {}
        if fault.retry_after is not None:
            extra["retry-after"] = f"{fault.retry_after:g}"
        self._json(fault.status, fault.body(self.request_id), extra=extra)

    def _json(
        self,
        status: int,
        body: dict[str, Any],
        *,
        family: str = "",
        extra: Mapping[str, str] | None = None,
    ) -> None:
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        self.send_response(status)
        headers = {"content-type": "application/json", "content-length": str(len(data))}
        self._headers(headers | {SKILL_HEADER: family or "none"} | dict(extra or {}))
        self.end_headers()
        self.wfile.write(data)

    def _headers(self, headers: Mapping[str, str]) -> None:
        self.send_header("request-id", self.request_id)
        self.send_header("x-llmos-rehearsal", "scripted; not an LLM")
        for name, value in headers.items():
            self.send_header(name, value)

    def _chunk(self, text: str) -> None:
        """One chunk of a streamed body; empty text ends the body."""
        data = text.encode("utf-8", "surrogatepass")
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()


def usage_of(body: Mapping[str, Any]) -> Usage:
    """The API's usage as a contract."""
    created = body["cache_creation"]
    return Usage(
        input_tokens=body["input_tokens"],
        output_tokens=body["output_tokens"],
        cache_write_5m_tokens=created["ephemeral_5m_input_tokens"],
        cache_write_1h_tokens=created["ephemeral_1h_input_tokens"],
        cache_read_tokens=body["cache_read_input_tokens"],
    )
