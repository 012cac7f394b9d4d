"""A local model may say which words of a goal are its values, and nothing more."""

from __future__ import annotations

import ast
import itertools
import json
import shutil
import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest

from bench.edge import trace_of
from bench.edge_goals import CASES
from edge_runtime import run_agentic_follower, run_follower
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import Slot, SlotType, TraceStep
from llmos_workers.learning.edge_bundle import Allowed
from llmos_workers.learning.edge_item import edge_item
from llmos_workers.learning.signature import goal_signature
from tests.edge.conftest import (
    AGENTIC,
    RUNNER,
    Device,
    StandInModel,
    learned,
    moving,
    noting,
    sorting,
)

Ask = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def ask(
    device: Device,
    model: StandInModel,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Ask:
    """Exit code and report of a goal, with the stand-in for a model unless told otherwise."""
    for name in ("ENDPOINT", "MODEL", "API_KEY"):
        monkeypatch.delenv(f"LLMOS_EDGE_{name}", raising=False)

    def asked(goal: str, *more: str, endpoint: str | None = model.url) -> tuple[int, Any]:
        where = ["--endpoint", endpoint] if endpoint else []
        words = [str(device.bundle), goal, *device.options(), *where, *more]
        code = run_agentic_follower.main(words)
        return code, json.loads(capsys.readouterr().out)

    return asked


def arm(device: Device) -> None:
    """A device with an arm that tells what it was told to do."""
    (device.root / "arm").write_text("#!/bin/sh\necho moved $*\n")
    (device.root / "arm").chmod(0o755)
    device.load(moving(), allowed=Allowed(tools={"MoveArm"}, bounds={"MoveArm": {"x": (0, 300)}}))
    device.allows = {"tools": ["MoveArm"], "run": {"MoveArm": [str(device.root / "arm"), "{x}"]}}


def test_two_files_of_the_standard_library_for_python_3_9() -> None:
    tree = ast.parse(AGENTIC.read_text(), feature_version=(3, 9))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    ours = {"run_follower", "edge_runtime", "edge_runtime.run_follower"}
    assert {name.partition(".")[0] for name in names - ours} <= {*sys.stdlib_module_names}


def test_both_files_in_a_folder_of_a_device(device: Device, model: StandInModel) -> None:
    folder = device.root / "device"
    folder.mkdir()
    for path in (AGENTIC, RUNNER):
        shutil.copy(path, folder)
    device.load(sorting())
    (device.base / "staff.txt").write_text("z\ny\n")
    model.says(source="staff.txt", target="out.txt")
    goal = "Could you, into out.txt, sort the lines of the file staff.txt, please?"
    code, report = device.follow(goal, "--endpoint", model.url, runner=folder / AGENTIC.name)
    assert code == 0, report
    assert (device.base / "out.txt").read_text() == "y\nz\n"
    assert report["slots"] == {"source": "staff.txt", "target": "out.txt"}


def test_what_is_sure_needs_no_model(device: Device, model: StandInModel, ask: Ask) -> None:
    device.load(sorting())
    (device.base / "staff.txt").write_text("z\ny\n")
    assert ask("Sort the lines of staff.txt into out.txt", endpoint=None)[0] == 0
    assert ask("Sort the lines of staff.txt into out.txt")[0] == 0
    assert model.asked == []


def test_without_a_model_it_says_which_would_be_needed(device: Device, ask: Ask) -> None:
    device.load(sorting())
    code, report = ask("Into out.txt, sort the lines of names.txt", endpoint=None)
    assert code == 2
    assert "no model is configured" in report["unusable"]
    assert "--endpoint" in report["unusable"]


def test_what_the_model_is_asked(
    device: Device, model: StandInModel, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm(device)
    monkeypatch.setenv("LLMOS_EDGE_API_KEY", "k3y")
    model.says(x="250")
    code, report = ask("please move arm to 250", "--model", "granite", "--timeout=5")
    assert (code, report["steps"][0]["output"]) == (0, "moved 250\n")
    [asked] = model.asked
    form = asked["response_format"]["json_schema"]["schema"]
    assert asked["path"] == "/v1/chat/completions"
    assert form["properties"] == {"x": {"type": "string", "enum": ["250"]}}
    assert (form["required"], form["additionalProperties"]) == (["x"], False)
    assert (asked["model"], asked["temperature"], "tools" in asked) == ("granite", 0, False)
    assert model.heads[0]["Authorization"] == "Bearer k3y"
    assert "k3y" not in json.dumps(report)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"x": "300"}, "does not say '300'"),
        ({"x": "25"}, "does not say '25'"),
        ({"x": 250}, "no text"),
        ({"x": ["250"]}, "no text"),
        ({}, "each argument once"),
        ({"x": "250", "speed": "fast"}, "each argument once"),
        ([], "each argument once"),
        ("250", "each argument once"),
        (None, "each argument once"),
    ],
)
def test_what_the_goal_does_not_say_is_refused(
    device: Device, model: StandInModel, ask: Ask, said: Any, why: str
) -> None:
    arm(device)
    model.reply = json.dumps(said)
    code, report = ask("Move arm to 250")
    assert code == 1
    assert why in report["refused"]
    assert "steps" not in report


