"""Which web addresses a tool may be sent to at all: pure, before anything is resolved.

A URL that one client reads differently from another is refused, not repaired. What passes is
either a name, whose addresses are checked when they are known, or a public address.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from llmos_workers.contracts.errors import ToolDenied

MAX_URL_CHARS = 2_000
PORTS = {"http": 80, "https": 443}
"""Schemes that are spoken, and where they usually live; each may use both ports."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_UNCLEAR = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029]")
_NUMERIC_LABEL = re.compile(r"\d+|0x[0-9a-f]*")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?")
_INTERNAL = frozenset(
    {"localhost", "localdomain", "local", "internal", "intranet", "svc", "cluster", "lan", "home"}
    | {"corp", "private", "arpa", "onion", "consul", "docker"}
)
"""Last labels of names that mean this machine or its network."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_NOT_GLOBAL = tuple(
    ipaddress.ip_network(net)
    for net in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24"),
        *("192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
        # Teredo, ORCHID and the rest of the protocol block; documentation; 6to4; SRv6.
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "2620:4f:8000::/48"),
    )
)
"""IANA's special-purpose registries (as of 2024-10); a list of our own, as the standard library's
differs between Python versions."""


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
            address: Address = ipaddress.IPv6Address(host)
        except ValueError:
            raise _no("host", "the address in brackets is no IPv6 address") from None
        if "%" in host or not is_public(address):
            raise _no("address", f"{host} is an address of this machine or network")
        return str(address)
    name = _ascii(host)
    labels = name.split(".")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        return _number(name)
    if len(labels) < 2 or labels[-1] in _INTERNAL or len(name) > 253:
        raise _no("internal", f"{name} is a name of this machine or network")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise _no("host", "the host is no host name")
    return name


def _ascii(host: str) -> str:
    """The name in ASCII and lower case, as a resolver gets it, without the root's dot."""
    import idna

    try:
        # UTS 46 maps full-width digits, ideographic stops and the like to what they stand for.
        name = (
            idna.encode(host, uts46=True, transitional=False).decode()
            if not host.isascii()
            else host
        )
    except (idna.IDNAError, UnicodeError):
        raise _no("host", "the host is no host name") from None
    name = name.lower()
    return name[:-1] if name.endswith(".") else name


def _number(name: str) -> str:
    """An IPv4 address. Only the plain notation of a public one passes."""
    try:
        address = ipaddress.IPv4Address(socket.inet_aton(name))
    except (OSError, ValueError):
        raise _no("host", "the host is a number, but no address") from None
    if not is_public(address):
        raise _no("address", f"{name} is an address of this machine or network ({address})")
    if str(address) != name:
        raise _no("address", f"{name} is an unusual notation of {address}")
    return name


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet; what IPv6 wraps is looked at, too."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        if address not in _GLOBAL_V6 or address.scope_id:
            return False
    return not any(address.version == net.version and address in net for net in _NOT_GLOBAL)


def is_allowed_host(host: str, allowed: Iterable[str]) -> bool:
    """Whether a host is one of ``allowed``, or below one of them."""
    names = (name.lower().strip(".") for name in allowed)
    return any(host == name or host.endswith(f".{name}") for name in names if name)


def _no(rule: str, why: str) -> ToolDenied:
    return ToolDenied(why, rule=f"web:{rule}")
