"""Goals that other apps send in messages of their own, signed for one project.

Who can write to a queue is not yet somebody who may ask for work. With ``security.app_goals =
"signed"`` a message that carries its goal is taken only if a key signed it that is trusted for
the goal's project: ``state/keys/apps/<project>/trusted/`` (kernel/signing says how keys are kept).
What is signed names the task, its id and an end, so that no message passes for another one: a
second one with the same id gives the first one's outcome, and an old one is over. docs/payload.md
is the prose.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmos_workers.contracts.errors import PayloadError
from llmos_workers.contracts.goal import check_project_name
from llmos_workers.kernel.signing import KeyRing, Verdict

KIND = "app-goal"
FIELD = "seal"
"""Of the payload: ``{"expires": Unix time, "signature": "ed25519:<key id>:<base64>"}``."""

_FAULTS = {
    Verdict.MISSING: "it is not signed",
    Verdict.WRONG: "its signature is not of this message",
    Verdict.UNKNOWN_KEY: "its key is not trusted for this project",
}


def app_keys(keys: Path, project: str) -> KeyRing:
    """The keys whose signatures count for a project's goals. ``keys``: the workspace's folder of
    keys. Raises InvalidOption for what is no project's name.
    """
    return KeyRing(keys / "apps" / check_project_name(project))


def apps_of(keys: Path) -> list[str]:
    """Projects that apps are trusted for, by name."""
    return sorted(found.parent.name for found in (keys / "apps").glob("*/trusted"))


def sealed_bytes(task: str, task_id: str, expires: float, payload: Mapping[str, Any]) -> bytes:
    """What is signed: canonical JSON of the message. Raises PayloadError for what is no JSON."""
    fields = {name: value for name, value in payload.items() if name != FIELD}
    content = {"expires": expires, "fields": fields, "id": task_id, "task": task}
    try:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PayloadError(f"the fields are no plain JSON: {error}.") from None
    return text.encode()


def check_seal(
    keys: Path, task: str, task_id: str, payload: Mapping[str, Any], *, latest: float
) -> float:
    """When the message expires (Unix seconds, ``latest`` at most). Raises PayloadError unless an
    app signed it that is trusted for its project; InvalidOption for a wrong project.
    """
    seal = payload.get(FIELD)
    seal = seal if isinstance(seal, dict) else {}
    expires, signature = seal.get("expires"), seal.get("signature")
    if not isinstance(expires, int | float) or not math.isfinite(expires) or expires > latest:
        verdict = Verdict.WRONG if seal else Verdict.MISSING
    else:
        ring = app_keys(keys, str(payload.get("project", "default")))
        content = sealed_bytes(task, task_id, expires, payload)
        verdict = ring.check(KIND, content, str(signature or ""))
    if verdict is not Verdict.GOOD or not isinstance(expires, int | float):
        raise PayloadError(
            f"this goal is refused: {_FAULTS.get(verdict, verdict.value)}.",
            fix="Here apps sign the goals that they send; see docs/payload.md.",
        )
    return float(expires)