@pytest.mark.parametrize(("x", "code"), [("300", 0), ("301", 1), ("-5", 1), ("1e3", 1)])
def test_bounds_hold_whoever_fills_in(
    device: Device, model: StandInModel, ask: Ask, x: str, code: int
) -> None:
    arm(device)
    model.says(x=x)
    assert ask(f"Move arm to {x}")[0] == code


def test_two_values_that_could_change_places(device: Device, model: StandInModel, ask: Ask) -> None:
    """The words before them tell which is which, whatever the model says."""
    device.load(sorting())
    (device.base / "a.txt").write_text("2\n1\n")
    goal = "Into b.txt, sort the lines of a.txt"
    model.says(source="b.txt", target="a.txt")
    code, report = ask(goal)
    assert (code, "no known wording" in report["refused"]) == (1, True)
    assert not (device.base / "b.txt").exists()
    model.says(source="a.txt", target="b.txt")
    assert ask(goal)[0] == 0
    assert (device.base / "b.txt").read_text() == "1\n2\n"


def test_the_model_chooses_neither_trace_nor_call(
    device: Device, model: StandInModel, ask: Ask
) -> None:
    device.load(sorting(), noting())
    model.says(source="names.txt", target="sorted.txt")
    for goal in (
        "Into sorted.txt, delete the lines of names.txt",
        "Into sorted.txt, do not sort the lines of names.txt",
        "Into sorted.txt, sort all lines of names.txt",
        "Into sorted.txt, sort the lines of names.txt twice",
        "Into sorted.txt, sort the lines of names.txt and mail.txt",
        "Is sorted.txt the sorted lines of names.txt",
    ):
        assert ask(goal)[0] == 1, goal
    assert model.asked == []


def test_what_destroys_and_what_has_no_arguments_is_not_for_a_model(
    device: Device, model: StandInModel, ask: Ask
) -> None:
    destructive = sorting().model_copy(update={"destructive": True})
    step = TraceStep(call=ToolCall(name="Write", arguments={"path": "on", "content": "1"}))
    device.load(destructive, learned("Switch on the light", step))
    for goal in ("Into a.txt, sort the lines of b.txt", "Could you switch the light on"):
        assert ask(goal)[0] == 1
    assert model.asked == []


def test_a_veto_holds_for_another_order_of_its_words(
    device: Device, model: StandInModel, ask: Ask
) -> None:
    veto = goal_signature("Sort the lines of a.txt into b.txt")
    device.load(sorting().model_copy(update={"vetoes": (veto,)}))
    (device.base / "a.txt").write_text("2\n1\n")
    model.says(source="a.txt", target="b.txt")
    code, report = ask("Into b.txt, sort the lines of a.txt")
    assert (code, "people said" in report["refused"]) == (1, True)


def test_traces_that_could_both_do_it_are_not_guessed_between(
    device: Device, model: StandInModel, ask: Ask
) -> None:
    other = sorting().model_copy(update={"trace_id": "b" * 16})
    device.load(sorting(), other)
    model.says(source="names.txt", target="out.txt")
    code, report = ask("Into out.txt, sort the lines of names.txt")
    assert (code, "more than one trace" in report["refused"]) == (1, True)
    assert model.asked == []


