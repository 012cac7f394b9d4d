"""A fixture from a learned trace: ``llmos test --init``."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from llmos_workers.contracts.errors import InvalidOption, ToolError
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.kernel.workspace import digest_file, read_inside
from llmos_workers.learning.dependence import VOLATILE_FOLDERS
from llmos_workers.learning.trace_fields import without_counters
from llmos_workers.learning.trace_file import to_markdown
from llmos_workers.learning.trace_folder import slug
from llmos_workers.testing.trace_fixture import ExpectedFile, Fixture, MustMatch
from llmos_workers.testing.trace_run import Replayed, TraceTester

MAX_INPUT = 256 * 1024
"""Bytes of one input that a fixture takes up."""
MAX_CONTENT = 4_096
"""Bytes of an effect that stands in the fixture in full; of a larger one its digest does."""


def make_fixture(trace: ExecutionTrace, area: Path, tester: TraceTester) -> tuple[Fixture, str]:
    """A fixture that the trace passes, and the trace's file. ``area`` holds the inputs.

    Raises InvalidOption when the trace cannot be replayed, with the reason.
    """
    name = f"{slug(trace.goal_text)}.trace.md"
    given = _given(trace, area)
    bare = Fixture(traces=(name,), project=trace.project, given=given)
    cases = []
    for goal in (trace.goal_text, *trace.aliases):
        done = tester.replay(goal, bare, [trace])
        if done.why_not or done.decision is None:
            raise InvalidOption(f"trace {trace.trace_id} is not replayed here: {done.why_not}")
        cases.append(_case(goal, trace, done))
    shared = without_counters(trace).model_copy(update={"signature": ""})
    return bare.model_copy(update={"must_match": tuple(cases)}), to_markdown(shared)


def _case(goal: str, trace: ExecutionTrace, done: Replayed) -> MustMatch:
    decision = done.decision
    return MustMatch(
        goal=goal,
        trace=trace.trace_id,
        slots=decision.slots if decision else {},
        files={path: _expected(data) for path, data in sorted(done.files.items())},
        answer=done.answer if not trace.outputs else None,
    )


def _expected(data: bytes | None) -> ExpectedFile | None:
    if data is None:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = ""
    if text.encode() == data and len(data) <= MAX_CONTENT and text.isprintable() | ("\n" in text):
        return ExpectedFile(content=text)
    return ExpectedFile(sha256=hashlib.sha256(data).hexdigest())


def _given(trace: ExecutionTrace, area: Path) -> dict[str, str]:
    """The inputs as they are now: they must be what the trace was learned from."""
    given: dict[str, str] = {}
    own = {file.path for file in trace.outputs}
    for recorded in trace.inputs:
        if recorded.digest is None:
            continue
        if not recorded.path.endswith("/"):
            if digest_file(area, recorded.path).digest != recorded.digest:
                raise InvalidOption(
                    f"the input {recorded.path} is not what the trace was learned from.",
                    fix="Put it back, or let the trace heal first.",
                )
            given[recorded.path] = _text(area, recorded.path)
            continue
        folder = "" if recorded.path == "./" else recorded.path
        for entry in sorted(os.scandir(area / folder), key=lambda found: found.name):
            path = f"{folder}{entry.name}"
            if entry.is_file(follow_symlinks=False) and path not in own:
                given.setdefault(path, _text(area, path))
            elif entry.is_dir() and entry.name not in VOLATILE_FOLDERS:
                given.setdefault(f"{path}/.keep", "")
    return given


def _text(area: Path, path: str) -> str:
    try:
        data = read_inside(area, path, limit=MAX_INPUT + 1)
        text = data.decode()
    except (ToolError, UnicodeDecodeError) as error:
        raise InvalidOption(f"the input {path} cannot be put into a fixture: {error}") from None
    if len(data) > MAX_INPUT:
        raise InvalidOption(f"the input {path} is too large for a fixture ({MAX_INPUT:,} bytes).")
    return text
