"""The bench of submitting runs and ends in the line of JSON it promises."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.process
def test_the_last_line_holds_the_promised_figures():
    ran = subprocess.run(
        [sys.executable, "-m", "bench.submit", "--rounds", "1"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    figures = json.loads(ran.stdout.splitlines()[-1])
    assert figures["ratio"] == pytest.approx(figures["submit_ms"] / figures["send_task_ms"], 1e-3)
    assert figures["rounds"] == 1