def test_words_that_the_device_counts_as_the_same(
    device: Device, model: StandInModel, ask: Ask
) -> None:
    arm(device)
    model.says(x="250")
    assert ask("Bring the robot arm to 250")[0] == 1
    device.allows["words"] = {"move": ["bring"], "": ["robot", "not"]}
    assert ask("Bring the robot arm to 250")[0] == 0
    assert ask("Do not bring the robot arm to 250")[0] == 1
    assert ask("Not bring the robot arm to 250")[0] == 1
    device.allows["words"] = {"move": "bring"}
    assert ask("Bring the arm to 250")[0] == 2


def test_a_text_that_nothing_parts_from_the_next_is_refused(
    device: Device, model: StandInModel, ask: Ask
) -> None:
    step = TraceStep(call=ToolCall(name="Write", arguments={"path": "t", "content": "Ann Bob"}))
    slots = (Slot(name="one", value="Ann", declared=True),
             Slot(name="two", value="Bob", declared=True))  # fmt: skip
    device.load(learned("Seat Ann Bob at table", step, slots=slots))
    model.says(one="Eve", two="Kim Lee")
    assert ask("Could you seat Eve Kim Lee at the table")[0] == 1
    assert model.asked == []


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("Sure! Here it is", "not JSON"),
        ('{"x": "250", "x": "250"}', "not JSON"),
        ('```json\n{"x": "250"}\n```', "not JSON"),
        (b"<html>", "did not answer as OpenAI's does"),
        (b'{"choices": []}', "did not answer as OpenAI's does"),
        (b"[1]", "did not answer as OpenAI's does"),
        (b'{"choices": [{"message": {"content": null}}]}', "not JSON"),
        (b"x" * 2_000_000, "too long"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_an_answer_that_is_none(
    device: Device, model: StandInModel, ask: Ask, reply: str | bytes, why: str
) -> None:
    arm(device)
    model.reply = reply
    code, report = ask("Move arm to 250")
    assert code == 1
    assert why in report["refused"]


def test_a_server_that_fails_hangs_or_is_not_there(
    device: Device, model: StandInModel, ask: Ask
) -> None:
    arm(device)
    model.says(x="250")
    model.ended = "length"
    assert "cut off" in ask("Move arm to 250")[1]["refused"]
    model.status, model.reply = 404, b"model 'nope' not found"
    assert "answered 404: model 'nope' not found" in ask("Move arm to 250")[1]["refused"]
    model.hang.clear()
    assert "within 0.3 s" in ask("Move arm to 250", "--timeout=0.3")[1]["refused"]
    model.hang.set()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        code, report = ask("Move arm to 250", endpoint=f"http://127.0.0.1:{free.getsockname()[1]}")
    assert (code, "no model can be reached at 127.0.0.1" in report["refused"]) == (1, True)


@pytest.mark.parametrize(
    "more",
    [["--endpoint=ftp://x"], ["--endpoint=http://"], ["--endpoint=http://h:x"], ["--timeout=x"],
     ["--timeout=0"], ["--timeout=nan"]],
)  # fmt: skip
def test_wrong_settings_are_two(device: Device, ask: Ask, more: list[str]) -> None:
    arm(device)
    code, report = ask("Move arm to 250", *more)
    assert (code, bool(report["unusable"])) == (2, True)


def test_dry_run_and_explain_run_nothing(device: Device, model: StandInModel, ask: Ask) -> None:
    arm(device)
    model.says(x="250")
    for option in ("--dry-run", "--explain"):
        code, report = ask("Move arm to 250", option)
        assert (code, report["slots"], report.get("steps", [])) == (0, {"x": "250"}, [])
    code, report = ask("Sing a song", "--explain")
    assert (code, list(report["against"].values())) == (
        1, ["the goal has other words than any known wording"],
    )  # fmt: skip


def test_what_a_model_filled_in_is_recorded_as_such(
    device: Device, model: StandInModel, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm(device)
    monkeypatch.setenv("LLMOS_EDGE_API_KEY", "k3y")
    model.says(x="250")
    record = ("--record", str(device.root / "runs"))
    assert ask("please move arm to 250", "--model=granite", *record)[0] == 0
    assert ask("Move the arm to 120", *record)[0] == 0
    filled, known = (device.root / "runs").read_text().splitlines()
    assert (json.loads(filled)["model"], json.loads(known)["model"]) == ("granite", None)
    assert json.loads(filled)["steps"][0]["arguments"] == {"speed": "slow", "x": 250}
    assert "k3y" not in filled
    assert model.url not in filled


# -- Whatever a model says -----------------------------------------------------------------------


def followed(item: dict[str, Any], goal: str) -> list[dict[str, str]]:
    """All values with which some model could make the item run for the goal."""
    device: dict[str, Any] = {"words": {}}
    try:
        chosen = run_agentic_follower.candidate(
            [item], goal, device, run_follower.NoMatch("none", {})
        )
        asked = run_agentic_follower.bare(goal)
        allowed = run_agentic_follower.choices(chosen, asked)
    except run_follower.Refusal:
        return []
    wordings = run_agentic_follower.wordings_of(chosen, device)
    found = []
    for values in itertools.product(*allowed.values()):
        said = dict(zip(allowed, values, strict=True))
        try:
            found.append(run_agentic_follower.check_values(chosen, wordings, asked, said))
        except run_follower.Refusal:
            continue
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.goal)
def test_no_answer_makes_a_look_alike_run(case: Any) -> None:
    item = edge_item(trace_of(case.goal, case.values))
    for goal in case.lookalikes:
        for asked in (
            goal,
            f"Could you {goal}, please?",
            f"please {goal.replace(' to ', ' into ')}",
        ):
            assert followed(item, asked) == [], asked


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.goal)
def test_no_answer_but_the_right_one_runs(case: Any) -> None:
    item = edge_item(trace_of(case.goal, case.values))
    for goal, values in case.others:
        wanted = [dict(zip(case.values, values, strict=True))]
        for asked in (goal, f"I want you to {goal.replace(' the ', ' ')}"):
            assert followed(item, asked) in ([], wanted), asked
        assert followed(item, goal) == wanted


