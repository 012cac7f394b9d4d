"""What may be reached: addresses in every notation, hosts by name."""

from __future__ import annotations

import re
import urllib.parse

from llmos_workers.execution.guard.marks import ANY_MARK, GLOB, shown
from llmos_workers.execution.guard.paths import HIDDEN
from llmos_workers.execution.guard.policy import GuardPolicy
from llmos_workers.execution.guard.verdict import FINE, Finding, confirm, deny
from llmos_workers.execution.net.address import (
    PORTS,
    as_address,
    ascii_name,
    is_allowed_host,
    is_host_name,
    is_internal,
    is_number,
    is_public,
)


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
    if parts.scheme.lower() not in PORTS:
        return deny("network", f"{said!r}: only http and https are for tools")
    if "@" in parts.netloc or not host:
        return deny("network", f"{said!r} holds a user name, or no host")
    if port not in (None, *PORTS.values()):
        return deny("network", f"{said!r}: only ports 80 and 443 are for tools")
    return check_host(host, policy)


def check_host(host: str, policy: GuardPolicy) -> Finding:  # noqa: PLR0911 - one way out for each case
    """Judge a host's name or address, in any notation that resolvers accept."""
    said = shown(host)
    if ANY_MARK.search(host):
        return _half_known(host.lower(), said, policy)
    try:
        name = ascii_name(host)
    except ValueError:
        return confirm("network", f"{said!r} is not a plain host name")
    number = as_address(name.partition("%")[0])
    if number is not None:
        if not is_public(number):
            return deny("network", f"{said} is an address of this machine or network")
        return confirm("network", f"{said} is a bare address")
    if is_number(name) or "%" in name or is_internal(name):
        return deny("network", f"{said} is a name of this machine or network")
    if not is_host_name(name):
        return confirm("network", f"{said!r} is not a plain host name")
    if is_allowed_host(name, policy.hosts):
        return FINE
    return confirm("network", f"{said} is not among the allowed hosts")


def _half_known(name: str, said: str, policy: GuardPolicy) -> Finding:
    tail = re.split("[\ue000-\ue01f]", name)[-1]
    if tail.startswith(".") and is_allowed_host(tail[1:], policy.hosts):
        return FINE
    start = ANY_MARK.split(name)[0]
    private = re.match(r"(127|10|192\.168|169\.254|172\.(1[6-9]|2\d|3[01])|0)(\.|$)", start)
    if private or GLOB in name:
        return deny("network", f"{said} is an address of this network")
    return confirm("network", f"{said}: its host is only known at run time")
