"""What a goal, a bundle or a command could try against a device, and does not get."""

from __future__ import annotations

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime import run_follower
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import Slot, SlotType, TraceStep
from llmos_workers.learning.edge_item import edge_item
from llmos_workers.learning.signature import goal_signature
from tests.edge.conftest import RUNNER, Device, learned, noting, sorting
from tests.edge.test_follower import SORT, resign

NOTE = 'Write the note "milk" to note.txt'
WORD = learned(
    "Write the label Pump to the display",
    TraceStep(call=ToolCall(name="Write", arguments={"path": "display", "content": "Pump"})),
    slots=(Slot(name="label", value="Pump", declared=True),),
    outputs=(),
)
WRITE = {"path": "note.txt", "content": "x"}
LABEL = edge_item(WORD)
FILES = edge_item(sorting())


def label(goal: str) -> str:
    return run_follower.match(LABEL, goal)["label"]


@pytest.mark.parametrize("name", ["Valve", "North Valve", "Gamma Two", "Emily", "O'Brien"])
def test_a_name_takes_the_place_of_a_name(name: str) -> None:
    assert label(f"Write the label {name} to the display") == name


@pytest.mark.parametrize(
    "words",
    ["nothing", "everything", "something", "him", "the same", "nobody", "Pump twice", "Pump again",
     "Pump backwards", "Pump quickly", "quickly", "Pump instead", "Pump plus Valve", "don't",
     "Pump since Monday", "Pump excluding zeros", "here", "Pump tomorrow", "largest", "Pump too"],
)  # fmt: skip
def test_words_that_say_more_are_no_values(words: str) -> None:
    with pytest.raises(run_follower.Refusal):
        label(f"Write the label {words} to the display")


@pytest.mark.parametrize("path", ["logs/*.txt", "*.txt", "/names.txt", "a/../b.txt", "~/a.txt"])
def test_a_file_is_one_file_in_the_folder(path: str) -> None:
    with pytest.raises(run_follower.Refusal):
        run_follower.match(FILES, f"Sort the lines of {path} into out.txt")


@pytest.mark.parametrize("vetoed", ["{}", "Please {}", "{} please", "{}."])
@pytest.mark.parametrize("asked", ["{}", "Please {}", "{}, please!", "kindly {}"])
def test_a_veto_holds_however_politely(vetoed: str, asked: str) -> None:
    goal = "sort the lines of a.txt into b.txt"
    item = edge_item(
        sorting().model_copy(update={"vetoes": (goal_signature(vetoed.format(goal)),)})
    )
    with pytest.raises(run_follower.Refusal, match="people said"):
        run_follower.match(item, asked.format(goal))


@given(st.text(max_size=40) | st.text(alphabet="aΣİẞK'\" .!?\u00a0", max_size=20))
def test_what_is_the_same_wording_is_not_passed_over(text: str) -> None:
    assert run_follower.bare(run_follower.normalize(text)) == run_follower.bare(text)


def test_a_clock_that_was_set_back_makes_no_bundle_younger(device: Device) -> None:
    device.load(sorting(), now=time.time() + 3 * 86_400)
    code, report = device.follow(SORT)
    assert (code, "not made yet" in report["unusable"]) == (2, True)
    device.load(sorting(), now=time.time() + 3_600)  # clocks differ a little
    assert device.follow(SORT)[0] == 0


def with_steps(device: Device, *steps: tuple[str, dict[str, Any]]) -> None:
    """A bundle, rightly signed, whose note is written by other calls."""
    device.load(noting())
    head, _, line = device.bundle.read_bytes().split(b"\n")[:3]
    item = json.loads(line)
    item["steps"] = [
        {"tool": tool, "arguments": arguments, "before": [], "after": []}
        for tool, arguments in steps
    ]
    resign(device, json.loads(head), [item])


@pytest.mark.parametrize(
    "path", ["json.py", "__future__.py", "../tools/run_follower.py", "__pycache__/x.pyc"]
)
def test_no_goal_plants_what_the_runner_would_run(device: Device, path: str) -> None:
    """Python looks for modules beside the script, the runner's folder lies in the base here."""
    tools = device.base / "tools"
    tools.mkdir()
    shutil.copy(RUNNER, tools)
    before = (tools / "run_follower.py").read_bytes()
    for call in (
        ("Write", {"path": f"tools/{path}".replace("tools/../", ""), "content": "print('mine')"}),
        ("Bash", {"command": f"cp names.txt tools/{path}".replace("tools/../", "")}),
    ):
        with_steps(device, call)
        code, report = device.follow(NOTE, runner=tools / "run_follower.py")
        assert (code, "decides what" in report["refused"]) == (1, True)
    assert [found.name for found in tools.iterdir()] == ["run_follower.py"]
    assert (tools / "run_follower.py").read_bytes() == before


def test_a_folder_of_data_may_lie_beside_the_runner(device: Device) -> None:
    shutil.copy(RUNNER, device.root)
    with_steps(device, ("Bash", {"command": "cp -- names.txt copy.txt"}), ("Write", WRITE))
    code, report = device.follow(NOTE, runner=device.root / "run_follower.py")
    assert code == 0, report
    assert (device.base / "copy.txt").exists()
    assert (device.base / "note.txt").exists()


