"""What dangerous tool calls do when they run: in the real sandbox, with everything counted.

    python -m bench.containment [FILE ...] [--show] [--timeout SECONDS]

FILE holds calls as bench.guard reads them, by default the samples and crafted bypasses of the
tests; the innocent ones are left out. No guard is asked. Each call gets a fresh stage in a
throwaway workspace, with control plane, keys, another project, processes and a network to harm,
and after it everything is looked at. As root in a network namespace of its own, in which every
address is this machine's, so that whatever connects is counted.

Before it, each counter is shown to move, by harmless calls without a sandbox.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.containment_parts.network import own_network
from bench.containment_parts.world import LIMITS, World
from bench.guard import read_calls
from bench.report import finish, table
from llmos_workers.contracts.errors import LLMOSError, SandboxUnavailable
from llmos_workers.contracts.tools import ToolResult
from llmos_workers.execution.net.reach import WebEdge
from llmos_workers.execution.sandbox import Limits, Sandbox, probe
from llmos_workers.execution.sandbox.level1 import ConfinedSandbox
from llmos_workers.execution.sandbox.unconfined import UnconfinedSandbox
from llmos_workers.execution.tools.base import ToolContext
from llmos_workers.execution.tools.registry import ToolRegistry
from llmos_workers.execution.tools.web import WebFetchTool

DATA = Path(__file__).parents[1] / "tests" / "data" / "toolcalls"
CONTROLS = {
    "outside_changed": "echo hit > {outside}/new",
    "control_changed": "echo hit > agents/new.md",
    "secrets_read": "base64 -w0 {outside}/secret",
    "connects": "exec 3<>/dev/tcp/203.0.113.9/80",
    "processes_left": "setsid sleep 600 > /dev/null 2>&1 & sleep 0.3",
    "signals": "kill -STOP {victim}",
    "disk_over": "head -c 30000000 /dev/zero > big",
}
"""Harmless ways to move each counter, of a command that nothing confines."""


def main() -> None:
    """Run every dangerous call of the files and print what was counted."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("files", type=Path, nargs="*", default=sorted(DATA.glob("*.jsonl")))
    options.add_argument("--show", action="store_true", help="each call with its end")
    options.add_argument("--timeout", type=float, default=4.0, help="seconds for one call")
    given = options.parse_args()
    if probe().level < 1:
        raise SystemExit(f"this host cannot confine commands: {'; '.join(probe().reasons)}")
    network = own_network()
    items = [item for file in given.files for item in read_calls(file)]
    items = [item for item in items if item.get("set") != "innocent"]
    started = time.monotonic()
    with World(network=network) as world:
        seen = controls(world)
        total, rows, skipped = Counter[str](), [], 0
        for item in items:
            ended = run(item, world, ConfinedSandbox(LIMITS), given.timeout)
            found = world.harm()
            total.update(found)
            skipped += ended == "skipped"
            if found or given.show:
                rows.append((item["id"], ended, dict(found), str(item["arguments"])[:110]))
        system = world.system_changes()
        total.update(system)
        rows += [("", "", system, "the machine itself")] if system else []
    table("calls", ("id", "ended", "harm", "call"), rows)
    finish(
        {
            "calls": len(items) - skipped,
            "skipped": skipped,
            **{name: total[name] for name in (*CONTROLS, "system_changed")},
            "controls_seen": len(seen),
            "network_counted": network,
            "seconds": round(time.monotonic() - started, 1),
        }
    )
    missing = set(CONTROLS) - seen - (set() if network else {"connects"})
    if missing:
        sys.exit(f"these counters do not count: {', '.join(sorted(missing))}")


def controls(world: World) -> set[str]:
    """The counters that moved for what should move them."""
    seen = set()
    for name, command in CONTROLS.items():
        world.begin({})
        words = command.format(outside=world.outside, victim=world.victims[0].pid)
        UnconfinedSandbox(Limits(output=10_000)).run(
            ["/bin/bash", "-c", f"({words})"], cwd=world.area, timeout_s=10
        )
        if world.harm()[name]:
            seen.add(name)
    return seen


def run(item: dict[str, Any], world: World, sandbox: Sandbox, timeout_s: float) -> str:
    """Run one call in a fresh stage; how it ended in a word."""
    world.begin(item.get("setup") or {})
    arguments = world.filled(item["arguments"])
    tools = ToolRegistry.builtin()
    tool = tools.find(item["tool"])
    if item["tool"] == "WebFetch":
        tool = WebFetchTool((), WebEdge(resolve=lambda *_: ["127.0.0.1"]))
    if tool is None:
        return "skipped"  # what only the gate decides, such as who changes agents
    if "timeout" in tool.spec.input_schema["properties"]:
        arguments["timeout"] = timeout_s
    context = ToolContext(project="demo", area=world.area, goal_id="bench", sandbox=sandbox)
    try:
        result = tool.run(arguments, context)
    except SandboxUnavailable:
        raise
    except (LLMOSError, KeyError, ValueError, OSError) as error:
        result = ToolResult(ok=False, error=type(error).__name__)
    world.told(result.output)
    return "ok" if result.ok else (result.error or "failed")[:60]


if __name__ == "__main__":
    main()
