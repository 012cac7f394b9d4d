"""With a real llama.cpp server and SmolLM2: the machinery, not the model."""

from __future__ import annotations

import pytest

from bench.local_model import missing, smollm2
from llmos_workers.learning.edge_bundle import Allowed
from tests.edge.conftest import AGENTIC, Device, moving, sorting


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(bool(missing()), reason=missing() or "there is one")
def test_a_real_server_fills_in_what_is_then_checked(device: Device) -> None:
    (device.root / "arm").write_text("#!/bin/sh\necho moved $*\n")
    (device.root / "arm").chmod(0o755)
    (device.base / "a.txt").write_text("2\n1\n")
    device.load(
        moving(),
        sorting(),
        allowed=Allowed(
            tools={"Bash", "MoveArm"}, commands={"sort"}, bounds={"MoveArm": {"x": (0, 300)}}
        ),
    )
    run = {"MoveArm": [str(device.root / "arm"), "{x}"]}
    device.allows = {"tools": ["MoveArm", "Bash"], "commands": ["sort"], "run": run}
    with smollm2() as url:

        def ask(goal: str) -> tuple[int, dict[str, object]]:
            asked = (goal, "--endpoint", url, "--timeout", "300")
            return device.follow(*asked, runner=AGENTIC, patience=400)

        code, report = ask("Could you move arm to 250, please?")
        assert (code, report["slots"]) == (0, {"x": "250"}), report
        assert "model" in report
        code, report = ask("Could you move arm to 350, please?")
        assert (code, "not within" in str(report["refused"])) == (1, True)
        code, report = ask("Into b.txt, sort the lines of a.txt")
        made = (device.base / "b.txt").read_text() if (device.base / "b.txt").exists() else ""
        assert (code, made) in ((0, "1\n2\n"), (1, "")), report
        assert (device.base / "a.txt").read_text() == "2\n1\n"
