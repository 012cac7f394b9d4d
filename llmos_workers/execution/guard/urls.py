"""What may be reached: addresses in every notation, hosts by name."""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
import urllib.parse

from llmos_workers.execution.guard.marks import ANY_MARK, GLOB, shown
from llmos_workers.execution.guard.paths import HIDDEN
from llmos_workers.execution.guard.policy import GuardPolicy
from llmos_workers.execution.guard.verdict import FINE, Finding, confirm, deny

SCHEMES = ("http", "https")
PORTS = (None, 80, 443)

_INTERNAL = re.compile(
    r"(^|\.)(localhost|local|localdomain|internal|intranet|svc|lan|home|corp|private|arpa|onion"
    r"|localtest\.me|lvh\.me|vcap\.me|nip\.io|sslip\.io|xip\.io|rbndr\.us|traefik\.me)$"
)
"""Names that mean this machine or this network, and services that answer with any address."""
_NUMBERS = re.compile(r"(0x[0-9a-f]*|\d+)(\.(0x[0-9a-f]*|\d+)){0,3}")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")
_TEREDO = ipaddress.ip_network("2001::/32")
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_url(url: str, policy: GuardPolicy) -> Finding:
    """Judge a web address as a client would read it, and as another client might."""
    said = shown(url)
    if re.search(r"[\x00-\x20\\\x7f]", url) or HIDDEN.search(ANY_MARK.sub("", url)):
        return deny("network", f"{said!r} holds characters that clients read differently")
    if not re.match(r"[a-z][a-z0-9+.-]*:", url, re.I) or re.match(r"[\w.-]+:\d+(/|$)", url):
        url = f"http://{url.removeprefix('//')}"
    try:
        parts = urllib.parse.urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        return deny("network", f"{said!r} is no address")
    if parts.scheme.lower() not in SCHEMES:
        return deny("network", f"{said!r}: only http and https are for tools")
    if "@" in parts.netloc or not host:
        return deny("network", f"{said!r} holds a user name, or no host")
    if port not in PORTS:
        return deny("network", f"{said!r}: only ports 80 and 443 are for tools")
    return check_host(host, policy)


def check_host(host: str, policy: GuardPolicy) -> Finding:  # noqa: PLR0911 - one way out for each case
    """Judge a host's name or address, in any notation that resolvers accept."""
    said = shown(host)
    name = unicodedata.normalize("NFKC", host).replace("\u3002", ".").lower().rstrip(".")
    number = as_address(name)
    if number is not None:
        if not reachable(number):
            return deny("network", f"{said} is an address of this machine or network")
        return confirm("network", f"{said} is a bare address")
    if ANY_MARK.search(name):
        return _half_known(name, said, policy)
    if _NUMBERS.fullmatch(name) or "%" in name or "." not in name or _INTERNAL.search(name):
        return deny("network", f"{said} is a name of this machine or network")
    if not _NAME.fullmatch(name):
        return confirm("network", f"{said!r} is not a plain host name")
    if any(name == one or name.endswith(f".{one}") for one in policy.hosts):
        return FINE
    return confirm("network", f"{said} is not among the allowed hosts")


def as_address(name: str) -> Address | None:
    """The address that a notation means: dotted, octal, hexadecimal, short, mapped; or None."""
    bare = name.strip("[]").split("%")[0]
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        pass
    if _NUMBERS.fullmatch(name):
        try:
            return ipaddress.ip_address(socket.inet_aton(name))
        except OSError:
            return None
    return None


def reachable(address: Address) -> bool:
    """Whether an address is a public one, with what IPv6 wraps unwrapped."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour]
        low = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if any(address in net for net in _NAT64) or int(address) >> 32 == 0:
            inner.append(low)
        if address in _TEREDO:
            inner.append(ipaddress.IPv4Address(int(low) ^ 0xFFFFFFFF))
        if any(one is not None and not reachable(one) for one in inner):
            return False
        if any(one is not None for one in inner):
            return True
    return address.is_global and not address.is_multicast


def _half_known(name: str, said: str, policy: GuardPolicy) -> Finding:
    tail = re.split("[\ue000-\ue01f]", name)[-1]
    if any(tail == f".{one}" or tail.endswith(f".{one}") for one in policy.hosts):
        return FINE
    start = ANY_MARK.split(name)[0]
    private = re.match(r"(127|10|192\.168|169\.254|172\.(1[6-9]|2\d|3[01])|0)(\.|$)", start)
    if private or GLOB in name:
        return deny("network", f"{said} is an address of this network")
    return confirm("network", f"{said}: its host is only known at run time")
