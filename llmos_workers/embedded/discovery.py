"""The runtime file: how ``llmos submit`` in another shell finds a running ``llmos up``.

``<workspace>/state/embedded.json``, mode 0600 because it holds the password of the private
server. A file whose process is gone counts as absent: a pid alone could have been given to
another process since, so the process's start time is kept beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path

from llmos_workers.config import LLMOSConfig
from llmos_workers.kernel.redis import DEFAULT_URL

FILE = Path("state") / "embedded.json"


@dataclass(frozen=True)
class Runtime:
    """A running embedded stack."""

    redis_url: str
    """Base URL with password, without a database."""
    pid: int
    """Of the process that owns the stack."""
    started: str
    """Start time of that process, as its system words it; compared, never parsed."""
    server_pid: int | None = None
    workers: dict[str, int] = field(default_factory=dict)
    """Worker name -> pid."""
    model_url: str | None = None
    """Base URL of the rehearsal model, when the stack started one."""


def write(workspace: Path, runtime: Runtime) -> Path:
    """Write the file in one step, mode 0600; where it is."""
    path = workspace / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    draft_file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(draft_file, "w", encoding="utf-8") as out:
        json.dump(asdict(runtime), out, indent=1)
    draft.replace(path)
    return path


def read(workspace: Path) -> Runtime | None:
    """The stack running on this workspace, or None: none was started, or it is gone."""
    try:
        data = json.loads((workspace / FILE).read_text(encoding="utf-8"))
        runtime = Runtime(**data)
    except (OSError, ValueError, TypeError):
        return None
    return runtime if process_started(runtime.pid) == runtime.started else None


def remove(workspace: Path, *, pid: int | None = None) -> None:
    """Delete the file; with ``pid`` only when it names that process."""
    current = read(workspace)
    if pid is None or current is None or current.pid == pid:
        (workspace / FILE).unlink(missing_ok=True)


def find_embedded(workspace: Path) -> str | None:
    """Base URL of the workspace's running stack, password included; None when none is up."""
    runtime = read(workspace)
    return runtime.redis_url if runtime else None


def redis_url_for(config: LLMOSConfig) -> str:
    """Base URL to use: configured, else of the workspace's running stack, else the default."""
    if config.redis.url:
        return config.redis.url
    return find_embedded(config.workspace) or DEFAULT_URL


def process_started(pid: int) -> str:
    """When the process began, in the system's own words; empty when there is none."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return "" if Path("/proc/self/stat").exists() else _started_by_ps(pid)
    return "" if fields[0] in "ZX" else f"{fields[19]} {_boot_id()}".strip()


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _started_by_ps(pid: int) -> str:
    """For systems without /proc (macOS)."""
    asked = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip()
