"""The bench of the fleet runs on real workers and ends in the line of JSON it promises."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.process
def test_the_last_line_holds_the_promised_figures():
    ran = subprocess.run(
        [sys.executable, "-m", "bench.fleet", "--rounds", "1", "--goals", "8"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    figures = json.loads(ran.stdout.splitlines()[-1])
    assert figures["scaling_1_2"] == pytest.approx(
        figures["goals_per_s_2"] / figures["goals_per_s_1"], 1e-2
    )
    # Bounds that only a blunder breaks: the figures themselves are in docs/benchmarks.md.
    assert 10 < figures["redis_calls_ours_per_goal"] < figures["redis_commands_ours_per_goal"] < 250
    assert 1_000 < figures["redis_bytes_per_finished_goal"] < 20_000
    assert 10 < figures["peak_rss_mb"] < 2_000
