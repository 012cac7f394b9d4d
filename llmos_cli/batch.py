"""``llmos submit --file``: many goals in pipelines, each line standing for itself."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from llmos_cli.exits import Exit, as_data, exit_of, worst
from llmos_cli.output import data_of, emit, say
from llmos_cli.render import figures, printable
from llmos_cli.waiting import remaining, told_waiting, waits_for_approval
from llmos_workers.contracts.errors import (
    InfrastructureError,
    InvalidGoal,
    LLMOSError,
    NotFinished,
)
from llmos_workers.contracts.events import GoalEventKind

if TYPE_CHECKING:
    from llmos_workers.client import LLMOS
    from llmos_workers.client_handle import GoalHandle

Numbered = list[tuple[int, "GoalHandle"]]


def submit_file(
    client: LLMOS,
    file: BinaryIO,
    options: dict[str, Any],
    *,
    waits: bool,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Submit all lines, tell what became of each, and return the worst exit code."""
    started = time.monotonic()
    handles: Numbered = []
    codes: list[int] = []
    numbers: list[int] = []
    common = {name: value for name, value in options.items() if value not in (None, False)}
    try:
        for result in client.submit_each(_lines(file, numbers), **common):
            number = numbers[len(handles) + len(codes)]
            if isinstance(result, LLMOSError):
                codes.append(_tell_error(number, result, as_json=as_json))
                continue
            handles.append((number, result))
            if not waits:
                accepted = {"line": number, "goal_id": result.id, "status": "ACCEPTED"}
                say(accepted, result.id, as_json=as_json)
    except InfrastructureError as error:
        codes.append(_tell_break(error, len(handles), numbers, len(codes), as_json=as_json))
    if waits:
        codes += _wait_all(handles, timeout, started, as_json=as_json)
    return worst(codes)


def _lines(file: BinaryIO, numbers: list[int]) -> Iterator[Any]:
    """Each line's goal, or the error that stands in its place; blank lines are passed over."""
    for number, raw in enumerate(file, 1):
        if not raw.strip():
            continue
        numbers.append(number)
        try:
            yield json.loads(raw.decode("utf-8"))
        except ValueError as error:
            yield InvalidGoal(f"not a line of JSON: {error}.", fix='Write {"goal": "…"} or "…".')


def _tell_error(number: int, error: LLMOSError, *, as_json: bool) -> int:
    if as_json:
        emit({"line": number} | as_data(error))
    else:
        print(f"line {number}: error: {printable(str(error))}", file=sys.stderr, flush=True)
    return error.exit_code


def _tell_break(
    error: LLMOSError, submitted: int, numbers: list[int], wrong: int, *, as_json: bool
) -> int:
    """Redis went away between lines: say from which on."""
    done = submitted + wrong
    number = numbers[done] if done < len(numbers) else 0
    message = (
        f"{error.message} {submitted} goals were submitted before; line {number} and what "
        "follows may not be."
    )
    fix = f"{error.fix} Then submit the file from line {number} on; lines with an idempotency key "
    fix += "can safely be sent again."
    return _tell_error(number, type(error)(message, fix=fix), as_json=as_json)


def _wait_all(
    handles: Numbered, timeout: float | None, started: float, *, as_json: bool
) -> list[int]:
    codes: list[int] = []
    for number, handle in handles:
        try:
            codes.append(_wait_one(number, handle, remaining(timeout, started), as_json=as_json))
        except (NotFinished, InfrastructureError) as error:
            codes.append(_tell_error(number, error, as_json=as_json))
            if isinstance(error, InfrastructureError):
                break
        except KeyboardInterrupt:
            left = len(handles) - len(codes)
            print(f"\ninterrupted: {left} goals go on; see llmos list.", file=sys.stderr)
            return [*codes, Exit.INTERRUPTED]
    return codes


def _wait_one(number: int, handle: GoalHandle, timeout: float | None, *, as_json: bool) -> int:
    if handle.outcome() is None:
        for event in handle.events(timeout=timeout):
            if event.kind == GoalEventKind.STATE and waits_for_approval(handle, event.data):
                return told_waiting(handle, as_json=as_json)
    outcome = handle.result(0)
    if as_json:
        emit({"line": number} | data_of(outcome))
    else:
        print(f"{number}  {handle.id}  {figures(outcome)}", flush=True)
        if outcome.error is not None:
            error = outcome.error
            words = printable(f"{error.message} {error.fix}".strip())
            print(f"line {number}: error: {words}", file=sys.stderr, flush=True)
    return exit_of(outcome)
