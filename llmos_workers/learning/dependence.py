"""What in a run depends on what: which results the model saw before it wrote the rest."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.contracts.tools import COMMAND_TOOLS
from llmos_workers.contracts.trace import TraceStep
from llmos_workers.kernel.paths import TEMPORARY_SUFFIX

READING_TOOLS = frozenset({"Read"})
"""Tools whose output is the content of the files they read, and nothing else."""


OPAQUE_TOOLS = COMMAND_TOOLS
"""Tools that may read files which their arguments do not name."""

VOLATILE_FOLDERS = frozenset(
    {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"}
)
"""Folders of caches that tools leave; no result, and never the same twice."""


_FILE_WORD = re.compile(r"(?<![\w./~$-])[\w-][\w./-]*\.[A-Za-z]\w{0,7}(?![\w./])")


def is_volatile(path: str) -> bool:
    """Whether a path is or lies in a folder of caches."""
    return bool(VOLATILE_FOLDERS & set(path.split("/")))


def without_caches(step: TraceStep) -> TraceStep:
    """The step without the caches it touched."""

    def kept(files: tuple[FileDigest, ...]) -> tuple[FileDigest, ...]:
        return tuple(f for f in files if not is_volatile(f.path))

    reads, writes = kept(step.reads), kept(step.writes)
    if reads == step.reads and writes == step.writes:
        return step
    return step.model_copy(update={"reads": reads, "writes": writes})


def succeeded(step: TraceStep) -> bool:
    """Whether a call did its work: by its own word, its exit code and what it returned."""
    return step.ok and step.exit_code in (None, 0) and not says_failure(step.output)


def says_failure(output: str) -> bool:
    """Whether a result is a JSON object that reports failure: ``{"success": false, ...}``."""
    text = output.strip()
    if not (text.startswith("{") and text.endswith("}")):
        return False
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(data, dict) and (data.get("success") is False or data.get("ok") is False)


def reveals(steps: Sequence[TraceStep], at: int) -> bool:
    """Whether a step told the model something that the calls before it had not said.

    A result without text says nothing, and reading back what the run itself wrote repeats it.
    """
    step = steps[at]
    if not step.informative or not step.output.strip():
        return False
    written = {file.path for earlier in steps[:at] for file in earlier.writes}
    own = bool(step.reads) and all(file.path in written for file in step.reads)
    return not (own and step.call.name in READING_TOOLS)


def written_after_seeing(steps: Sequence[TraceStep], at: int) -> bool:
    """Whether the model wrote arguments after it saw the step's result.

    Calls of one turn did not see each other's results.
    """
    seen_in = steps[at].turn
    return any(later.turn > seen_in and later.call.arguments for later in steps[at + 1 :])


def inputs_of(steps: Sequence[TraceStep]) -> tuple[FileDigest, ...]:
    """Files the run depended on, as they were before it: read, and not written by it before.

    A file that was looked for in vain is an input too (digest None), unless the run made it.
    """
    inputs: dict[str, FileDigest] = {}
    written: set[str] = set()
    missed: set[str] = set()
    for step in steps:
        for file in step.reads:
            if file.path not in written:
                inputs.setdefault(file.path, file)
        path = step.call.arguments.get("path")
        if step.call.name in READING_TOOLS and not succeeded(step) and isinstance(path, str):
            missed.add(posixpath.normpath(path))
        written.update(file.path for file in step.writes)
        if step.call.name in OPAQUE_TOOLS and not succeeded(step):
            missed.update(_files_in_words(_program_of(step)))
    there = {file.path for step in steps for file in (*step.reads, *step.writes)}
    for path in missed - written - there - set(inputs):
        inputs[path] = FileDigest(path=path, digest=None)
    return tuple(inputs[path] for path in sorted(inputs))


def outputs_of(steps: Sequence[TraceStep]) -> tuple[FileDigest, ...]:
    """Files the run left changed, as they were after it."""
    outputs = {file.path: file for step in steps for file in step.writes}
    return tuple(outputs[path] for path in sorted(outputs))


def _program_of(step: TraceStep) -> str:
    arguments = step.call.arguments
    return str(arguments.get("command") or arguments.get("code") or "")


def _files_in_words(command: str) -> set[str]:
    """What in a command looks like a file of the project."""
    words = (posixpath.normpath(word) for word in _FILE_WORD.findall(command))
    return {word for word in words if not word.startswith((".", "/"))}


def dropped_steps(transcript: Sequence[TraceStep], kept: Sequence[TraceStep]) -> list[int]:
    """Positions of the run's calls that its trace does not hold."""
    found, at = [], 0
    for number, step in enumerate(transcript):
        same = at < len(kept) and (step.turn, step.call.digest()) == (
            kept[at].turn,
            kept[at].call.digest(),
        )
        if same and succeeded(step):
            at += 1
        else:
            found.append(number)
    return found


def without_reads(step: TraceStep, paths: Collection[str]) -> TraceStep:
    """The step as if it had not read some files."""
    reads = tuple(file for file in step.reads if file.path not in paths)
    return step if reads == step.reads else step.model_copy(update={"reads": reads})


def listing_digest(area: Path, folder: str, own: Iterable[str]) -> FileDigest:
    """The names in a folder of an area, as one digest; ``folder`` ends with a slash.

    Left out are caches and ``own`` outputs with the folders that lead to them: they come and go
    with the trace itself. Digest None: there is no such folder. Does not descend.
    """
    lead = "" if folder == "./" else folder
    mine = {path[len(lead) :].split("/")[0] for path in own if path.startswith(lead)}
    try:
        names = sorted(os.listdir(area / folder))  # noqa: PTH208 - names are wanted
    except (FileNotFoundError, NotADirectoryError):
        return FileDigest(path=folder, digest=None)
    shown = [n for n in names if n not in mine and n not in VOLATILE_FOLDERS]
    text = "\0".join(n for n in shown if not n.endswith(TEMPORARY_SUFFIX))
    sha = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    return FileDigest(path=folder, digest=sha, size=len(shown))
