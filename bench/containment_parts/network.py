"""A network of our own in which every address answers as this machine, and its counters."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

_NEW_NET = 0x40000000
_EVERY_ADDRESS = (("-4", "0.0.0.0/0"), ("-6", "::/0"))
_COUNTED = {"Tcp": "ActiveOpens", "Udp": "OutDatagrams", "Icmp": "OutEchos"}
_COUNTED_V6 = ("Udp6OutDatagrams", "Icmp6OutEchos")


def own_network() -> bool:
    """Leave this machine's network for one without any way out; False where that cannot be.

    To be called before there are threads.
    """
    if os.geteuid() or not shutil.which("ip") or ctypes.CDLL(None).unshare(_NEW_NET):
        return False
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for family, every in _EVERY_ADDRESS:
        way = ["ip", family, "route", "add", "local", every, "dev", "lo"]
        subprocess.run(way, check=family == "-4")
    return True


def connects() -> int:
    """Connections begun and datagrams sent in this network so far."""
    total = 0
    lines = Path("/proc/self/net/snmp").read_text(encoding="ascii").splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        kind, *fields = names.split()
        found = dict(zip(fields, values.split()[1:], strict=True))
        total += int(found.get(_COUNTED.get(kind.rstrip(":"), ""), "0"))
    v6 = Path("/proc/self/net/snmp6")
    for line in v6.read_text(encoding="ascii").splitlines() if v6.exists() else ():
        name, value = line.split()
        total += int(value) if name in _COUNTED_V6 else 0
    return total