@pytest.mark.parametrize(
    ("wording", "goal"),
    [
        ("Press button of lamp 3", "Press button A of lamp 4"),
        ("Press button A of lamp 3", "Press button of the lamp 4"),
        ("Press button a of lamp 3", "Press the button of lamp 4"),
        ("Sort by name then by age in 3", "Sort by age then by name in the 4"),
        ("Replace red with blue in 3", "Replace blue with red in the 4"),
        ("Move part 3 from shelf to bench", "Move part 4 from the bench to shelf"),
        ("Put lid of box on jar 3", "Put the lid on box of jar 4"),
        ("Add 3 to total, then print", "Then add the 4 to total, print"),
        ("Run the pump for 3 minutes", "Run pump in 4 minutes"),
        ("Turn lamp 3 on", "Turn on the lamp 4"),
        ("Check lamp 3", "Can you not check lamp 4"),
        ("Check lamp 3", "Check the lamp 4, lamp 5"),
        ("Check lamp 3", "Check lamp, 4"),
        ("Check lamp 3", "Check the lamp 4 file"),
        ("Wait 3 minutes", "Wait the 4,5 minutes"),
    ],
)
def test_what_the_words_do_not_surely_say(wording: str, goal: str) -> None:
    step = TraceStep(call=ToolCall(name="Act", arguments={"n": 3}))
    slot = Slot(name="n", type=SlotType.NUMBER, value="3")
    item = edge_item(learned(wording, step, slots=(slot,), outputs=()))
    assert followed(item, goal) == []
    same = wording.replace("3", "4")
    assert followed(item, f"Could you {same}, please?") == [{"n": "4"}]


def test_a_goal_that_can_be_read_in_two_ways() -> None:
    step = TraceStep(call=ToolCall(name="Call", arguments={"one": "Ann", "two": "Bob"}))
    slots = (Slot(name="one", value="Ann"), Slot(name="two", value="Bob"))
    item = edge_item(learned("Call Ann Max Bob", step, slots=slots, outputs=()))
    assert followed(item, "Please call the Eve Max Kim") == [{"one": "Eve", "two": "Kim"}]
    assert followed(item, "Please call the Eve Max Max Kim") == []


def test_a_number_that_stands_twice_is_nobodys() -> None:
    item = edge_item(
        learned(
            "Turn motor 3 by 90",
            TraceStep(call=ToolCall(name="Turn", arguments={"motor": 3, "by": 90})),
            slots=(Slot(name="motor", type=SlotType.NUMBER, value="3"),
                   Slot(name="by", type=SlotType.NUMBER, value="90")),
            outputs=(),
        )
    )  # fmt: skip
    assert followed(item, "Turn the motor 4 by 45") == [{"motor": "4", "by": "45"}]
    assert followed(item, "Turn the motor 4 by 4") == []
