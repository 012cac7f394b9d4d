"""The message another app sends: ``send_task("llmos.goal", kwargs={...}, queue="dispatch")``.

Plain JSON, versioned, unknown fields refused. docs/payload.md is the contract's prose.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from llmos_workers.contracts.base import usd_to_micro
from llmos_workers.contracts.errors import InvalidOption, PayloadError
from llmos_workers.contracts.goal import (
    IDEMPOTENCY_KEY,
    MAX_METADATA_BYTES,
    PAYLOAD_VERSION,
    GoalOptions,
    check_concurrency_key,
    check_goal_text,
    check_project_name,
)
from llmos_workers.contracts.modes import RequestedMode

FIELDS = frozenset(
    {
        "v", "goal", "project", "mode", "agent", "budget_usd", "idempotency_key",
        "concurrency_key", "metadata", "priority", "deadline", "dry_run", "approve_plan",
        "plan_only", "traceparent", "seal",
    }
)  # fmt: skip


def make_options(
    *,
    project: object = "default",
    mode: object = "AUTO",
    agent: object = None,
    budget_usd: object = None,
    idempotency_key: object = None,
    concurrency_key: object = None,
    metadata: object = None,
    priority: object = 2,
    deadline: object = None,
    dry_run: object = False,
    approve_plan: object = False,
    plan_only: object = False,
) -> GoalOptions:
    """Check every option of a goal by hand-written rules with words for people.

    ``deadline`` is a Unix time in seconds. Raises InvalidOption.
    """
    if agent is not None and (not isinstance(agent, str) or not agent):
        raise InvalidOption(f"agent must be a name, not {agent!r}.")
    if isinstance(priority, bool) or priority not in (1, 2, 3):
        raise InvalidOption(f"priority must be 1 (first), 2 or 3 (last), not {priority!r}.")
    flags = {"dry_run": dry_run, "approve_plan": approve_plan, "plan_only": plan_only}
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise InvalidOption(f"{name} must be true or false, not {flag!r}.")
    return GoalOptions(
        project=check_project_name(project),
        mode=mode if isinstance(mode, RequestedMode) else RequestedMode.parse(str(mode)),
        agent=agent,
        budget_micro=None if budget_usd is None else usd_to_micro(budget_usd, what="budget"),
        idempotency_key=_check_key(idempotency_key),
        concurrency_key=None if concurrency_key is None else check_concurrency_key(concurrency_key),
        metadata=_check_metadata(metadata),
        priority=int(str(priority)),
        deadline=_check_deadline(deadline),
        dry_run=bool(dry_run),
        approve_plan=bool(approve_plan),
        plan_only=bool(plan_only),
    )


def _check_key(key: object) -> str | None:
    if key is None:
        return None
    if not isinstance(key, str) or not IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidOption(
            f"idempotency key {key!r} is not allowed.", fix="Use 1-200 printable ASCII characters."
        )
    return key


def _check_metadata(metadata: object) -> dict[str, Any]:
    if metadata is None:
        return {}
    if not isinstance(metadata, dict) or not all(isinstance(k, str) for k in metadata):
        raise InvalidOption("metadata must be a mapping with text keys.")
    try:
        size = len(json.dumps(metadata, allow_nan=False).encode())
    except (TypeError, ValueError) as error:
        raise InvalidOption(f"metadata must be plain JSON: {error}.") from None
    if size > MAX_METADATA_BYTES:
        raise InvalidOption(f"metadata has {size:,} bytes; at most {MAX_METADATA_BYTES:,}.")
    return metadata


def _check_deadline(deadline: object) -> float | None:
    if deadline is None:
        return None
    if isinstance(deadline, bool) or not isinstance(deadline, int | float):
        raise InvalidOption(f"deadline must be a Unix time in seconds, not {deadline!r}.")
    if not math.isfinite(deadline) or deadline <= 0:
        raise InvalidOption(f"deadline must be a finite Unix time in seconds, not {deadline!r}.")
    return float(deadline)


def parse_payload(
    payload: dict[str, Any], args: Sequence[object] = ()
) -> tuple[str, GoalOptions, str | None]:
    """Read the kwargs of a plain app's ``llmos.goal``: (text, options, traceparent).

    Raises PayloadError, InvalidGoal or InvalidOption with words for the sender; also for any
    positional ``args``, which a chain or chord puts before the kwargs.
    """
    if args:
        raise PayloadError(
            "llmos.goal takes its fields by name, not as positional arguments.",
            fix="Send kwargs={'goal': '...'}; in a chain or as a chord's body, make the "
            "signature immutable.",
        )
    unknown = sorted(set(payload) - FIELDS)
    if unknown:
        raise PayloadError(
            f"unknown field{'s' if len(unknown) > 1 else ''} {', '.join(map(repr, unknown))}.",
            fix=f"Known fields of version {PAYLOAD_VERSION}: {', '.join(sorted(FIELDS))}.",
        )
    version = payload.get("v", PAYLOAD_VERSION)
    if version != PAYLOAD_VERSION:
        raise PayloadError(
            f"payload version {version!r} is not known here.",
            fix=f"This worker speaks version {PAYLOAD_VERSION}; upgrade it or the sender.",
        )
    if "goal" not in payload:
        raise PayloadError("the field 'goal' is missing.", fix="Send kwargs={'goal': '...'}.")
    traceparent = payload.get("traceparent")
    if traceparent is not None and not isinstance(traceparent, str):
        raise PayloadError("traceparent must be text (W3C trace context).")
    options = {k: v for k, v in payload.items() if k not in ("v", "goal", "traceparent", "seal")}
    return check_goal_text(payload["goal"]), make_options(**options), traceparent
