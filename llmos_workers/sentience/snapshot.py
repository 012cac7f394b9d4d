"""``state/sentience.json``: internal state as a file for people, and back after a lost Redis."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmos_workers.contracts.state import SentienceState, ValenceVector
from llmos_workers.kernel import paths
from llmos_workers.kernel.workspace import make_folder

log = logging.getLogger(__name__)

MAX_BYTES = 16_384
"""A snapshot has under 1 kB; what is larger is not ours."""


class Snapshot(BaseModel):
    """What is taken over from the file. The latent mode is not: it follows from the values."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    valence: ValenceVector
    last_trigger: str = Field(default="", max_length=100)
    last_trigger_reason: str = Field(default="", max_length=1_000)
    update_count: int = Field(default=0, ge=0, lt=2**53)
    last_updated: str = Field(default="", max_length=40)

    def updated_at(self, *, default: float) -> float:
        """Unix time of the last update; ``default`` when the text is no time."""
        try:
            moment = datetime.fromisoformat(self.last_updated)
            return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
        except (ValueError, OverflowError):
            return default


def write_snapshot(path: Path, state: SentienceState) -> None:
    """Write the state in one step. Raises WorkspaceUnwritable."""
    text = state.model_dump_json(indent=2, exclude={"homeostatic_cost"})
    make_folder(path.parent)
    paths.write_inside(path.parent, path.name, f"{text}\n".encode())


def read_snapshot(path: Path) -> Snapshot | None:
    """The snapshot, or None with a warning when the file is there but cannot be used."""
    try:
        return Snapshot.model_validate_json(_read_small_file(path))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError, ValueError) as error:
        reason = str(error).splitlines()[0]
        log.warning("state snapshot %s is ignored: %s", path, reason)
        return None


def _read_small_file(path: Path) -> bytes:
    """Content of a regular file of bounded size; neither a pipe nor a link can hold us up."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        if not S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("not a regular file")
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES:,} bytes")
    return data
