"""What a client asks a proxy for: the head of an HTTP request, and the first words of TLS."""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmos_workers.contracts.errors import ToolDenied
from llmos_workers.execution.net.url import WebTarget, read_url

MAX_HEAD = 32_768
"""Bytes of a request's head."""
MAX_HELLO = 16_384
"""Bytes of a TLS client's first message."""
_LINE = re.compile(rb"([A-Z]{1,20}) ([!-~]+) HTTP/1\.[01]")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*?)[ \t]*")
_OF_THIS_HOP = frozenset(
    {b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"expect", b"host"}
)
"""Headers that are not passed on, besides those that begin with ``proxy-``."""
_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME = 22, 1, 0


@dataclass(frozen=True)
class ProxyRequest:
    """One request to a proxy."""

    method: str
    target: WebTarget
    tunnel: bool
    """CONNECT: what follows is TLS, of which the proxy sees the first message only."""
    head: bytes = b""
    """The request as it goes to the target; empty for a tunnel."""
    body: int = 0
    """Bytes of body that follow."""


def read_request(head: bytes) -> ProxyRequest:
    """The request with this head (up to its empty line). Raises ToolDenied."""
    first, *rest = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    line = _LINE.fullmatch(first)
    fields = [_FIELD.fullmatch(each) for each in rest]
    if line is None or not all(fields):
        raise ToolDenied("the request cannot be read", rule="egress:request")
    headers = [(found[1], found[2]) for found in fields if found]
    method, where = line[1].decode(), line[2].decode()
    if method == "CONNECT":
        return ProxyRequest(method, read_url(f"https://{where}/"), tunnel=True)
    if not where.startswith("http://"):
        raise ToolDenied("a proxy is asked with a whole http:// address", rule="egress:request")
    target = read_url(where)
    body = _length(headers)
    kept = [
        (name, value)
        for name, value in headers
        if name.lower() not in _OF_THIS_HOP and not name.lower().startswith(b"proxy-")
    ]
    # What the target is told comes from the address that was checked, whatever the client said.
    lines = [
        f"{method} {target.path} HTTP/1.1".encode(),
        f"Host: {target.authority}".encode(),
        *(name + b": " + value for name, value in kept),
        b"Connection: close",
    ]
    return ProxyRequest(method, target, False, b"\r\n".join(lines) + b"\r\n\r\n", body)


def _length(headers: list[tuple[bytes, bytes]]) -> int:
    """Bytes of body. Raises ToolDenied when that could be read in two ways."""
    if any(name.lower() == b"transfer-encoding" for name, _ in headers):
        raise ToolDenied("a body must say its length", rule="egress:request")
    found = [value for name, value in headers if name.lower() == b"content-length"]
    if not found:
        return 0
    if len(found) > 1 or not found[0].isdigit() or len(found[0]) > 15:
        raise ToolDenied("a body must say its length once", rule="egress:request")
    return int(found[0])


def hello_length(start: bytes) -> int:
    """Bytes of a TLS client's first record, its head of 5 included. Raises ToolDenied."""
    if len(start) < 5 or start[0] != _HANDSHAKE or start[1] != 3:
        raise ToolDenied("a tunnel is for TLS only", rule="egress:tls")
    length = int.from_bytes(start[3:5], "big")
    if not 4 <= length <= MAX_HELLO:
        raise ToolDenied("a tunnel is for TLS only", rule="egress:tls")
    return 5 + length


def server_name(record: bytes) -> str:
    """The name that a TLS client asks for; "" when it names none. Raises ToolDenied.

    Only a whole first message in one record is read; no client needs more.
    """
    try:
        return _server_name(record)
    except (IndexError, ValueError):
        raise ToolDenied("the start of TLS cannot be read", rule="egress:tls") from None


def _server_name(record: bytes) -> str:
    body = record[5:]
    if body[0] != _CLIENT_HELLO or int.from_bytes(body[1:4], "big") != len(body) - 4:
        raise ValueError
    at = 4 + 2 + 32  # head, version, random
    at += 1 + body[at]  # session
    at += 2 + int.from_bytes(body[at : at + 2], "big")  # ciphers
    at += 1 + body[at]  # compression
    end = at + 2 + int.from_bytes(body[at : at + 2], "big")
    at += 2
    if end > len(body):
        raise ValueError
    while at + 4 <= end:
        kind, length = (int.from_bytes(body[at + n : at + n + 2], "big") for n in (0, 2))
        at += 4
        if kind == _SERVER_NAME:
            # A list of names, of which there is one kind: a host, with its own length.
            if body[at + 2] != 0 or int.from_bytes(body[at + 3 : at + 5], "big") != length - 5:
                raise ValueError
            return body[at + 5 : at + length].decode("ascii").lower()
        at += length
    return ""
