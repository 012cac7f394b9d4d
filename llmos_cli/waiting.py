"""Waiting for one goal in the foreground, the same for submit, watch, result and interactive."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from llmos_cli.exits import Exit, exit_of, stopped
from llmos_cli.output import emit
from llmos_cli.progress import progress
from llmos_cli.render import short, summary
from llmos_workers.contracts.errors import NotFinished
from llmos_workers.contracts.events import GoalEventKind
from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.outcome import Outcome

if TYPE_CHECKING:
    from llmos_workers.client_handle import GoalHandle


def wait(
    handle: GoalHandle,
    *,
    title: str = "",
    as_json: bool = False,
    timeout: float | None = None,
    after: str = "0-0",
    quiet: bool = False,
) -> int:
    """Follow the goal, show it and its outcome; the exit code. Raises BrokerUnavailable."""
    try:
        outcome = follow(handle, title=title, timeout=timeout, after=after, quiet=quiet or as_json)
    except KeyboardInterrupt:
        return told_interrupted(handle.id, as_json=as_json)
    if outcome is None:
        return told_waiting(handle, as_json=as_json)
    tell(outcome, as_json=as_json)
    return exit_of(outcome)


def follow(
    handle: GoalHandle, *, title: str, timeout: float | None, after: str, quiet: bool
) -> Outcome | None:
    """The outcome; None when the goal waits for approval. Raises NotFinished after ``timeout``."""
    with progress(f"{handle.id}  {short(title)}".rstrip(), quiet=quiet) as shown:
        for event in handle.events(after, timeout):
            shown.show(event)
            if event.kind == GoalEventKind.STATE and waits_for_approval(handle, event.data):
                return None
    outcome = handle.outcome()
    if outcome is None:
        raise NotFinished(
            f"goal {handle.id} is not finished after {timeout or 0:g} s; it goes on.",
            fix=f"Re-join it: llmos watch {handle.id}",
        )
    return outcome


def waits_for_approval(handle: GoalHandle, data: dict[str, object]) -> bool:
    """Whether a state event is about waiting for approval, and that still is the state."""
    waiting = GoalState.WAITING_APPROVAL
    return data.get("state") == waiting and handle.status() is waiting


def tell(outcome: Outcome, *, as_json: bool) -> None:
    """Print an outcome."""
    if as_json:
        emit(outcome)
    else:
        print("\n".join(summary(outcome)), flush=True)


def told_waiting(handle: GoalHandle, *, as_json: bool) -> int:
    """Say that a person has to approve before the goal goes on."""
    if as_json:
        emit({"goal_id": handle.id, "status": GoalState.WAITING_APPROVAL.value})
    else:
        print(
            f"goal {handle.id} waits for approval; it holds no worker meanwhile.\n"
            f"fix: See what it asks with llmos approvals --goal {handle.id}, then llmos approve or "
            f"llmos deny; or stop it: llmos cancel {handle.id}",
            file=sys.stderr,
        )
    return Exit.WAITING_APPROVAL


def told_interrupted(goal_id: str, *, as_json: bool) -> int:
    """Say what Ctrl-C did not do."""
    what = f"the wait is over, goal {goal_id} goes on."
    if as_json:
        return stopped(Exit.INTERRUPTED, what, as_json=True)
    print(
        f"\ninterrupted: {what}\n"
        f"  re-join it:  llmos watch {goal_id}\n"
        f"  stop it:     llmos cancel {goal_id}",
        file=sys.stderr,
    )
    return Exit.INTERRUPTED


def remaining(timeout: float | None, started: float) -> float | None:
    """What is left of a timeout that began at the steady time ``started``."""
    return None if timeout is None else max(0.0, timeout - (time.monotonic() - started))
