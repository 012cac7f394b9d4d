"""The only way out of a sandbox: a proxy that serves one command and asks about each host.

It speaks HTTP and CONNECT on a socket that lies in the command's own network namespace; nothing
else is there. A host passes when the agent was granted it. Its name is resolved once, here, and
the connection goes to the very address that was checked. Every decision is written down before
anything is connected.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from llmos_workers.contracts.errors import LLMOSError, ToolDenied, ToolError
from llmos_workers.execution.net.address import allowed_by, is_number
from llmos_workers.execution.net.reach import WebEdge, public_addresses, reach
from llmos_workers.execution.net.request import (
    MAX_HEAD,
    ProxyRequest,
    hello_length,
    read_request,
    server_name,
)
from llmos_workers.kernel.clock import Clock, SystemClock
from llmos_workers.kernel.redact import redact

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 32
"""At once, of one command."""
HEAD_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 120.0
_CHUNK = 65_536
_LABEL_CHARS = 24


@dataclass(frozen=True)
class EgressDecision:
    """One decision about a connection. Holds nothing that a command could hide its words in."""

    allowed: bool
    rule: str
    """``egress:...`` or ``web:...``."""
    host: str = ""
    """The entry of the list that let it pass, else the last two labels of what was asked for."""


def _nothing(_decision: EgressDecision) -> None:
    return


def _nobody(_host: str) -> None:
    return


@dataclass(frozen=True)
class Egress:
    """What the commands of one run may reach. ``hosts``: these and what is below them."""

    hosts: tuple[str, ...]
    record: Callable[[EgressDecision], object] = _nothing
    """Writes a decision down; what it raises refuses the connection."""
    max_bytes: int = 100 << 20
    """Of one command, both ways together."""
    edge: WebEdge = field(default_factory=WebEdge)
    clock: Clock = field(default_factory=SystemClock)
    withheld: str = ""
    """Why nothing may be reached after all; "" while it may."""
    goal_id: str = ""
    """For the log."""
    on_open: Callable[[str], None] = _nobody
    """Told which host is about to be reached."""

    def session(self) -> EgressSession:
        """The proxy of one command."""
        return EgressSession(self)


class EgressSession:
    """One command's proxy: from ``serve`` to ``close``."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        self._lock = threading.Lock()
        self._live: set[socket.socket] = set()
        self._left = egress.max_bytes
        self._closed = False
        self._threads: list[threading.Thread] = []
        self.opened: tuple[str, ...] = ()
        """Hosts that were connected to."""

    def serve(self, listener: socket.socket) -> None:
        """Answer whoever connects to ``listener``, in threads, until ``close``."""
        self._keep(listener)
        self._start(self._accept, listener)

    def close(self) -> None:
        """Hang up on everybody."""
        with self._lock:
            self._closed = True
            live, self._live = self._live, set()
        for connected in live:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(HEAD_TIMEOUT_S)
        for connected in live:
            connected.close()

    def _start(self, work: Callable[[socket.socket], None], connected: socket.socket) -> None:
        thread = threading.Thread(target=work, args=(connected,), daemon=True, name="egress")
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        thread.start()

    def _keep(self, connected: socket.socket) -> bool:
        """Have ``close`` hang up on it; False: it is closed already."""
        with self._lock:
            if self._closed:
                connected.close()
                return False
            self._live.add(connected)
            return True

    def _drop(self, connected: socket.socket) -> None:
        with self._lock:
            self._live.discard(connected)
        connected.close()

    def _accept(self, listener: socket.socket) -> None:
        while not self._closed:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if len(self._live) > 2 * MAX_CONNECTIONS:
                client.close()
            elif self._keep(client):
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        upstream: socket.socket | None = None
        host = ""
        try:
            client.settimeout(HEAD_TIMEOUT_S)
            head, rest = _read_head(client)
            request = read_request(head)
            host = request.target.host
            upstream = self._open(request)
            if not self._keep(upstream):
                return
            if request.tunnel:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                rest = self._hello(client, rest, request)
                self._send(upstream, rest)
                self._relay(client, upstream)
            else:
                self._send(upstream, request.head + rest[: request.body])
                self._relay(client, upstream, body=max(0, request.body - len(rest)))
        except ToolDenied as denied:
            self._refuse(client, 403, denied.message, denied.rule)
            self._egress.record(EgressDecision(False, denied.rule, short_host(host)))
        except LLMOSError as error:
            self._refuse(client, 502, error.message, "")
        except OSError:
            pass  # one of the two went away
        # A fault in here ends this connection, unserved; the others go on.
        except Exception:
            logger.exception("the egress proxy failed on a connection")
        finally:
            self._drop(client)
            if upstream is not None:
                self._drop(upstream)
            left = self._left >> 10
            logger.info("goal %s: %s, %d KB left", self._egress.goal_id, short_host(host), left)

    def _open(self, request: ProxyRequest) -> socket.socket:
        """A connection to where the request wants, after the decision. Raises ToolDenied,
        ToolError.
        """
        egress, host = self._egress, request.target.host
        ends = egress.clock.steady() + HEAD_TIMEOUT_S
        if egress.withheld:
            raise ToolDenied(egress.withheld, rule="egress:withheld")
        entry = "" if is_number(host) or ":" in host else allowed_by(host, egress.hosts)
        if not entry:
            raise ToolDenied(
                f"{host} is not among the hosts that this agent was granted", rule="egress:host"
            )

        def left() -> float:
            return max(0.1, ends - egress.clock.steady())

        addresses = public_addresses(egress.edge, host, left)
        egress.record(EgressDecision(True, "egress:host", entry))
        egress.on_open(entry)
        self.opened = (*self.opened, entry)
        return reach(egress.edge, host, addresses, request.target.port, left)

    def _hello(self, client: socket.socket, start: bytes, request: ProxyRequest) -> bytes:
        """The first message of TLS, when it asks for the host that was let through.

        Raises ToolDenied: else an allowed host's address would serve its neighbours' names.
        """
        start += _exactly(client, 5 - len(start))
        start += _exactly(client, hello_length(start) - len(start))
        name, host = server_name(start[: hello_length(start)]), request.target.host
        if name != host:
            raise ToolDenied("TLS asks for another host than the tunnel", rule="egress:tls")
        return start

    def _send(self, to: socket.socket, data: bytes) -> None:
        """Pass on, and count. Raises ToolDenied past the limit."""
        with self._lock:
            self._left -= len(data)
        if self._left < 0:
            raise ToolDenied(
                "this command has sent and received all that it may", rule="egress:bytes"
            )
        to.sendall(data)

    def _relay(self, client: socket.socket, upstream: socket.socket, body: int = -1) -> None:
        """Both ways until the target has said all. ``body``: bytes that the client may still send;
        -1: any number.
        """
        poll = select.poll()
        both = {client.fileno(): (client, upstream), upstream.fileno(): (upstream, client)}
        for connected, _ in both.values():
            connected.settimeout(IDLE_TIMEOUT_S)
            if connected is upstream or body:
                poll.register(connected, select.POLLIN)
        while ready := poll.poll(IDLE_TIMEOUT_S * 1000):
            for number, _ in ready:
                source, other = both[number]
                bounded = source is client and body >= 0
                data = source.recv(min(_CHUNK, body) if bounded else _CHUNK)
                if data:
                    self._send(other, data)
                    body -= len(data) if bounded else 0
                elif source is upstream:
                    return
                elif not bounded:
                    other.shutdown(socket.SHUT_WR)
                if not data or (bounded and not body):
                    poll.unregister(source)

    def _refuse(self, client: socket.socket, status: int, why: str, rule: str) -> None:
        text = f"{redact(why)}{f' (rule {rule})' if rule else ''}\n".encode()
        head = (
            f"HTTP/1.1 {status} {'Forbidden' if status == 403 else 'Bad Gateway'}\r\n"
            f"Content-Type: text/plain; charset=utf-8\r\nContent-Length: {len(text)}\r\n"
            "Connection: close\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            client.sendall(head.encode() + text)


def short_host(host: str) -> str:
    """The last two labels of a host, shortened: what stands before them may be a message."""
    labels = host.split(".")[-2:]
    return redact(".".join(label[:_LABEL_CHARS] for label in labels))


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """A request's head with its empty line, and what came after it. Raises ToolError, OSError."""
    data = b""
    while b"\r\n\r\n" not in data:
        if len(data) > MAX_HEAD:
            raise ToolError("the request's head is too long.")
        piece = client.recv(_CHUNK)
        if not piece:
            raise ConnectionResetError
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def _exactly(client: socket.socket, size: int) -> bytes:
    """So many more bytes, none when there are enough. Raises OSError."""
    data = b""
    while len(data) < size:
        piece = client.recv(size - len(data))
        if not piece:
            raise ConnectionResetError
        data += piece
    return data
