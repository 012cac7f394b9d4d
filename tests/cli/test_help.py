"""Help: nothing is loaded to show it, and what was probably meant is said."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.cli.conftest import Run

PROBE = """
import json, sys
from llmos_cli.main import main
code = main(["--help"])
sys.stderr.write(json.dumps(sorted(sys.modules)))
sys.exit(code)
"""


def test_the_first_help_loads_no_command_and_nothing_heavy() -> None:
    ran = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    loaded = {name for name in json.loads(ran.stderr) if name.startswith("llmos")}
    assert not {"redis", "pydantic", "celery", "rich"} & set(json.loads(ran.stderr))
    assert loaded <= {
        "llmos_cli", "llmos_cli.commands", "llmos_cli.context", "llmos_cli.exits",
        "llmos_cli.groups", "llmos_cli.lean", "llmos_cli.main", "llmos_cli.options",
        "llmos_cli.wording",
        "llmos_workers", "llmos_workers.contracts", "llmos_workers.contracts.errors",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("lsit", "'list'"), ("run", "'submit'"), ("submti", "'submit'"), ("kill", "'cancel'")],
)
def test_what_was_probably_meant_is_said(bare_run: Run, typed: str, meant: str) -> None:
    ran = bare_run(typed, "x")
    assert (ran.code, ran.out) == (2, "")
    assert f"Did you mean {meant}" in ran.err
    assert "llmos --help" in ran.err


def test_sub_commands_and_options_too(bare_run: Run) -> None:
    assert "Did you mean 'show'" in bare_run("traces", "shwo").err
    assert "llmos traces --help" in bare_run("traces", "shwo").err
    assert "Did you mean '--project'" in bare_run("list", "--projcet", "x").err
    nothing: Any = bare_run("xyzzy")
    assert (nothing.code, "Did you mean" in nothing.err) == (2, False)