def test_no_goal_changes_what_its_device_allows(device: Device) -> None:
    """The files of the command line lie in the base."""
    allows = json.dumps({"tools": ["Read", "Write"]})
    kept = {"device.json": allows, "key": device.keys.own().text, "state.json": "{}", "runs": ""}
    for name, content in kept.items():
        (device.base / name).write_text(content)
    options = [f"--base={device.base}"]
    for option, name in zip(("device", "key", "state", "record"), kept, strict=True):
        options.append(f"--{option}={device.base / name}")
    for name in kept:
        with_steps(device, ("Write", {"path": f"./{name}", "content": "x"}))
        given, words = run_follower.parse([str(device.bundle), NOTE, *options])
        with pytest.raises(run_follower.Refusal, match="no goal may change it"):
            run_follower.follow(given, words, {})
    assert (device.base / "device.json").read_text() == allows


@pytest.mark.parametrize(
    "command",
    ["sort -o/tmp/x names.txt", "sort -o../x names.txt", "sort -ro/tmp/x names.txt",
     "sort --output=../x names.txt", "cp names.txt host:/etc/x", "cp -t/etc names.txt",
     "sort names.txt 2> x", "sort names.txt 2>x", "sort \"a'b\" $HOME \"c'd\"", "sort \"'$HOME'\"",
     "sort names.txt &> x", "sort names.txt >> x", "LC_ALL=C sort names.txt"],
)  # fmt: skip
def test_a_command_that_names_more_than_its_folder(device: Device, command: str) -> None:
    device.load(sorting())
    manifest = {"commands": ["sort", "cp"]}
    runner = run_follower.Runner(
        run_follower.Folder(str(device.base), []), manifest, {"commands": ["sort", "cp"]},
        digests=False,
    )  # fmt: skip
    with pytest.raises(run_follower.Refusal):
        runner.argv(command)
    assert runner.argv("sort -r \"it's\" 'a b' -k2,2 > out/x.txt") == (
        ["sort", "-r", "it's", "a b", "-k2,2"],
        "out/x.txt",
    )


def test_whatever_ends_a_run_puts_its_files_back(device: Device) -> None:
    """A call without its arguments is no refusal of ours; what was written goes all the same."""
    with_steps(device, ("Write", {"path": "new.txt", "content": "x"}), ("Write", {"path": "y.txt"}))
    code, report = device.follow(NOTE)
    assert (code, "KeyError" in report["unusable"]) == (2, True)
    assert not (device.base / "new.txt").exists()


@pytest.mark.parametrize("said", [{"tools": "Write"}, {"commands": "sort"}, {"bounds": []}])
def test_a_devices_file_of_other_types_is_none(device: Device, said: dict[str, Any]) -> None:
    """A text of names would allow each piece of it."""
    (device.root / "d.json").write_text(json.dumps(said))
    with pytest.raises(run_follower.Unusable):
        run_follower.read_device(str(device.root / "d.json"))


def test_bounds_of_an_argument_that_no_program_is_given_are_an_error(device: Device) -> None:
    """Misspelled, they would hold nothing."""
    said = {"run": {"MoveArm": ["arm", "--x={x}"]}, "bounds": {"MoveArm": {"X": [0, 300]}}}
    (device.root / "d.json").write_text(json.dumps(said))
    with pytest.raises(run_follower.Unusable, match=r"MoveArm\.X"):
        run_follower.read_device(str(device.root / "d.json"))
    said["bounds"] = {"MoveArm": {"x": [0, 300]}, "Other": {"y": [0, 1]}}
    (device.root / "d.json").write_text(json.dumps(said))
    assert run_follower.read_device(str(device.root / "d.json"))["bounds"] == said["bounds"]


def test_bundles_that_are_first_seen_at_once_are_all_noted(device: Device) -> None:
    """Else the older one of a project could come back."""
    state, key = device.root / "seen.json", b"k" * 32

    def note(number: int) -> None:
        manifest = {"project": f"p{number}", "counter": number}
        run_follower.check_age(manifest, key, str(state), note=True)

    with ThreadPoolExecutor(8) as many:
        list(many.map(note, range(1, 41)))
    assert sorted(json.loads(state.read_text()).values()) == list(range(1, 41))
    with pytest.raises(run_follower.Unusable, match="older"):
        run_follower.check_age({"project": "p9", "counter": 8}, key, str(state), note=True)


def test_a_slot_that_stands_in_one_word_with_others_varies_alone() -> None:
    slots = (Slot(name="file", type=SlotType.PATH, value="names.txt"),)
    step = TraceStep(call=ToolCall(name="Read", arguments={"path": "in/names.txt"}))
    item = edge_item(learned("Show in names.txt", step, slots=slots, outputs=()))
    for path in ("../x.txt", "a/../../x.txt", "/x.txt"):
        with pytest.raises(run_follower.Refusal):
            run_follower.match(item, f"Show in {path}")
    assert Path(run_follower.match(item, "Show in b.txt")["file"]) == Path("b.txt")
