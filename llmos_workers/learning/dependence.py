"""What in a run depends on what: which results the model saw before it wrote the rest. Pure."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence

from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.contracts.trace import TraceStep

READING_TOOLS = frozenset({"Read"})
"""Tools whose output is the content of the files they read, and nothing else."""


VOLATILE_FOLDERS = frozenset(
    {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"}
)
"""Folders of caches that tools leave; no result, and never the same twice."""


def without_caches(step: TraceStep) -> TraceStep:
    """The step without the caches it touched."""

    def kept(files: tuple[FileDigest, ...]) -> tuple[FileDigest, ...]:
        return tuple(f for f in files if not VOLATILE_FOLDERS & set(f.path.split("/")))

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
    for path in missed - written - set(inputs):
        inputs[path] = FileDigest(path=path, digest=None)
    return tuple(inputs[path] for path in sorted(inputs))


def outputs_of(steps: Sequence[TraceStep]) -> tuple[FileDigest, ...]:
    """Files the run left changed, as they were after it."""
    outputs = {file.path: file for step in steps for file in step.writes}
    return tuple(outputs[path] for path in sorted(outputs))
