"""Connecting outwards: a name is resolved once, and the connection goes to what was checked.

Where names resolve and sockets connect is the machine's edge (WebEdge): tests put their own
there, and no check is behind it.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass

from llmos_workers.contracts.errors import ToolDenied, ToolError
from llmos_workers.execution.net.address import is_public

MAX_ADDRESSES = 3
"""Addresses of one name that are tried."""
CONNECT_TIMEOUT_S = 10.0


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


def reach(
    edge: WebEdge, host: str, addresses: Sequence[str], port: int, left: Callable[[], float]
) -> socket.socket:
    """A connection to one of a host's addresses. ``left``: seconds there are; may raise ToolError.

    Raises ToolError.
    """
    fault = "no address"
    for address in addresses[:MAX_ADDRESSES]:
        try:
            return edge.connect(address, port, min(CONNECT_TIMEOUT_S, left()))
        except OSError as error:
            fault = type(error).__name__
    raise ToolError(f"{host} could not be reached: {fault}.")


def public_addresses(edge: WebEdge, host: str, left: Callable[[], float]) -> list[str]:
    """The addresses of a host, all of them public. Raises ToolDenied when one is not, ToolError
    when there is none.
    """
    try:
        found: Sequence[str] = [str(ipaddress.ip_address(host))]
    except ValueError:
        found = edge.resolve(host, min(CONNECT_TIMEOUT_S, left()))
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
