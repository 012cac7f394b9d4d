"""llmos test: fixtures are replayed in scratch, without model and servers, and drift is told."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import TraceStep
from llmos_workers.execution.tools.registry import ToolRegistry
from llmos_workers.kernel.workspace import Workspace, digest_bytes
from llmos_workers.learning.trace_file import to_markdown
from llmos_workers.learning.traces import TraceManager
from tests.learning.conftest import make_trace

GOAL = "Sort the lines of names.txt into sorted.txt"
GIVEN, SORTED = "b\na\n", "a\nb\n"
FACTS = {"given": {"names.txt": GIVEN}, "traces": ["sort.trace.md"]}
CASE = {"goal": GOAL, "files": {"sorted.txt": {"content": SORTED}}}


def trace():
    version = ToolRegistry.builtin().versions()["Bash"]
    source: FileDigest = digest_bytes("names.txt", GIVEN.encode())
    step = TraceStep(
        call=ToolCall(name="Bash", arguments={"command": "sort names.txt > sorted.txt"}),
        tool_version=version,
        exit_code=0,
        informative=True,
        reads=(source,),
        writes=(digest_bytes("sorted.txt", SORTED.encode()),),
    )
    return make_trace(GOAL, steps=(step,), inputs=(source,), outputs=step.writes)


@pytest.fixture
def fixture(tmp_path: Path):
    folder = tmp_path / "trace-tests"
    folder.mkdir()
    (folder / "sort.trace.md").write_text(to_markdown(trace()))

    def write(**fields):
        (folder / "sort.yaml").write_text(yaml.safe_dump(FACTS | {"must_match": [CASE]} | fields))

    write()
    return write


def test_goals_that_are_replayed_as_told_pass_without_any_server(bare_run, fixture):
    fixture(must_not_match=["Delete names.txt", "Sort the lines of names.txt in reverse order"])
    ran = bare_run("test", "--json")
    assert ran.code == 0, ran.out + ran.err
    assert (ran.json["goals"], ran.json["failed"]) == (3, 0)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"must_match": [CASE | {"files": {"sorted.txt": {"content": "b\na\n"}}}]}, "sorted.txt"),
        ({"must_match": [CASE | {"files": {}}]}, "sorted.txt is changed too"),
        ({"must_match": [{"goal": "Bake a cake"}]}, "it is not followed"),
        ({"must_match": [CASE | {"trace": "other"}]}, "not other"),
        ({"must_match": [CASE | {"slots": {"n": "3"}}]}, "slot n is None"),
        ({"must_match": [CASE | {"answer": "Never said"}]}, "the answer differs"),
        ({"must_not_match": [GOAL]}, "it is followed"),
        ({"given": {"names.txt": "other\n"}}, "the input names.txt changed"),
        ({"must_match": [CASE | {"files": {"sorted.txt": {"sha256": "ab"}}}]}, "has sha256"),
        ({"must_match": [CASE | {"files": {"sorted.txt": None}}]}, "sorted.txt is there"),
    ],
)
def test_each_kind_of_drift_fails_and_is_told(bare_run, fixture, fields, told):
    fixture(**fields)
    ran = bare_run("test", "trace-tests")
    assert (ran.code, told in ran.out) == (1, True), ran.out + ran.err


def test_a_trace_that_does_something_else_now_is_drift(bare_run, fixture, tmp_path):
    file = tmp_path / "trace-tests" / "sort.trace.md"
    file.write_text(file.read_text().replace("sort names.txt", "sort -r names.txt"))
    ran = bare_run("test", "--junit", "out.xml")
    assert (ran.code, "step 1 of the replay differed" in ran.out) == (1, True)
    suite = ET.parse(tmp_path / "out.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")


@pytest.mark.parametrize(
    "fields",
    [{"format": 2}, {"traces": []}, {"traces": ["none.md"]}, {"unknown": 1}, {"project": "../x"},
     {"given": {"/etc/x": ""}}],
)  # fmt: skip
def test_fixtures_that_cannot_be_read_are_a_mistake_of_the_caller(bare_run, fixture, fields):
    fixture(**fields)
    assert bare_run("test").code == 2


def test_a_folder_without_fixtures_is_told(bare_run):
    ran = bare_run("test", "nowhere")
    assert (ran.code, "--init" in ran.err) == (2, True)


def test_a_fixture_is_written_from_a_learned_trace_and_passes(run, state, tmp_path, monkeypatch):
    monkeypatch.setenv("LLMOS_WORKSPACE", str(tmp_path / "w"))
    workspace = Workspace(tmp_path / "w").ensure()
    names = workspace.project("default").output / "names.txt"
    names.write_text(GIVEN)
    stored = TraceManager(state, workspace).save_trace(trace())
    made = run("test", "--init", stored.trace_id)
    assert made.code == 0, made.err
    assert run("test", "--init", stored.trace_id).code == 2
    monkeypatch.setenv("LLMOS_WORKSPACE", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("LLMOS_REDIS_URL", "redis://127.0.0.1:1")
    ran = run("test", "--json")
    assert (ran.code, ran.json["goals"]) == (0, 1), ran.out
    (file,) = (tmp_path / "trace-tests").glob("*.yaml")
    written = yaml.safe_load(file.read_text())
    assert written["given"] == {"names.txt": GIVEN}
    assert written["must_match"][0]["files"] == {"sorted.txt": {"content": SORTED}}


def test_a_fixture_of_inputs_that_changed_is_not_written(run, state, tmp_path, monkeypatch):
    monkeypatch.setenv("LLMOS_WORKSPACE", str(tmp_path / "w"))
    workspace = Workspace(tmp_path / "w").ensure()
    (workspace.project("default").output / "names.txt").write_text("other")
    stored = TraceManager(state, workspace).save_trace(trace())
    refused = run("test", "--init", stored.trace_id)
    assert (refused.code, "names.txt" in refused.err) == (2, True)
    assert not (tmp_path / "trace-tests").exists()
