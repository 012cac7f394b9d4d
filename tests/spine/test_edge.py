"""What a fleet learned is followed on a device, from the very bundle that the command writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from llmos_cli.main import main
from llmos_workers.client import LLMOS
from llmos_workers.embedded.local import LocalSystem

TIMEOUT = 60


def test_a_device_repeats_what_the_fleet_learned(  # noqa: PLR0917 - fixtures
    llmos: LLMOS,
    system: LocalSystem,
    project: str,
    output: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (output / "names.txt").write_text("b\nc\na\n")
    goal = "Copy names.txt to kept.txt"
    for text in (goal, "Write a README for the project Atlas"):
        assert llmos.submit(text, project=project).result(TIMEOUT).status == "SUCCEEDED"
    options = [
        "--workspace",
        str(system.config.workspace),
        "--redis-url",
        str(system.config.redis.url),
    ]
    bundle = tmp_path / "bundle.llmos"
    export = [
        "edge",
        "export",
        "--project",
        project,
        "--out",
        str(bundle),
        "--command",
        "cp",
        "--json",
    ]
    assert main([*options, *export]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (len(told["traces"]), told["left_out"]) == (2, {})

    assert main([*options, "edge", "runner", str(tmp_path)]) == 0
    (tmp_path / "device.json").write_text(
        json.dumps({"tools": ["Read", "Write", "Edit", "Bash"], "commands": ["cp"]})
    )
    base = tmp_path / "base"
    base.mkdir()
    (base / "names.txt").write_text("b\nc\na\n")
    (base / "people.txt").write_text("z\n")

    def follow(text: str) -> int:
        argv = [
            *(sys.executable, "-I", str(tmp_path / "run_follower.py"), str(bundle), text),
            *("--key", told["key"], "--base", str(base), "--device", str(tmp_path / "device.json")),
            *("--state", str(tmp_path / "state.json")),
        ]
        return subprocess.run(argv, capture_output=True, timeout=60, check=False).returncode

    assert follow(goal) == 0
    assert (base / "kept.txt").read_bytes() == (output / "kept.txt").read_bytes()
    assert follow("Copy people.txt to other.txt") == 0
    assert (base / "other.txt").read_text() == "z\n"
    assert follow("Write a README for the project Atlas") == 0
    assert (base / "README.md").read_bytes() == (output / "README.md").read_bytes()
    assert follow("Move names.txt to kept.txt") == 1
