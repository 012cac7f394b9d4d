"""--json: each command prints objects of one style, and nothing else. That each has it, is held in
tests/docs/test_cli_page_walk.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from llmos_cli.output import data_of, emit
from llmos_workers.contracts.goal import GoalOptions
from tests.cli.calls import CALLS
from tests.cli.conftest import Run
from tests.cli.world import World
from tests.kernel.goal_support import a_goal
from tests.support.stub_worker import StubWorker

GIVEN_NAMES = {
    "arguments", "bounds", "counters", "counts", "input_schema", "left_out", "metadata", "packages",
    "slots", "states", "tools", "valence",
}  # fmt: skip
"""Fields whose value is a mapping with names that users or the figures give."""

NAME = re.compile(r"[a-z][a-z0-9_]*")
MOMENT = re.compile(r"(.+_)?(at|until|since|deadline)")
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)|")


def test_each_command_prints_objects_of_one_style_and_nothing_else(
    run: Run, state: Any, tmp_path: Any, worker: StubWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMOS_WORKSPACE", str(tmp_path / "workspace"))
    world = World(state, tmp_path / "workspace")
    tools = tmp_path / "workspace" / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "bell.py").write_text("# nothing\n")
    faults: list[str] = []
    for line in CALLS:
        arguments = [word.format_map(vars(world)) for word in line.split()]
        ran = run(*arguments, "--json")
        faults += [f"{line}: {fault}" for fault in wrong_with(ran.code, ran.out, ran.err)]
    assert not faults, "\n".join(faults)


def wrong_with(code: int, out: str, err: str) -> Iterator[str]:
    if code not in (0, 1) and not (code == 6 and '"checks"' in out):
        yield f"exit {code}: {err or out}"
    for line in out.splitlines():
        try:
            data = json.loads(line)
        except ValueError:
            yield f"no JSON: {line!r}"
            continue
        if not isinstance(data, dict):
            yield f"no object: {line!r:.200}"
        yield from faults_of(data)
    if code == 1 and not out:
        yield f"says nothing: {err}"


def faults_of(data: Any, under: str = "") -> Iterator[str]:
    """What in a value is against the style."""
    if isinstance(data, list):
        for one in data:
            yield from faults_of(one, under)
    if not isinstance(data, dict) or under in ("input_schema", "arguments", "metadata"):
        return
    for name, value in data.items():
        if not NAME.fullmatch(name) and under not in GIVEN_NAMES:
            yield f"name {name!r} in {under!r} is not snake_case"
        if MOMENT.fullmatch(name) and not (value is None or ISO.fullmatch(str(value))):
            yield f"{name} is {value!r}, no ISO time"
        if name.endswith("_micro") and not (value is None or isinstance(value, int)):
            yield f"{name} is {value!r}, no whole number"
        if name.endswith("usd") or (
            name.endswith("_cost") and name != "homeostatic_cost" and not isinstance(value, str)
        ):
            yield f"{name} is {value!r}: money is whole micro-dollars, named _micro"
        yield from faults_of(value, name)


def test_moments_are_iso_times_and_what_users_gave_stays(capfd: pytest.CaptureFixture[str]) -> None:
    options = GoalOptions(deadline=86_400.0, metadata={"at": 5})
    record = a_goal("x", now=0.25).model_copy(update={"options": options})
    data = data_of(record)
    assert data["created_at"] == "1970-01-01T00:00:00.250Z"
    assert data["options"]["deadline"] == "1970-01-02T00:00:00.000Z"
    assert data["options"]["metadata"] == {"at": 5}
    assert data["lease_until"] is None
    emit({"bound": float("inf"), "all": [float("nan"), 1.5]})
    assert json.loads(capfd.readouterr().out) == {"bound": None, "all": [None, 1.5]}
