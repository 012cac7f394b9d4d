"""The other side of bench.overhead: the same steps as bare two-hop Celery tasks, and no-ops."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path
from typing import Any

from celery import Task, shared_task


@shared_task(bind=True, name="bench.bare")
def bare(self: Task, folder: str, number: int) -> Any:
    """First hop: nothing but going on to the replay queue."""
    step = self.app.signature(
        "bench.bare_steps", kwargs={"folder": folder, "number": number}, queue="replay"
    )
    return self.replace(step)


@shared_task(name="bench.bare_steps")
def bare_steps(folder: str, number: int) -> dict[str, Any]:
    """Second hop: one write, one read, one shell command, as anyone would write them."""
    path = Path(folder) / f"report-{number}.txt"
    draft = path.with_suffix(f".{uuid.uuid4().hex}")
    draft.write_text("alpha\nbeta\ngamma\n", encoding="utf-8")
    draft.rename(path)
    text = path.read_text(encoding="utf-8")
    ran = subprocess.run(
        ["/bin/bash", "-c", f"wc -l {path.name}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return {"ok": True, "read": len(text), "output": ran.stdout}


@shared_task(bind=True, name="bench.noop")
def noop(self: Task) -> Any:
    """First hop of nothing."""
    return self.replace(self.app.signature("bench.noop_end", queue="replay"))


@shared_task(name="bench.noop_end")
def noop_end() -> dict[str, Any]:
    """Second hop of nothing."""
    return {"ok": True}
