"""The pytest plugin: lean for who does not use it, a whole llmos for who does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process


def test_having_it_installed_imports_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "test_user.py").write_text(
        "import sys\n"
        "def test_lean():\n"
        "    assert 'llmos_workers.testing.plugin' in sys.modules\n"
        "    heavy = {'celery', 'kombu', 'redis', 'anthropic', 'numpy', 'pydantic'}\n"
        "    assert not heavy & sys.modules.keys()\n"
    )
    run_pytest(tmp_path)


def test_a_user_s_test_runs_a_goal(tmp_path: Path) -> None:
    """As in the README: one fixture, one goal, one result."""
    (tmp_path / "test_user.py").write_text(
        "def test_goal(llmos, llmos_stack):\n"
        "    goal = llmos.submit('Write a haiku about rivers to rivers.txt')\n"
        "    outcome = goal.result(timeout=40)\n"
        "    assert str(outcome.status) == 'SUCCEEDED', outcome\n"
        "    assert sorted(llmos_stack.workers)[0].startswith('dispatch')\n"
    )
    run_pytest(tmp_path)


def run_pytest(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
