"""Which web addresses a tool may be sent to at all: pure, before anything is resolved.

A URL that one client reads differently from another is refused, not repaired. What passes is
either a name, whose addresses are checked when they are known, or a public address.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from llmos_workers.contracts.errors import ToolDenied
from llmos_workers.execution.net.address import (
    PORTS,
    as_address,
    ascii_name,
    is_host_name,
    is_internal,
    is_number,
    is_public,
)

MAX_URL_CHARS = 2_000
_UNCLEAR = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029]")


@dataclass(frozen=True)
class WebTarget:
    """One address, read in exactly one way."""

    scheme: str
    host: str
    """Lower case, ASCII (IDNA), without a trailing dot; an IPv6 address without brackets."""
    port: int
    path: str
    """Path and query, percent-encoded; never empty."""

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as text, always the same for the same target."""
        return f"{self.scheme}://{self.authority}{self.path}"


def read_url(text: str, *, base: WebTarget | None = None) -> WebTarget:
    """The target of a URL; ``base`` is what a redirect's relative address starts from.

    Raises ToolDenied (rule ``web:...``) for what no tool may be sent to.
    """
    if len(text) > MAX_URL_CHARS or _UNCLEAR.search(text):
        raise _no(
            "url", "the address is too long, or holds characters that clients read in two ways"
        )
    try:
        parts = urlsplit(urljoin(base.url, text) if base else text)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise _no("url", "the address cannot be read") from None
    if parts.scheme not in PORTS:
        raise _no("scheme", "only http:// and https:// addresses are fetched")
    if not host:
        raise _no("url", "the address names no host")
    if "@" in parts.netloc:
        raise _no("userinfo", "the address holds a user name")
    if port is None:
        port = PORTS[parts.scheme]
    if port not in PORTS.values():
        raise _no("port", f"port {port} is not one of the web's (80, 443)")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return WebTarget(
        scheme=parts.scheme,
        host=read_host(host, literal="[" in parts.netloc),
        port=port,
        path=f"{path}?{query}" if query else path,
    )


def read_host(host: str, *, literal: bool = False) -> str:
    """The host in its one notation; ``literal``: it stood in brackets. Raises ToolDenied."""
    if literal:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError:
            raise _no("host", "the address in brackets is no IPv6 address") from None
        if "%" in host or not is_public(address):
            raise _no("address", f"{host} is an address of this machine or network")
        return str(address)
    try:
        name = ascii_name(host)
    except ValueError:
        raise _no("host", "the host is no host name") from None
    if is_number(name):
        return _number(name)
    if is_internal(name):
        raise _no("internal", f"{name} is a name of this machine or network")
    if not is_host_name(name):
        raise _no("host", "the host is no host name")
    return name


def _number(name: str) -> str:
    """An IPv4 address. Only the plain notation of a public one passes."""
    address = as_address(name)
    if address is None:
        raise _no("host", "the host is a number, but no address")
    if not is_public(address):
        raise _no("address", f"{name} is an address of this machine or network ({address})")
    if str(address) != name:
        raise _no("address", f"{name} is an unusual notation of {address}")
    return name


def _no(rule: str, why: str) -> ToolDenied:
    return ToolDenied(why, rule=f"web:{rule}")
