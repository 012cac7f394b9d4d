"""Waiting for one goal in the foreground, the same for submit, watch, result and interactive."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmos_cli.exits import Exit, exit_of, stopped
from llmos_cli.output import emit
from llmos_cli.progress import following
from llmos_cli.render import short, summary
from llmos_workers.client_connect import talking
from llmos_workers.client_wait import is_end
from llmos_workers.contracts.errors import NotFinished
from llmos_workers.contracts.events import GoalEvent, GoalEventKind
from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.outcome import Outcome

if TYPE_CHECKING:
    from llmos_workers.client import LLMOS
    from llmos_workers.client_handle import GoalHandle

PATIENCE_S = 3.0
"""How long nothing may be heard of a worker before the reason is looked for."""


def wait(
    client: LLMOS,
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
        outcome = follow(
            client, handle, title=title, timeout=timeout, after=after, quiet=quiet or as_json
        )
    except KeyboardInterrupt:
        return told_interrupted(handle.id, as_json=as_json)
    if outcome is None:
        return told_waiting(handle, as_json=as_json)
    tell(outcome, as_json=as_json)
    return exit_of(outcome)


def follow(
    client: LLMOS, handle: GoalHandle, *, title: str, timeout: float | None, after: str, quiet: bool
) -> Outcome | None:
    """The outcome; None when the goal waits for approval. Raises NotFinished after ``timeout``."""
    with following(f"{handle.id}  {short(title)}".rstrip(), quiet=quiet) as show:
        for event in _events(client, handle, after, timeout):
            show(event)
            if event.kind == GoalEventKind.STATE and waits_for_approval(handle, event.data):
                return None
    outcome = handle.outcome()
    if outcome is None:
        raise NotFinished(
            f"goal {handle.id} is not finished after {timeout or 0:g} s; it goes on.",
            fix=f"{_unattended(client, handle)}Re-join it: llmos watch {handle.id}",
        )
    return outcome


def _events(
    client: LLMOS, handle: GoalHandle, after: str, timeout: float | None
) -> Iterator[GoalEvent]:
    """The goal's events; a notice when nothing is heard and no worker is up."""
    began, seen = time.monotonic(), 0
    first = PATIENCE_S if timeout is None else min(timeout, PATIENCE_S)
    for event in handle.events(after, first):
        yield event
        after, seen = event.event_id, seen + 1
        if is_end(event):
            return
    if seen <= 1 and (words := _unattended(client, handle)):
        data = {"message": words.strip()}
        kind = GoalEventKind.NOTICE
        yield GoalEvent(event_id=after, goal_id=handle.id, kind=kind, at=0.0, data=data)
    yield from handle.events(after, remaining(timeout, began))


def _unattended(client: LLMOS, handle: GoalHandle) -> str:
    """What to say of a goal that no worker is there to take; else nothing."""
    return no_worker(client) if handle.status() is GoalState.ACCEPTED else ""


def no_worker(client: LLMOS) -> str:
    """What to say when no worker is up that takes new goals; else nothing."""
    from llmos_workers.kernel.workers import is_served

    with talking(client.place, "looking for workers"):
        if is_served(client.redis, "dispatch"):
            return ""
    return "No dispatch worker is up: start llmos up, or llmos worker ROLE for each role. "


@contextmanager
def asking(client: LLMOS) -> Iterator[None]:
    """Ask the workers something; when they do not answer in time, say whether any is up."""
    try:
        yield
    except NotFinished as error:
        error.fix = f"{no_worker(client)}{error.fix}"
        raise


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
