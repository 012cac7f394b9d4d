"""Packs: signed traces in one file, to be shared between teams.

A pack is JSON lines, so that nothing in it can name a path, be a link, or unpack to more than it
is. The first line is the manifest: form, the signing key, and id, size and sha256 of every
trace. The second is the signature of the first. Then comes one line for each trace, a JSON
string with its Markdown file, in the order of the manifest. Counters and the signatures of the
exporting workspace stay behind: the same traces under the same key give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from llmos_workers.contracts.errors import InvalidOption, MalformedFile
from llmos_workers.contracts.goal import PROJECT_NAME
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.kernel.signing import KeyRing, PublicKey, Verdict
from llmos_workers.learning.trace_fields import without_counters
from llmos_workers.learning.trace_file import MAX_BYTES as MAX_TRACE_BYTES
from llmos_workers.learning.trace_file import from_markdown, to_markdown
from llmos_workers.learning.trace_folder import TRACE_ID
from llmos_workers.learning.trace_seal import objection

FORMAT = "llmos-trace-pack"
PACK_VERSION = 1
KIND = "pack"
MAX_BYTES = 64 * 1024 * 1024
"""Largest pack that is written or read."""
MAX_TRACES = 10_000
_MAX_LINE = 2 * MAX_TRACE_BYTES + 1024
"""A trace's Markdown as a JSON string; escapes rarely double it."""


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack that was read: form, digests and signature hold."""

    key: PublicKey
    """Who signed it, by its own word until that key is trusted."""
    trusted: bool
    """Whether that key is trusted here."""
    traces: tuple[ExecutionTrace, ...]


def write_pack(traces: Iterable[ExecutionTrace], keys: KeyRing) -> bytes:
    """The pack of some traces, signed. Raises InvalidOption for one that is not signed itself,
    for two of one name, and for more than a pack may hold.
    """
    chosen = sorted(traces, key=lambda trace: (trace.project, trace.trace_id))
    for trace in chosen:
        if why := objection(trace):
            raise InvalidOption(f"trace {trace.trace_id} cannot be exported: {why}")
    texts = [to_markdown(_as_shared(trace)) for trace in chosen]
    manifest = {
        "format": FORMAT,
        "version": PACK_VERSION,
        "key": keys.own().text,
        "traces": [_entry(trace, text) for trace, text in zip(chosen, texts, strict=True)],
    }
    head = _line(manifest)
    signed = {"signature": keys.sign(KIND, head)}
    data = b"\n".join([head, _line(signed), *(_line(text) for text in texts)]) + b"\n"
    _check_names([(trace.project, trace.trace_id) for trace in chosen], "the pack")
    if len(data) > MAX_BYTES or len(chosen) > MAX_TRACES:
        raise InvalidOption(
            f"a pack holds at most {MAX_TRACES:,} traces and {MAX_BYTES:,} bytes.",
            fix="Export fewer: name them, or a project.",
        )
    return data


def read_pack(data: bytes, keys: KeyRing, path: str = "pack") -> Pack:
    """What is in a pack. Raises MalformedFile unless every byte is as its maker signed it;
    whether the maker is trusted is for the caller to weigh.
    """
    if len(data) > MAX_BYTES:
        raise MalformedFile(path, f"a pack has at most {MAX_BYTES:,} bytes.")
    lines = data.split(b"\n")
    if len(lines) < 3 or lines[-1]:
        raise MalformedFile(path, "it is no whole trace pack.")
    manifest = _manifest(lines[0], path)
    try:
        key = PublicKey.parse(str(manifest["key"]))
    except InvalidOption:
        raise MalformedFile(path, "its key is no public key.", line=1) from None
    signature = _loaded(lines[1], path, 2)
    if not isinstance(signature, dict) or set(signature) != {"signature"}:
        raise MalformedFile(path, "the second line must be the signature.", line=2)
    if keys.check(KIND, lines[0], str(signature["signature"]), by=key) is not Verdict.GOOD:
        raise MalformedFile(path, "its signature does not hold: it was changed.", line=2)
    entries, texts = manifest["traces"], lines[2:-1]
    if len(entries) != len(texts):
        raise MalformedFile(path, f"it lists {len(entries)} traces and holds {len(texts)}.")
    traces = tuple(_trace(entry, text, path, n) for n, (entry, text) in
                   enumerate(zip(entries, texts, strict=True), start=3))  # fmt: skip
    _check_names([(trace.project, trace.trace_id) for trace in traces], path)
    trusted = key.key_id in {known.key_id for known in keys.trusted()}
    return Pack(key, trusted, traces)


def as_imported(trace: ExecutionTrace, pack: Pack, project: str | None) -> ExecutionTrace:
    """A trace of a pack as it is stored here: not proved, since this is another world."""
    return trace.model_copy(
        update={
            "project": project or trace.project,
            "version": 1,
            "proved": False,
            "proved_by": "",
            "pinned": False,
            "crystallized_into_tool": None,
            "imported_from": pack.key.key_id,
            "error_notes": f"imported from a pack of key {pack.key.key_id}",
        }
    )


def _as_shared(trace: ExecutionTrace) -> ExecutionTrace:
    return without_counters(trace).model_copy(update={"signature": ""})


def _entry(trace: ExecutionTrace, text: str) -> dict[str, Any]:
    data = text.encode()
    return {
        "project": trace.project,
        "trace_id": trace.trace_id,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _line(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _loaded(line: bytes, path: str, number: int) -> Any:
    if len(line) > max(_MAX_LINE, MAX_TRACES * 512):
        raise MalformedFile(path, "the line is too long.", line=number)
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise MalformedFile(path, "the line is not JSON.", line=number) from None


def _manifest(line: bytes, path: str) -> dict[str, Any]:
    found = _loaded(line, path, 1)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise MalformedFile(path, "it is no trace pack.", line=1)
    if found.get("version") != PACK_VERSION:
        raise MalformedFile(path, f"its form {found.get('version')!r} is not known.", line=1)
    if set(found) != {"format", "version", "key", "traces"}:
        raise MalformedFile(path, "the manifest has other fields than a pack's.", line=1)
    entries = found["traces"]
    if not isinstance(entries, list) or len(entries) > MAX_TRACES:
        raise MalformedFile(path, f"'traces' must be a list of at most {MAX_TRACES:,}.", line=1)
    return found


def _trace(entry: Any, line: bytes, path: str, number: int) -> ExecutionTrace:
    text = _loaded(line, path, number)
    if not isinstance(text, str) or not isinstance(entry, dict):
        raise MalformedFile(path, "a trace is a JSON string with its Markdown.", line=number)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise MalformedFile(path, "it holds half of a surrogate pair.", line=number) from None
    if len(data) > MAX_TRACE_BYTES:
        raise MalformedFile(path, f"a trace has at most {MAX_TRACE_BYTES:,} bytes.", line=number)
    trace = from_markdown(text, f"{path}, trace {number - 2}")
    if entry != _entry(trace, text):
        raise MalformedFile(path, "the trace is not the one that the manifest lists.", line=number)
    if not TRACE_ID.fullmatch(trace.trace_id) or not PROJECT_NAME.fullmatch(trace.project):
        raise MalformedFile(path, "the id or project of the trace is not allowed.", line=number)
    return without_counters(trace)


def _check_names(names: Sequence[tuple[str, str]], path: str) -> None:
    if len(set(names)) != len(names):
        raise MalformedFile(path, "two of its traces have one id.")
