"""What is off costs nothing, and what is missing is said."""

from __future__ import annotations

import subprocess
import sys

OFF = """
import sys
from llmos_workers import LLMOS
from llmos_workers.kernel import telemetry
LLMOS()
with telemetry.span("x"):
    pass
ours = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "llmos_workers.kernel.telemetry_")
print([name for name in sys.modules if name.startswith(ours)])
"""

MISSING = """
import sys
sys.modules["opentelemetry.sdk.trace"] = None
from llmos_workers import LLMOS
from llmos_workers.contracts.errors import ConfigError
try:
    LLMOS()
except ConfigError as error:
    print(error)
"""


def said(script: str, tmp_path, **env: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_off_nothing_that_traces_is_imported(tmp_path):
    assert said(OFF, tmp_path, PYTHONPATH=":".join(sys.path)) == "[]\n"


def test_without_the_extra_it_says_what_to_install(tmp_path):
    told = said(
        MISSING, tmp_path, PYTHONPATH=":".join(sys.path), LLMOS_TELEMETRY__ENABLED="true"
    )  # fmt: skip
    assert "llmos-workers[otel]" in told
