"""What devices did, as their followers' ``--record`` noted it: checked, and made into traces.

A line is a run. Its digest finds damage and edits, not forgers: a device signs nothing. So what
comes back is neither proved nor signed, and waits for a person, then for a watched run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from llmos_workers.contracts.base import Contract
from llmos_workers.contracts.errors import MalformedFile, ToolError
from llmos_workers.contracts.goal import MAX_GOAL_CHARS
from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import ExecutionTrace, Slot, TraceStep
from llmos_workers.kernel.clock import iso
from llmos_workers.kernel.paths import split_relative
from llmos_workers.learning.secrets import without_secrets
from llmos_workers.learning.signature import goal_signature

FORMAT = "llmos-edge-run"
MAX_BYTES = 64 * 1024 * 1024
MAX_RUNS = 10_000
MAX_LINE = 1024 * 1024
MAX_STEPS = 1_000
DEVICE = "device"
"""Stands in ``imported_from``, where the key of a pack stands for others."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Digests = dict[str, Sha256 | None]


class RunStep(Contract):
    """A call that a device made, with files as they were before and after it."""

    tool: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][\w.:-]{0,127}$")]
    arguments: dict[str, Any]
    exit_code: int | None
    reads: Digests
    writes: Digests
    output_sha256: Sha256


class BundleName(Contract):
    """Which bundle was followed."""

    project: str
    counter: int
    expires_at: int


class EdgeRun(Contract):
    """One goal of a device."""

    format: Literal["llmos-edge-run"]
    version: Literal[1]
    at: float = Field(ge=0, lt=1e11)
    seconds: float = Field(ge=0)
    ok: bool
    refused: str
    goal: Annotated[str, StringConstraints(min_length=1, max_length=MAX_GOAL_CHARS)]
    bundle: BundleName
    trace_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")] | None = None
    trace_version: int = 0
    slots: dict[str, str] = Field(default_factory=dict)
    model: str | None
    """The local model that filled in the slots; None: there was none; "": it has no name."""
    inputs: Digests = Field(default_factory=dict)
    steps: Annotated[tuple[RunStep, ...], Field(max_length=MAX_STEPS)]
    answer: str = ""
    sha256: Sha256


def read_runs(data: bytes, path: str = "runs") -> Sequence[EdgeRun]:
    """The runs of a recorded file. Raises MalformedFile, which names the line, unless all of them
    are whole, unchanged, and within what a device could have done.
    """
    if len(data) > MAX_BYTES:
        raise MalformedFile(path, f"a file of runs has at most {MAX_BYTES:,} bytes.")
    lines = data.split(b"\n")
    if len(lines) < 2:
        raise MalformedFile(path, "it holds no run.")
    if lines[-1]:
        raise MalformedFile(path, "the last line is cut off.", line=len(lines))
    if len(lines) - 1 > MAX_RUNS:
        raise MalformedFile(path, f"a file of runs has at most {MAX_RUNS:,} lines.")
    return [_run(line, path, number) for number, line in enumerate(lines[:-1], start=1)]


def _run(line: bytes, path: str, number: int) -> EdgeRun:
    if len(line) > MAX_LINE:
        raise MalformedFile(path, f"a run has at most {MAX_LINE:,} bytes.", line=number)
    try:
        found = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise MalformedFile(path, "the line is not JSON.", line=number) from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise MalformedFile(path, "the line is no run of a device.", line=number)
    if found.get("version") != 1:
        raise MalformedFile(path, f"its form {found.get('version')!r} is not known.", line=number)
    rest = {name: value for name, value in found.items() if name != "sha256"}
    if hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest() != found.get("sha256"):
        raise MalformedFile(path, "the run was changed after it was recorded.", line=number)
    try:
        json.dumps(found, ensure_ascii=False).encode()
        run = EdgeRun.model_validate(found)
        _check(run)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise MalformedFile(path, f"{where}: {first['msg']}.", line=number) from None
    except UnicodeError:
        raise MalformedFile(path, "it holds half of a surrogate pair.", line=number) from None
    except ToolError as error:
        raise MalformedFile(path, str(error), line=number) from None
    return run


def _no_number(text: str) -> None:
    raise ValueError(text)


def _check(run: EdgeRun) -> None:
    """Raise ToolError for a path that leads out of a project, and for a run that says it was done
    without having done anything.
    """
    for files in (run.inputs, *(step.reads | step.writes for step in run.steps)):
        for path in files:
            if ".." in split_relative(path) or re.search(r"[\x00-\x1f\x7f]", path):
                raise ToolError(f"the path {path!r} leads out of the project.")
    if run.ok and (run.trace_id is None or not run.steps or run.refused):
        raise ToolError("the run says that it was done, but not what ran.")


def trace_of(run: EdgeRun, project: str, known: ExecutionTrace | None) -> ExecutionTrace:
    """The trace of a run that was done, as it is stored here: not proved, signed by nobody.

    ``known`` is the trace that the device followed, where the project has it: slots are of the
    kind that they have there.
    """
    signature = goal_signature(run.goal)
    filler = "" if run.model is None else f", arguments by the model {run.model or '(no name)'}"
    steps = tuple(_step(step) for step in run.steps)
    outputs = {file.path: file for step in steps for file in step.writes}
    trace = ExecutionTrace(
        trace_id=signature,
        project=project,
        goal_signature=signature,
        goal_text=run.goal,
        slots=_slots(run, known),
        steps=steps,
        inputs=_files(run.inputs),
        outputs=tuple(outputs.values()),
        answer=run.answer,
        created_at=iso(run.at),
        learn_duration_s=run.seconds,
        proved=False,
        destructive=known is None or known.destructive,
        imported_from=DEVICE,
        error_notes=f"imported from a device that followed {run.trace_id}{filler}",
    )
    return without_secrets(trace, {})


def _slots(run: EdgeRun, known: ExecutionTrace | None) -> tuple[Slot, ...]:
    """Slots of the trace that was followed, with the values of this run."""
    old = known.slots if known else ()
    return tuple(
        slot.model_copy(update={"value": run.slots[slot.name]})
        for slot in old
        if run.slots.get(slot.name, "") and run.slots[slot.name] in run.goal
    )


def _step(step: RunStep) -> TraceStep:
    return TraceStep(
        call=ToolCall(name=step.tool, arguments=step.arguments),
        exit_code=step.exit_code,
        output_digest=step.output_sha256,
        reads=_files(step.reads),
        writes=_files(step.writes),
    )


def _files(digests: Digests) -> tuple[FileDigest, ...]:
    return tuple(FileDigest(path=path, digest=digest) for path, digest in digests.items())
