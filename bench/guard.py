"""How well the guard tells dangerous tool calls from innocent ones.

    python -m bench.guard FILE [--show] [--half 0|1] [--hosts HOST,...]

FILE holds one labelled call a line (JSON: id, tool, arguments, verdict, kind, set, layer, ctx,
setup); ``@WS@`` in it is the workspace, which is made anew for each call. Nothing is run. What is
protected is data: POLICY below. Crafted bypasses, written before the guard was asked about them,
are judged beside it: --crafted, a file of the same form. ``python -m bench.containment`` runs them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.report import finish, table
from llmos_workers.execution.guard.calls import Caller, judge_call
from llmos_workers.execution.guard.policy import ALWAYS_PROTECTED, GuardPolicy
from llmos_workers.execution.secret_files import SECRET_GLOBS

TOOLS = frozenset(
    {"Read", "Write", "Edit", "Bash", "Python", "WebFetch", "create_agent", "modify_agent"}
)
FOLDERS = (
    "agents",
    "state",
    "memories/traces",
    "plugins/generated",
    ".git/hooks",
    "src",
    "build",
    "sub",
)
PROTECTED = (
    *("agents", "agents/**", "plugins/generated", "plugins/generated/**", "memories/traces"),
    *("memories/traces/**", "memories/facts", "memories/facts/**", "state", "state/**"),
)
CRAFTED = Path(__file__).parents[1] / "tests" / "data" / "toolcalls" / "crafted.jsonl"
HOSTS = (
    *("packages.example.net", "files.packages.example.net", "npm.packages.example.net"),
    *("github.com", "api.github.com", "raw.githubusercontent.com", "docs.python.org"),
    *("en.wikipedia.org", "developer.mozilla.org", "arxiv.org", "example.com"),
)
SAMPLE_WRONG = 200


def main() -> None:
    """Judge every call of the file and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("file", type=Path)
    options.add_argument("--show", action="store_true", help="each call that is judged wrongly")
    options.add_argument(
        "--half", type=int, choices=(0, 1), help="only one half, by hash of the id"
    )
    options.add_argument("--hosts", default=",".join(HOSTS), help="allowed hosts")
    options.add_argument("--crafted", type=Path, default=CRAFTED, help="crafted bypasses")
    given = options.parse_args()
    items = read_calls(given.file)
    if given.half is not None:
        items = [item for item in items if half_of(item["id"]) == given.half]
    hosts = tuple(given.hosts.split(","))
    figures = measure(items, hosts, show=given.show)
    finish(figures | measure_crafted(read_calls(given.crafted), hosts, show=given.show))


def read_calls(file: Path) -> list[dict[str, Any]]:
    """One call a line."""
    lines = file.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def half_of(name: str) -> int:
    """0 or 1: rules are made on one half, and the other tells whether they generalize."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2


def measure(items: list[dict[str, Any]], hosts: tuple[str, ...], *, show: bool) -> dict[str, Any]:
    """The figures of a list of calls."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="llmos-bench-") as folder:
        judged = [(item, *judge(item, Path(folder), hosts)) for item in items]
    static = [row for row in judged if row[0]["set"] == "dangerous" and row[0]["layer"] == "static"]
    rest = [row for row in judged if row[0]["set"] == "dangerous" and row[0]["layer"] != "static"]
    innocent = [row for row in judged if row[0]["set"] == "innocent"]
    missed = [row for row in static if row[1] == "allow"]
    rubbed = [row for row in innocent if row[1] != "allow"]
    kinds = Counter((row[0]["set"], row[0]["kind"]) for row in [*missed, *rubbed])
    table(
        "judged wrongly", ("set", "kind", "calls"), [(*kind, n) for kind, n in kinds.most_common()]
    )
    if show:
        rows = [
            (row[0]["id"], row[0]["verdict"], row[1], row[2][:70], _text(row[0]))
            for row in [*missed, *rubbed]
        ]
        table("these", ("id", "wanted", "got", "why", "call"), rows)
    return {
        "recall": _share(static, lambda row: row[1] != "allow"),
        "denied_of_deny": _share(
            [r for r in static if r[0]["verdict"] == "deny"], lambda r: r[1] == "deny"
        ),
        "friction": _share(innocent, lambda row: row[1] != "allow"),
        "innocent_denied": _share(innocent, lambda row: row[1] == "deny"),
        "sandbox_layer_refused": _share(rest, lambda row: row[1] != "allow"),
        "crashes": sum(row[1] == "crash" for row in judged),
        "ms_per_check": statistics.fmean(row[3] for row in judged) if judged else 0.0,
        "calls": len(judged),
    }


def measure_crafted(
    items: list[dict[str, Any]], hosts: tuple[str, ...], *, show: bool
) -> dict[str, Any]:
    """How many of the bypasses are not allowed."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="llmos-bench-") as folder:
        judged = [(item, *judge(item, Path(folder), hosts)) for item in items]
    passed = [(row[0]["id"], row[1], _text(row[0])) for row in judged if row[1] == "allow"]
    if show:
        table("crafted bypasses that are allowed", ("id", "got", "call"), passed)
    return {
        "crafted": len(items),
        "crafted_refused": _share(judged, lambda row: row[1] != "allow"),
        "crafted_crashes": sum(row[1] == "crash" for row in judged),
    }


def judge(item: dict[str, Any], folder: Path, hosts: tuple[str, ...]) -> tuple[str, str, float]:
    """Verdict, reason and milliseconds of one call, in a workspace of its own."""
    workspace = Path(tempfile.mkdtemp(dir=folder)).resolve() / "workspace"
    _furnish(workspace, item.get("setup") or {})
    policy = GuardPolicy(
        str(workspace), protected=(*ALWAYS_PROTECTED, *PROTECTED), secrets=SECRET_GLOBS, hosts=hosts
    )
    context = item.get("ctx") or {}
    caller = Caller(
        agent=context.get("agent", "coder"),
        grants=frozenset(context.get("grants", TOOLS)),
        safety=context.get("safety", 0.5),
        budget_left=context.get("budget_left", 10.0),
        est_cost=context.get("est_cost", 0.0),
    )
    arguments = json.loads(json.dumps(item["arguments"]).replace("@WS@", str(workspace)))
    started = time.perf_counter()
    try:
        finding = judge_call(item["tool"], arguments, caller, policy)
        verdict, reason = finding.verdict.name.lower(), f"{finding.rule}: {finding.reason}"
    # The figure is how often this happens.
    except Exception as error:  # noqa: BLE001
        verdict, reason = "crash", repr(error)
    elapsed = (time.perf_counter() - started) * 1000
    shutil.rmtree(workspace.parent)
    if reason.startswith("guard:"):
        verdict = "crash"
    return verdict, reason, elapsed


def _furnish(workspace: Path, setup: dict[str, dict[str, str]]) -> None:
    for name in FOLDERS:
        (workspace / name).mkdir(parents=True)
    for name, text in setup.get("files", {}).items():
        (workspace / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace / name).write_text(text)
    for name, target in setup.get("symlinks", {}).items():
        (workspace / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace / name).symlink_to(target)


def _share(rows: list[Any], wanted: Any) -> float:
    return sum(map(wanted, rows)) / len(rows) if rows else 0.0


def _text(item: dict[str, Any]) -> str:
    return f"{item['tool']} {json.dumps(item['arguments'], ensure_ascii=False)}"[:SAMPLE_WRONG]


if __name__ == "__main__":
    main()
