"""A virtual environment with nothing but celery and redis, and the plain app in it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

APP = Path(__file__).parents[1] / "support" / "plain_app.py"


def wanted() -> list[str]:
    """What is installed: the releases that the workers have.

    The extra is no luxury: Celery's Redis transport needs one more package, which it brings.
    """
    return [f"celery[redis]=={version('celery')}", f"redis=={version('redis')}"]


def bare_python(folder: Path) -> Path:
    """The interpreter of the environment in ``folder``, made anew unless its versions fit."""
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the suite's processes share the environment
        return _made(folder)


def _made(folder: Path) -> Path:
    python, stamp = folder / "bin" / "python", folder / "installed.json"
    have = json.dumps([sys.version, *wanted()])
    if stamp.is_file() and stamp.read_text() == have and python.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--disable-pip-version-check", *wanted()], check=True, timeout=100)
    stamp.write_text(have)
    return python


class PlainApp:
    """Runs commands of tests/support/plain_app.py, copied to where nothing of llmos is."""

    def __init__(self, python: Path, folder: Path, redis_url: str) -> None:
        self.python, self.folder = python, folder
        shutil.copy(APP, folder)
        self.env = {
            "PATH": os.environ["PATH"],
            "PLAIN_BROKER": f"{redis_url}/0",
            "PLAIN_BACKEND": f"{redis_url}/1",
        }

    def call(self, command: str, asked: Any) -> Any:
        """The command's answer; fails with its traceback."""
        ran = subprocess.run(
            [self.python, "plain_app.py", command],
            input=json.dumps(asked),
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    def run(self, **payload: Any) -> tuple[str, dict[str, Any]]:
        """One goal of that payload: (task id, outcome)."""
        ((task_id, outcome),) = self.call("run", [{"kwargs": payload}])
        return task_id, outcome

    def worker(self) -> subprocess.Popen[bytes]:
        """The app's own worker, on its own queues."""
        command = [self.python, "-m", "celery", "-A", "plain_app", "worker"]
        options = ["-Q", "plain,celery", "-P", "solo", "-l", "INFO", "--without-mingle"]
        with (self.folder / "worker.log").open("wb") as log:
            return subprocess.Popen(
                [*command, *options], cwd=self.folder, env=self.env, stdout=log, stderr=log
            )
