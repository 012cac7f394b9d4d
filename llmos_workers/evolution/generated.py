"""The shelf of generated tools: ``workspace/tools/generated/<name>_<version>.py`` with a signed
record beside each.

A file counts only as it was signed, and only if its source keeps the policy. A version is written
once and stays; which one a trace uses, the trace says (``crystallized_into_tool``). Nothing is
kept in a worker but what it has read, checked again when a file changed: no restart is needed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from llmos_workers.contracts.errors import DataError, LLMOSError, MalformedFile
from llmos_workers.contracts.generated import GeneratedTool
from llmos_workers.execution.crystal.policy import Checked, check_source
from llmos_workers.execution.crystal.runners import Program
from llmos_workers.kernel.signing import KeyRing, Verdict
from llmos_workers.kernel.workspace import Workspace

log = logging.getLogger(__name__)

KIND = "generated-tool"
FOLDER = "tools/generated"
MOST_DIGESTS = 10_000
REF = re.compile(r"([a-z][a-z0-9_]{0,79})_([1-9][0-9]{0,5})")

_WORDS = {
    Verdict.MISSING: "it is not signed",
    Verdict.WRONG: "it is not what was signed",
    Verdict.UNKNOWN_KEY: "it is signed by a key that is not trusted",
}


@dataclass(frozen=True)
class LoadedTool:
    """A generated tool that may run."""

    record: GeneratedTool
    source: str
    program: Program


class GeneratedTools:
    """All generated tools of a workspace. Thread-safe."""

    def __init__(self, workspace: Workspace, keys: KeyRing) -> None:
        self.folder = workspace.root / FOLDER
        self._workspace, self._keys = workspace, keys
        self._lock = threading.Lock()
        self._digests: dict[str, str] = {}
        self._loaded: dict[str, tuple[str, LoadedTool | MalformedFile]] = {}

    def get(self, ref: str) -> LoadedTool | None:
        """The tool of that reference; None: there is none that may run."""
        try:
            return self.load(ref)
        except LLMOSError as error:
            log.warning("the generated tool %s is not used: %s", ref, error.message)
            return None

    def load(self, ref: str) -> LoadedTool:
        """The tool of that reference. Raises MalformedFile saying why it may not run."""
        if not REF.fullmatch(ref):
            raise MalformedFile(ref[:80], "this is no name of a generated tool.")
        path = self.folder / f"{ref}.py"
        stamp = f"{_stamp(path)}/{_stamp(path.with_suffix('.json'))}/{self._keys.stamp}"
        with self._lock:
            known = self._loaded.get(ref)
        if known is None or known[0] != stamp:
            try:
                found: LoadedTool | MalformedFile = self._read(ref, path)
            except MalformedFile as error:
                found = error
            known = (stamp, found)
            with self._lock:
                self._loaded[ref] = known
        if isinstance(known[1], MalformedFile):
            raise known[1]
        return known[1]

    def remember(self, signature: str, digest: Callable[[], str]) -> str:
        """The digest of a trace with this signature, made once."""
        with self._lock:
            known = self._digests.get(signature)
        if known is None:
            known = digest()
            with self._lock:
                if len(self._digests) >= MOST_DIGESTS:
                    self._digests.clear()
                self._digests[signature] = known
        return known

    def refs(self) -> list[str]:
        """References of all that is on the shelf, also of what may not run; sorted."""
        found = [path.stem for path in self.folder.glob("*.json") if REF.fullmatch(path.stem)]
        return sorted(found, key=_by_version)

    def versions(self, name: str) -> list[int]:
        """The versions of a tool, oldest first."""
        return [version for each, version in map(_by_version, self.refs()) if each == name]

    def free_name(self, wish: str, trace_ids: Sequence[str]) -> str:
        """``wish``, or with the end of a trace id when another trace's tool is called so."""
        for name in (wish, f"{wish}_{trace_ids[0][:6]}"):
            owners = {self._owner(f"{name}_{version}") for version in self.versions(name)}
            if not owners - set(trace_ids):
                return name
        raise DataError(f"no name is free for the tool {wish!r}.")

    def put(self, record: GeneratedTool, source: str) -> LoadedTool:
        """Sign and store a new version. Raises PolicyDenied, WorkspaceUnwritable, and DataError
        when that version is there already.
        """
        checked = check_source(source)
        record = record.model_copy(update={"source_digest": _digest(source), "signature": ""})
        path = self.folder / f"{record.ref}.py"
        if fault := _unlike(record, checked):
            raise DataError(f"the record of {record.ref} is not that of its source: {fault}.")
        if path.with_suffix(".json").exists():
            raise DataError(f"{record.ref} is there already.")
        signature = self._keys.sign(KIND, _signed(record))
        signed = record.model_copy(update={"signature": signature})
        body = json.dumps(signed.model_dump(mode="json"), indent=2, ensure_ascii=False)
        # The record last: a source without one is nothing.
        self._workspace.write_atomic(path, source.encode())
        self._workspace.write_atomic(path.with_suffix(".json"), body.encode() + b"\n")
        return self.load(record.ref)

    def _owner(self, ref: str) -> str:
        try:
            return self.load(ref).record.traces[0].trace_id
        except LLMOSError:
            return ""

    def _read(self, ref: str, path: Path) -> LoadedTool:
        try:
            source = path.read_bytes()
            data = path.with_suffix(".json").read_bytes()
        except FileNotFoundError:
            raise MalformedFile(str(path), "it is not there.") from None
        except OSError as error:
            raise MalformedFile(str(path), f"it cannot be read: {error.strerror}.") from None
        try:
            record = GeneratedTool.model_validate_json(data)
            text = source.decode()
        except (ValidationError, UnicodeDecodeError):
            raise MalformedFile(str(path), "its record does not read.") from None
        verdict = self._keys.check(KIND, _signed(record), record.signature)
        if verdict is not Verdict.GOOD:
            raise MalformedFile(str(path), f"{_WORDS[verdict]}.")
        if record.ref != ref or record.source_digest != _digest(text):
            raise MalformedFile(str(path), "it is not what was signed.")
        try:
            fault = _unlike(record, check_source(text))
        except LLMOSError as error:
            fault = error.message
        if fault:
            raise MalformedFile(str(path), fault)
        return LoadedTool(record, text, Program.of(record.name, text))


def _unlike(record: GeneratedTool, checked: Checked) -> str:
    """What of the record is not true of the source; "" when all is."""
    if checked.name != record.name:
        return f"its function is called {checked.name}"
    if checked.parameters != {each.name: each.type for each in record.parameters}:
        return "its parameters are others"
    if not checked.tools <= record.tools.keys():
        return f"it calls {', '.join(sorted(checked.tools - record.tools.keys()))}"
    return ""


def _signed(record: GeneratedTool) -> bytes:
    content = record.model_dump(mode="json", exclude={"signature"})
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()


def _by_version(ref: str) -> tuple[str, int]:
    name, _, version = ref.rpartition("_")
    return name, int(version)


def _stamp(path: Path) -> str:
    try:
        facts = path.stat()
    except OSError:
        return "-"
    return f"{facts.st_mtime_ns}:{facts.st_size}:{facts.st_ino}"
