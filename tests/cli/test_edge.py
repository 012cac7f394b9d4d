"""llmos edge import: what devices did comes back, and is believed by nobody yet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_runtime import run_follower
from llmos_workers.kernel.workspace import Workspace
from llmos_workers.learning.traces import TraceManager
from tests.edge.conftest import AGENTIC, RUNNER, Device, learned, noting, sorting

OTHER = "Sort the lines of staff.txt into out.txt"
Edit = Callable[[dict[str, Any]], Any]


@pytest.fixture
def manager(state: Any, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TraceManager:
    monkeypatch.setenv("LLMOS_WORKSPACE", str(tmp_path / "w"))
    return TraceManager(state, Workspace(tmp_path / "w").ensure())


@pytest.fixture
def device(manager: TraceManager, tmp_path: Path) -> Device:
    """One that follows what the workspace learned."""
    made = Device(tmp_path / "device", manager.keys)
    made.base.mkdir(parents=True)
    (made.base / "names.txt").write_text("b\na\n")
    (made.base / "staff.txt").write_text("z\ny\n")
    made.load(*(manager.save_trace(trace) for trace in (sorting(), noting())))
    return made


@pytest.fixture
def recorded(device: Device, tmp_path: Path) -> Callable[..., Path]:
    def record(*goals: str, more: tuple[str, ...] = ()) -> Path:
        for goal in goals:
            words = [str(device.bundle), goal, *device.options(), f"--record={tmp_path / 'runs'}"]
            run_follower.main([*words, *more])
        return tmp_path / "runs"

    return record


def signed_again(line: dict[str, Any]) -> str:
    """A line whose forger knows how its digest is made."""
    rest = {name: value for name, value in line.items() if name != "sha256"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    return json.dumps(rest | {"sha256": digest}) + "\n"


def test_a_run_comes_back_as_a_trace_that_nobody_believes_yet(
    run: Any, manager: TraceManager, recorded: Callable[..., Path]
) -> None:
    file = recorded(OTHER, "Sort the lines of names.txt into sorted.txt", "Sing a song")
    told = run("edge", "import", str(file), "--json").json
    assert (told["runs"], told["stored"], told["known"], told["refused"]) == (3, 1, 1, 1)
    [trace_id] = told["traces"]
    trace = manager.get("default", trace_id)
    assert trace is not None
    assert (trace.goal_text, trace.proved, trace.standing.value) == (OTHER, False, "unsigned")
    assert [step.call.arguments for step in trace.steps] == [
        {"command": "sort staff.txt > out.txt"}
    ]
    written = {file.path: file.digest for file in trace.steps[0].writes}
    assert written == {"out.txt": hashlib.sha256(b"y\nz\n").hexdigest()}
    assert trace.inputs[0].digest == hashlib.sha256(b"z\ny\n").hexdigest()
    assert {slot.name: slot.value for slot in trace.slots} == {
        "source": "staff.txt", "target": "out.txt",
    }  # fmt: skip
    marks = {one["trace_id"]: set(one["marks"]) for one in run("traces", "list", "--json").lines}
    assert {"unproved", "imported"} <= marks[trace_id]
    again = run("edge", "import", str(file))
    assert "0 traces stored of 3 runs" in again.out
    assert "not done: Sing a song" in again.out


def test_approval_lets_it_help_and_does_not_prove_it(
    run: Any, manager: TraceManager, recorded: Callable[..., Path]
) -> None:
    [trace_id] = run("edge", "import", str(recorded(OTHER)), "--json").json["traces"]
    assert run("traces", "approve", trace_id, "--yes").code == 0
    trace = manager.get("default", trace_id)
    assert trace is not None
    assert (trace.standing.value, trace.proved) == ("signed", False)


def test_what_is_recorded_holds_digests_and_no_output(
    device: Device, recorded: Callable[..., Path], tmp_path: Path
) -> None:
    (device.base / "staff.txt").write_text("the secret of the staff\n")
    [line] = recorded(OTHER).read_text().splitlines()
    assert "the secret" not in line
    found = json.loads(line)
    assert found["steps"][0]["reads"] == {
        "staff.txt": hashlib.sha256(b"the secret of the staff\n").hexdigest()
    }
    assert (found["ok"], found["model"], found["bundle"]["project"]) == (True, None, "default")
    for option in ("--dry-run", "--explain"):
        recorded(OTHER, more=(option,))
    assert len((tmp_path / "runs").read_text().splitlines()) == 1
    assert (tmp_path / "runs").stat().st_mode & 0o077 == 0


def test_what_cannot_be_recorded_is_told(
    device: Device, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [str(device.bundle), OTHER, *device.options(), "--record", str(tmp_path / "no" / "x")]
    assert run_follower.main(words) == 0
    assert "No such file" in json.loads(capfd.readouterr().out)["unrecorded"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda line: line.update(goal="Another"), "was changed after it was recorded"),
        (lambda line: line["steps"][0].update(tool="Write"), "was changed"),
        (lambda line: line.pop("sha256"), "was changed"),
        (lambda line: line.update(format="x"), "no run of a device"),
        (lambda line: line.update(version=2), "form 2 is not known"),
    ],
)
def test_a_changed_run_is_refused(
    run: Any, manager: TraceManager, recorded: Callable[..., Path], change: Edit, why: str
) -> None:
    file = recorded(OTHER, OTHER)
    first, second = file.read_text().splitlines()
    line = json.loads(second)
    change(line)
    file.write_text(f"{first}\n{json.dumps(line)}\n")
    ran = run("edge", "import", str(file))
    assert ran.code != 0
    assert f"{file}:2: " in ran.err
    assert why in ran.err
    assert len(manager.list("default")) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line["steps"][0]["reads"].update({"../x": "0" * 64}),
        lambda line: line["steps"][0]["writes"].update({"/etc/x": "0" * 64}),
        lambda line: line["steps"][0]["writes"].update({"x": "nonsense"}),
        lambda line: line["steps"][0].update(tool="Ba sh"),
        lambda line: line.update(steps=[]),
        lambda line: line.update(trace_id="../../x"),
        lambda line: line.update(goal=""),
        lambda line: line.update(goal="x\ud800"),
        lambda line: line.update(more=1),
        lambda line: line["bundle"].update(project="../x"),
        lambda line: line.update(at="now"),
    ],
)
def test_what_no_device_could_have_recorded_is_refused_even_with_a_right_digest(
    run: Any, manager: TraceManager, recorded: Callable[..., Path], change: Edit
) -> None:
    file = recorded(OTHER)
    line = json.loads(file.read_text())
    change(line)
    file.write_text(signed_again(line))
    assert run("edge", "import", str(file)).code != 0
    assert len(manager.list("default")) == 2


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"[]\n", b"{}", b"\xff\xfe\n", b"[" * 100_000 + b"\n"]
)
def test_a_file_of_something_else_is_refused(
    run: Any, manager: TraceManager, tmp_path: Path, data: bytes
) -> None:
    (tmp_path / "runs").write_bytes(data)
    assert run("edge", "import", str(tmp_path / "runs")).code != 0
    assert manager.list("default") == []


def test_a_secret_in_a_goal_does_not_come_in(
    run: Any, manager: TraceManager, device: Device, recorded: Callable[..., Path]
) -> None:
    key = "sk-ant-" + "a1B2c3D4" * 4
    device.load(noting(), learned("Say hello", *noting().steps), counter=2)
    file = recorded(f'Write the note "{key}" to list.txt')
    [trace_id] = run("edge", "import", str(file), "--json").json["traces"]
    trace = manager.get("default", trace_id)
    assert trace is not None
    assert key not in trace.model_dump_json()


def test_the_files_for_a_device(bare_run: Any, tmp_path: Path) -> None:
    assert bare_run("edge", "runner", str(tmp_path), "--json").json["files"] == [
        str(tmp_path / "run_follower.py")
    ]
    assert not (tmp_path / "run_agentic_follower.py").exists()
    told = bare_run("edge", "runner", str(tmp_path), "--agentic", "--json").json
    assert [Path(file).read_text() for file in told["files"]] == [
        RUNNER.read_text(), AGENTIC.read_text(),
    ]  # fmt: skip
