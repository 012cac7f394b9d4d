"""What the command line returns, and how it words errors."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterable
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from llmos_workers.contracts import errors

if TYPE_CHECKING:
    from llmos_workers.contracts.outcome import Outcome


class Exit(IntEnum):
    """Exit codes of every command. docs/cli.md lists them."""

    SUCCEEDED = 0
    FAILED = 1
    USAGE = 2
    REJECTED = 3
    WAITING_APPROVAL = 4
    CANCELLED = 5
    INFRASTRUCTURE = 6
    PARTIAL = 7
    NOT_FINISHED = 8
    INTERRUPTED = 130


MEANING = {
    Exit.SUCCEEDED: "the goal succeeded; the command did its work",
    Exit.FAILED: "the goal failed; a check found something; what is stored cannot be read",
    Exit.USAGE: "the request cannot be understood: goal, option, id or setting",
    Exit.REJECTED: "rejected by a budget or a policy; nothing ran",
    Exit.WAITING_APPROVAL: "the goal waits for a person's approval",
    Exit.CANCELLED: "the goal was cancelled; or you said no when a command asked",
    Exit.INFRASTRUCTURE: "a part of the machine is missing: Redis, index, workspace, sandbox",
    Exit.PARTIAL: "the goal succeeded in part",
    Exit.NOT_FINISHED: "the goal is not finished yet (--timeout, result without --wait)",
    Exit.INTERRUPTED: "interrupted with Ctrl-C; a submitted goal goes on",
}

BY_STATUS = {
    "SUCCEEDED": Exit.SUCCEEDED,
    "PARTIAL": Exit.PARTIAL,
    "CANCELLED": Exit.CANCELLED,
    "REJECTED": Exit.REJECTED,
}

BEST_TO_WORST = (
    Exit.SUCCEEDED,
    Exit.PARTIAL,
    Exit.WAITING_APPROVAL,
    Exit.NOT_FINISHED,
    Exit.CANCELLED,
    Exit.REJECTED,
    Exit.USAGE,
    Exit.FAILED,
    Exit.INFRASTRUCTURE,
)


def exit_of(outcome: Outcome) -> int:
    """The exit code of a finished goal: what its error stands for, else its status."""
    if outcome.error is not None and outcome.status in ("FAILED", "REJECTED", "DEAD"):
        kind = getattr(errors, outcome.error.kind, None)
        if isinstance(kind, type) and issubclass(kind, errors.LLMOSError):
            return int(kind.exit_code)
    return int(BY_STATUS.get(outcome.status, Exit.FAILED))


def worst(codes: Iterable[int]) -> int:
    """The worst of several exit codes; 0 for none."""
    return max(codes, key=_badness, default=0)


def _badness(code: int) -> int:
    return BEST_TO_WORST.index(Exit(code)) if code in BEST_TO_WORST else len(BEST_TO_WORST)


def as_data(error: errors.LLMOSError) -> dict[str, Any]:
    """An error as JSON."""
    return {
        "error": {"kind": type(error).__name__, "message": error.message, "fix": error.fix},
        "exit_code": error.exit_code,
    }


def stopped(code: Exit, message: str, *, as_json: bool) -> int:
    """Tell that a person ended the command; returns the exit code."""
    if as_json:
        error = {"kind": code.name.title(), "message": message, "fix": ""}
        print(json.dumps({"error": error, "exit_code": code}), file=sys.stderr)
    else:
        print(message, file=sys.stderr)
    return code


def report(error: errors.LLMOSError, *, as_json: bool) -> int:
    """Tell the user; returns the exit code."""
    from llmos_cli.render import printable

    if as_json:
        print(json.dumps(as_data(error), ensure_ascii=False), file=sys.stderr)
    else:
        print(f"error: {printable(error.message)}", file=sys.stderr)
        if error.fix:
            print(f"fix: {printable(error.fix)}", file=sys.stderr)
    if os.environ.get("LLMOS_DEBUG"):
        traceback.print_exception(error)
    return error.exit_code
