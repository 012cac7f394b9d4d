"""Fetching one page: resolved once, connected to exactly the address that was checked.

The environment's proxies, cookies, netrc and credentials play no part. Each redirect is read,
checked and resolved like a first address. Where names resolve and sockets connect is the
machine's edge (WebEdge): tests put their own there, and no check is behind it.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import logging
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass

from llmos_workers.contracts.errors import ToolDenied, ToolError
from llmos_workers.execution.tools.web_url import WebTarget, is_public, read_url
from llmos_workers.kernel.clock import Clock

logger = logging.getLogger(__name__)

USER_AGENT = "llmos (WebFetch)"
ACCEPT = "text/html, application/xhtml+xml, text/*;q=0.9, application/json;q=0.9, */*;q=0.1"
MAX_BYTES = 5_000_000
"""Longest body that is read, unpacked; what is beyond is cut off."""
MAX_REDIRECTS = 5
MAX_ADDRESSES = 3
"""Addresses of one name that are tried."""
CONNECT_TIMEOUT_S = 10.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK = 65_536


def system_resolve(host: str, timeout_s: float) -> list[str]:
    """All addresses of a name, as this machine's resolver gives them. Raises ToolError."""
    answer: Future[list[str]] = Future()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            answer.set_result(list(dict.fromkeys(str(entry[4][0]) for entry in found)))
        # Handed to the thread that waits; getaddrinfo knows no time limit of its own.
        except (OSError, UnicodeError) as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True, name="resolve").start()
    try:
        return answer.result(timeout=timeout_s)
    except (OSError, UnicodeError, FutureTimeout):
        raise ToolError(f"the name {host} could not be resolved.") from None


def system_connect(address: str, port: int, timeout_s: float) -> socket.socket:
    """A connection to a numeric address. Raises OSError."""
    return socket.create_connection((address, port), timeout=timeout_s)


@dataclass(frozen=True)
class WebEdge:
    """Where the network begins."""

    resolve: Callable[[str, float], Sequence[str]] = system_resolve
    """Host name and seconds to addresses."""
    connect: Callable[[str, int, float], socket.socket] = system_connect
    """Address, port and seconds to a connected socket."""
    tls: Callable[[], ssl.SSLContext] = ssl.create_default_context


@dataclass(frozen=True)
class Page:
    """What a server answered in the end."""

    target: WebTarget
    """Where the answer came from, after all redirects."""
    status: int
    content_type: str
    """As the server says it, parameters included; lower case."""
    body: bytes
    truncated: bool


