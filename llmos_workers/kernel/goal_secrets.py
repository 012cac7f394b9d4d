"""A goal's text holds no secrets: it is kept, sent to a model, learned from and shown to people.

A goal that holds one is refused rather than blanked: with a hole in it, it would be another goal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from llmos_workers.contracts.errors import InvalidGoal
from llmos_workers.kernel.redact import MARK, shared
from llmos_workers.kernel.secrets import REFERENCE

WHERE_TO = (
    "Put it into a file of the project, such as .env, and name the variable instead: commands can "
    "read it there, and the model is shown its name only."
)


def refuse_secrets(text: str, metadata: Mapping[str, object]) -> None:
    """Raise InvalidGoal, which says the secret's name and not its value, when one is there."""
    for what, said in (("the goal", text), ("the goal's metadata", _words(metadata))):
        clean = shared().redact(said)
        if clean != said:
            raise InvalidGoal(f"{what} holds a secret ({_names(clean)}).", fix=WHERE_TO)


def _words(metadata: Mapping[str, object]) -> str:
    return json.dumps(metadata, ensure_ascii=False) if metadata else ""


def _names(clean: str) -> str:
    names = [found.removeprefix("«secret:").rstrip("»") for found in REFERENCE.findall(clean)]
    return ", ".join(dict.fromkeys(names)) or MARK
