"""Hosts and addresses: the one place that says what is public, allowed, or this network's.

Pure. The guard asks it about words of a command line, WebFetch and the egress proxy about what
they are to connect to.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

PORTS = {"http": 80, "https": 443}
"""Schemes that are spoken, and where they usually live; each may use both ports."""

_INTERNAL = re.compile(
    r"(^|\.)(localhost|localdomain|local|internal|intranet|svc|cluster|lan|home|corp|private|arpa"
    r"|onion|consul|docker|localtest\.me|lvh\.me|vcap\.me|nip\.io|sslip\.io|xip\.io|rbndr\.us"
    r"|traefik\.me)$"
)
"""Names that mean this machine or this network, and services that answer with any address."""
_NUMBER_LABEL = re.compile(r"\d+|0x[0-9a-f]*")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?")
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


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet; what IPv6 wraps is looked at, too."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        if address not in _GLOBAL_V6 or address.scope_id:
            return False
    return not any(address.version == net.version and address in net for net in _NOT_GLOBAL)


def as_address(name: str) -> Address | None:
    """The address that a notation means: dotted, octal, hexadecimal, short, in brackets; None for
    a name.
    """
    bare = name.strip("[]")
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        pass
    if not is_number(name):
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(name))
    except (OSError, ValueError):
        return None


def is_number(name: str) -> bool:
    """Whether resolvers take a name for a number: its last label is one."""
    return bool(_NUMBER_LABEL.fullmatch(name.rpartition(".")[2]))


def is_internal(name: str) -> bool:
    """Whether a name means this machine or its network, or may mean any address at all."""
    return "." not in name or bool(_INTERNAL.search(name))


def is_host_name(name: str) -> bool:
    """Whether a name is one that public hosts can have."""
    return len(name) <= 253 and all(_LABEL.fullmatch(label) for label in name.split("."))


def ascii_name(host: str) -> str:
    """The name as a resolver gets it: ASCII, lower case, without the root's dot.

    UTS 46 maps full-width digits, ideographic stops and the like to what they stand for.
    Raises ValueError for what is no name.
    """
    import idna

    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True, transitional=False).decode()
        except (idna.IDNAError, UnicodeError):
            raise ValueError("no host name") from None
    return host.lower().removesuffix(".")


def allowed_by(host: str, allowed: Iterable[str]) -> str:
    """Which of ``allowed`` a host is, or is below of; "" when it is none."""
    names = (name.lower().strip(".") for name in allowed)
    return next((name for name in names if name and f".{host}".endswith(f".{name}")), "")


def is_allowed_host(host: str, allowed: Iterable[str]) -> bool:
    """Whether a host is one of ``allowed``, or below one of them."""
    return bool(allowed_by(host, allowed))
