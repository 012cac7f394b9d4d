"""Teach a robot arm one goal on the fleet, and follow it on a device. See README.md beside this."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from llmos_workers import LLMOS, LLMOSConfig
from llmos_workers.embedded.local import LocalSystem

HERE = Path(__file__).parent
PROJECT = "factory"
OPERATOR = """---
name: arm-operator
description: Moves the robot arm.
tools: [MoveArm]
---

You move the robot arm where you are told to, and nowhere else.
"""
GOALS = ["Move the arm to 120", "Move the arm to 250", "Move the arm to 301", "Drop the part"]


def prepare(workspace: Path) -> None:
    """The tool, signed; the agent that may use it; the project with its bounds."""
    for folder in ("tools", "agents", f"projects/{PROJECT}"):
        (workspace / folder).mkdir(parents=True)
    tool = shutil.copy(HERE / "move_arm.py", workspace / "tools")
    (workspace / "agents" / "arm-operator.md").write_text(OPERATOR)
    (workspace / "projects" / PROJECT / "project.toml").write_text(
        "[bounds.MoveArm]\nx = [0, 300]\n"
    )
    cli(workspace, "tools", "sign", tool)


def cli(workspace: Path, *arguments: str) -> str:
    """The output of an llmos command."""
    command = [sys.executable, "-m", "llmos_cli", "--workspace", str(workspace), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def learn(workspace: Path, bundle: Path) -> str:
    """Run the goal once, and export what was learned; the key that signed the bundle."""
    config = LLMOSConfig.from_dict({"workspace": workspace})
    with LocalSystem(config, rehearsal_options={"skills": HERE / "rehearsal"}) as system:
        with LLMOS(system.config) as llmos:
            outcome = llmos.submit(GOALS[0], project=PROJECT, agent="arm-operator").result(120)
        print(f"fleet   {GOALS[0]}: {outcome.status}, {outcome.mode}")
        export = ["--project", PROJECT, "--tool", "MoveArm", "--out", str(bundle), "--json"]
        return json.loads(cli(workspace, "edge", "export", *export))["key"]


def follow(device: Path, key: str, goal: str) -> None:
    """One goal on the device: Python and two files."""
    command = [sys.executable, "-I", "run_follower.py", "bundle.llmos", goal, "--key", key]
    options = ["--base", "base", "--device", "device.json", "--state", "state.json"]
    ran = subprocess.run(
        [*command, *options], cwd=device, stdout=subprocess.PIPE, text=True, check=False
    )
    report = json.loads(ran.stdout)
    done = "done" if report["ok"] else f"refused, {report['refused']}"
    print(f"device  {goal}: {done}; the arm is at {(device / 'base/position.txt').read_text()}")


with tempfile.TemporaryDirectory() as name:
    workspace, device = Path(name) / "workspace", Path(name) / "device"
    (device / "base").mkdir(parents=True)
    prepare(workspace)
    key = learn(workspace, device / "bundle.llmos")
    cli(workspace, "edge", "runner", str(device))
    allows = {
        "tools": ["MoveArm"],
        "run": {"MoveArm": [sys.executable, str(HERE / "arm.py"), "--x", "{x}"]},
        "bounds": {"MoveArm": {"x": [100, 1000]}},
    }
    (device / "device.json").write_text(json.dumps(allows))
    for goal in GOALS:
        follow(device, key, goal)
