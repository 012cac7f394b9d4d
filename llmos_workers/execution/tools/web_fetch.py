"""Fetching one page: resolved once, connected to exactly the address that was checked.

The environment's proxies, cookies, netrc and credentials play no part. Each redirect is read,
checked and resolved like a first address.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import socket
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from llmos_workers.contracts.errors import ToolError
from llmos_workers.execution.net.reach import (
    CONNECT_TIMEOUT_S,
    WebEdge,
    public_addresses,
    reach,
)
from llmos_workers.execution.net.url import WebTarget, read_url
from llmos_workers.kernel.clock import Clock

logger = logging.getLogger(__name__)

USER_AGENT = "llmos (WebFetch)"
ACCEPT = "text/html, application/xhtml+xml, text/*;q=0.9, application/json;q=0.9, */*;q=0.1"
MAX_BYTES = 5_000_000
"""Longest body that is read, unpacked; what is beyond is cut off."""
MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK = 65_536


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
        addresses = self.addresses(target.host)
        raw = reach(self._edge, target.host, addresses, target.port, self._left)
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

    def addresses(self, host: str) -> list[str]:
        """The addresses of a host, asked for once, all of them public. Raises ToolDenied when
        one is not, ToolError when there is none.
        """
        if host not in self._known:
            self._known[host] = public_addresses(self._edge, host, self._left)
        return self._known[host]

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
