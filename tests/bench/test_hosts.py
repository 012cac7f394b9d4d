"""Several hosts, and links that are cut: a run of bench.hosts holds every guarantee."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from bench.hosts_parts.network import missing


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(900)
def test_no_guarantee_breaks_while_links_are_cut_and_heal() -> None:
    """Workers and submitter have the rights of their roles in deploy/, and are refused nothing."""
    if why := missing():
        pytest.skip(why)
    argv = [sys.executable, "-m", "bench.hosts"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True) as run:
        try:
            said, _ = run.communicate(timeout=840)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)  # the hosts and all on them die with it
            raise
    figures = json.loads(said.splitlines()[-1])
    assert run.returncode == 0, said
    assert figures["cuts"] == 3
    assert figures["taken_over"] >= 3
    broken = ("lost", "paid_twice", "late_publishes", "audit_faults", "refused_by_broker")
    assert {name: figures[name] for name in broken} == dict.fromkeys(broken, 0)
    assert figures["overspent_microdollars"] == 0
