"""Bundles: what was learned, signed, in one file for a device. See docs/edge.md for the form."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llmos_workers.contracts.errors import InvalidOption
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.kernel.signing import KeyRing
from llmos_workers.learning.edge_item import NotForDevices, edge_item, programs_of, tools_of

FORMAT = "llmos-edge-bundle"
BUNDLE_VERSION = 1
KIND = "edge-bundle"
DAY_SECS = 86_400
MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Bundle:
    """A bundle as it was written."""

    data: bytes
    manifest: dict[str, Any]
    left_out: dict[str, str] = field(default_factory=dict)
    """Trace id -> why no device could follow it."""


@dataclass(frozen=True)
class Allowed:
    """What a bundle lets devices do, however much its traces would."""

    tools: Collection[str] = ("Read", "Write", "Edit")
    commands: Collection[str] = ()
    bounds: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)


def write_bundle(
    traces: Iterable[ExecutionTrace],
    keys: KeyRing,
    allowed: Allowed,
    *,
    project: str,
    now: float,
    counter: int,
    days: int = 90,
) -> Bundle:
    """A signed bundle of the traces that devices may follow within ``allowed``.

    ``now`` in Unix seconds; it expires after ``days``. ``counter`` grows with each export: a
    device refuses an older bundle than it has seen. Raises InvalidOption when it grows too large.
    """
    items, left_out = [], {}
    for trace in sorted(traces, key=lambda trace: trace.trace_id):
        try:
            item = edge_item(trace)
        except NotForDevices as error:
            left_out[trace.trace_id] = str(error)
            continue
        if why := _beyond(item, allowed):
            left_out[trace.trace_id] = why
            continue
        items.append(item)
    lines = [_line(item) for item in items]
    manifest = {
        "format": FORMAT,
        "version": BUNDLE_VERSION,
        "key": keys.own().text,
        "project": project,
        "made_at": int(now),
        "expires_at": int(now) + days * DAY_SECS,
        "counter": counter,
        "tools": sorted(allowed.tools),
        "commands": sorted(allowed.commands),
        "bounds": {tool: {name: list(pair) for name, pair in limits.items()}
                   for tool, limits in allowed.bounds.items()},
        "items": [{"id": item["id"], "sha256": hashlib.sha256(line).hexdigest()}
                  for item, line in zip(items, lines, strict=True)],
    }  # fmt: skip
    head = _line(manifest)
    signature = _line({"signature": _raw_signature(keys.sign(KIND, head)).hex()})
    data = b"\n".join([head, signature, *lines]) + b"\n"
    if len(data) > MAX_BYTES:
        raise InvalidOption(
            f"a bundle has at most {MAX_BYTES:,} bytes.", fix="Export fewer traces."
        )
    return Bundle(data, manifest, left_out)


def _beyond(item: dict[str, Any], allowed: Allowed) -> str:
    """What the bundle does not allow; "" when it allows all of it."""
    if tools := sorted(tools_of(item) - set(allowed.tools)):
        how = "--command PROGRAM" if tools[0] == "Bash" else f"--tool {tools[0]}"
        return f"{tools[0]} is not allowed in the bundle ({how})"
    if programs := sorted(programs_of(item) - set(allowed.commands)):
        return f"the program {programs[0]} is not allowed in the bundle (--command {programs[0]})"
    return ""


def _raw_signature(text: str) -> bytes:
    """The 64 bytes of a signature as KeyRing writes it."""
    return base64.b64decode(text.rpartition(":")[2])


def _line(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
