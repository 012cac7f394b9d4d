"""The server as a process: ``python -m llmos_workers.rehearsal``."""

from __future__ import annotations

import signal
import subprocess
import sys

import anthropic
import pytest

from llmos_workers.rehearsal.log import read_log
from tests.rehearsal.conftest import ask, client_of


@pytest.mark.process
def test_the_process_prints_its_url_serves_logs_and_ends(tmp_path):
    log, control = tmp_path / "served.jsonl", tmp_path / "faults"
    command = [sys.executable, "-m", "llmos_workers.rehearsal", "--log", str(log)]
    with subprocess.Popen(
        [*command, "--control", str(control)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            control.write_text("overloaded\n")
            with client_of(url) as client:
                with pytest.raises(anthropic.InternalServerError):
                    ask(client, "Create a Python calculator")
                assert ask(client, "Create a Python calculator").stop_reason == "tool_use"
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert [(e.status, e.fault) for e in read_log(log)] == [(529, "overloaded"), (200, "")]