class Fetch:
    """One GET with its redirects, within ``timeout_s`` seconds."""

    def __init__(
        self,
        edge: WebEdge,
        clock: Clock,
        *,
        timeout_s: float,
        cancelled: Callable[[], bool] = lambda: False,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._edge, self._clock, self._cancelled = edge, clock, cancelled
        self._end = clock.steady() + timeout_s
        self._max_bytes = max_bytes
        self._known: dict[str, list[str]] = {}

    def get(self, target: WebTarget, may_redirect: Callable[[WebTarget], None]) -> Page:
        """The page at ``target``. ``may_redirect`` raises ToolDenied where a redirect must not
        lead. Raises ToolDenied, ToolError.
        """
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._get(target)
            if isinstance(answer, Page):
                return answer
            target = read_url(answer, base=target)
            may_redirect(target)
        raise ToolError(f"more than {MAX_REDIRECTS} redirects.")

    def _left(self) -> float:
        if self._cancelled():
            raise ToolError("the goal was cancelled.")
        left = self._end - self._clock.steady()
        if left <= 0:
            raise ToolError("the page took too long.")
        return left

    def _get(self, target: WebTarget) -> Page | str:
        """A page, or where it says it has moved to."""
        raw = self._connect(target)
        live = [raw]
        # A server that sends a byte now and then meets this end, whatever it is at.
        end = threading.Timer(self._left(), _hang_up, [live])
        end.daemon = True
        end.start()
        try:
            self._secure(live, target)
            return self._exchange(live[-1], target)
        except (OSError, http.client.HTTPException, zlib.error, ValueError) as error:
            self._left()
            # The error's text may be the server's: only its kind is told.
            raise ToolError(f"{target.host} could not be read: {type(error).__name__}.") from None
        finally:
            end.cancel()
            for connected in live:
                connected.close()

    def _connect(self, target: WebTarget) -> socket.socket:
        fault = "no address"
        for address in self.addresses(target.host)[:MAX_ADDRESSES]:
            try:
                return self._edge.connect(
                    address, target.port, min(CONNECT_TIMEOUT_S, self._left())
                )
            except OSError as error:
                fault = type(error).__name__
        raise ToolError(f"{target.host} could not be reached: {fault}.")

    def addresses(self, host: str) -> list[str]:
        """The addresses of a host, asked for once, all of them public. Raises ToolDenied when
        one is not, ToolError when there is none.
        """
        if host not in self._known:
            self._known[host] = self._resolve(host)
        return self._known[host]

    def _resolve(self, host: str) -> list[str]:
        try:
            found: Sequence[str] = [str(ipaddress.ip_address(host))]
        except ValueError:
            found = self._edge.resolve(host, min(CONNECT_TIMEOUT_S, self._left()))
        for text in found:
            try:
                public = is_public(ipaddress.ip_address(text))
            except ValueError:
                public = False
            if not public:
                raise ToolDenied(
                    f"{host} resolves to {text}, an address of this machine or network",
                    rule="web:address",
                )
        if not found:
            raise ToolError(f"the name {host} has no address.")
        return list(found)

    def _secure(self, live: list[socket.socket], target: WebTarget) -> None:
        """TLS for https; the certificate is checked for the name, not the address."""
        live[-1].settimeout(min(CONNECT_TIMEOUT_S, self._left()))
        if target.scheme == "https":
            tls = self._edge.tls()
            wrapped = tls.wrap_socket(
                live[-1], server_hostname=target.host, do_handshake_on_connect=False
            )
            live.append(wrapped)
            wrapped.do_handshake()

    def _exchange(self, connected: socket.socket, target: WebTarget) -> Page | str:
        connection = http.client.HTTPConnection(target.host, target.port)
        connection.auto_open = 0
        connection.sock = connected
        connection.putrequest("GET", target.path, skip_host=True, skip_accept_encoding=True)
        for name, value in (
            ("Host", target.authority),
            ("User-Agent", USER_AGENT),
            ("Accept", ACCEPT),
            ("Accept-Encoding", "gzip, identity;q=0.5"),
            ("Connection", "close"),
        ):
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        moved = response.getheader("Location")
        if response.status in _REDIRECTS and moved:
            return moved.strip()
        body, cut = self._body(response)
        kind = (response.getheader("Content-Type") or "").strip().lower()
        return Page(target, response.status, kind, body, cut)

    def _body(self, response: http.client.HTTPResponse) -> tuple[bytes, bool]:
        """The body, unpacked, and whether it was cut."""
        encoding = (response.getheader("Content-Encoding") or "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip", "deflate"):
            raise ToolError("the page is packed in a way that is not read here.")
        unpack = None if encoding == "identity" else zlib.decompressobj(zlib.MAX_WBITS | 32)
        body = bytearray()
        while len(body) <= self._max_bytes:
            self._left()
            chunk = response.read(_CHUNK)
            if not chunk:
                return bytes(body), False
            if unpack is None:
                body += chunk
            else:
                # A small body that unpacks to gigabytes stops at the limit.
                body += unpack.decompress(chunk, self._max_bytes + 1 - len(body))
        return bytes(body[: self._max_bytes]), True


def _hang_up(live: list[socket.socket]) -> None:
    with contextlib.suppress(OSError):
        live[-1].shutdown(socket.SHUT_RDWR)
