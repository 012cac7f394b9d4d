"""A device follows what it was given, as it was given, and nothing else."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime import run_follower
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import TraceStep
from llmos_workers.kernel.signing import KeyRing
from llmos_workers.learning.edge_bundle import Allowed
from llmos_workers.learning.signature import goal_signature
from tests.edge.conftest import AGENTIC, RUNNER, Device, learned, moving, noting, sorting

SORT = "Sort the lines of names.txt into sorted.txt"

# RFC 8032, section 7.1: public key, message, signature.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b4"
        "6bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d"
        "8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6"
        "594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize("vector", VECTORS)
def test_signatures_are_verified_as_rfc_8032_says(vector: tuple[str, str, str]) -> None:
    key, message, signature = map(bytes.fromhex, vector)
    assert run_follower.verify(key, message, signature)
    assert not run_follower.verify(key, message + b"x", signature)
    for at in (0, 31, 32, 63):
        wrong = bytearray(signature)
        wrong[at] ^= 1
        assert not run_follower.verify(key, message, bytes(wrong))


def test_a_signature_has_one_form() -> None:
    """s + L would be the same point: it is refused, as are points that are written in two ways."""
    key, message, signature = map(bytes.fromhex, VECTORS[1])
    s = int.from_bytes(signature[32:], "little") + run_follower.L
    assert not run_follower.verify(key, message, signature[:32] + s.to_bytes(32, "little"))
    assert not run_follower.verify((run_follower.P + 1).to_bytes(32, "little"), message, signature)
    assert not run_follower.verify(key, message, signature[:63])


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=200))
def test_what_the_usual_library_signs_holds(message: bytes) -> None:
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    assert run_follower.verify(public, message, private.sign(message))


@given(st.text(max_size=60) | st.sampled_from([SORT, 'Write "A B" to X.txt ', "a/B c'd' `E`!"]))
def test_wordings_are_compared_as_llmos_compares_them(text: str) -> None:
    assert run_follower.signature_of(text) == goal_signature(text)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize("without", [False, True], ids=["_json", "json"])
def test_json_is_read_and_written_as_everywhere(
    without: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if without:  # an interpreter without the module that json is made of
        monkeypatch.setitem(sys.modules, "_json", None)

    @settings(max_examples=40, deadline=None)
    @given(VALUES)
    def holds(value: Any) -> None:
        assert run_follower.write_json(value) == json.dumps(value, ensure_ascii=False)
        for text in (
            json.dumps(value),
            f" {json.dumps(value, indent=1)}\n",
            json.dumps(value).encode(),
        ):
            assert run_follower.read_json(text) == value

    holds()
    for wrong in (
        "",
        " ",
        "{",
        "1 2",
        "{} x",
        "nope",
        "[1,]",
        '{"a": NaN}',
        "Infinity",
        "'a'",
        b"\xff",
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - what json raises is one
            run_follower.read_json(wrong)


def test_the_runner_is_one_file_of_the_standard_library_for_python_3_9() -> None:
    source = RUNNER.read_text()
    tree = ast.parse(source, feature_version=(3, 9))
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    known = "__future__ binascii collections.abc fcntl hashlib json os re shlex subprocess sys time"
    parts = {"typing", "unicodedata", "_json", "_sha2", "_sha256", "_sha512"}
    assert names <= {*known.split(), *parts}


def test_a_known_goal_is_done_and_another_one_with_its_values(device: Device) -> None:
    assert not device.load(sorting(), noting()).left_out
    code, report = device.follow(SORT)
    assert (code, report["ok"]) == (0, True)
    assert (device.base / "sorted.txt").read_text() == "a\nb\n"
    (device.base / "staff.txt").write_text("z\ny\n")
    code, report = device.follow("please sort the lines of staff.txt into out.txt.")
    assert code == 0, report
    assert (device.base / "out.txt").read_text() == "y\nz\n"
    assert report["answer"] == "Sorted staff.txt into out.txt."
    code, report = device.follow('Write the note "bread" to list.txt')
    assert code == 0, report
    assert (device.base / "list.txt").read_text() == "bread\n"


@pytest.mark.parametrize(
    "goal",
    [
        "Sort the lines of names.txt into sorted.txt in reverse",
        "Sort the lines of sorted.txt",
        "Do not sort the lines of names.txt into sorted.txt",
        "Sort the words of names.txt into sorted.txt",
        "Sort the lines of names.csv into sorted.txt",
        "Sort the lines of ../names.txt into sorted.txt",
        "Sort the lines of names.txt into /etc/sorted.txt",
        "Sort the lines of names.txt into sorted.txt and mail it",
        "Sort the lines of names.txt staff.txt into sorted.txt",
        "Sort the lines of -rf.txt into sorted.txt",
        "Delete the lines of names.txt into sorted.txt",
        'Write the note "milk" to note.txt twice',
        'Append the note "milk" to note.txt',
        "",
    ],
)
def test_in_doubt_it_refuses(device: Device, goal: str) -> None:
    device.load(sorting(), noting())
    before = sorted(path.name for path in device.base.iterdir())
    code, report = device.follow(goal)
    assert (code, report["ok"]) == (1, False)
    assert report["refused"]
    assert sorted(path.name for path in device.base.iterdir()) == before


def test_a_known_wording_comes_before_a_reading_with_other_values(device: Device) -> None:
    step = TraceStep(call=ToolCall(name="Write", arguments={"path": "o", "content": "fixed"}))
    device.load(sorting(), learned("Sort the lines of staff.txt into out.txt", step))
    assert device.follow("Sort the lines of staff.txt into out.txt")[0] == 0
    assert (device.base / "o").read_text() == "fixed"
    assert device.follow(SORT)[0] == 0


def test_what_changed_since_is_not_followed(device: Device) -> None:
    device.load(sorting())
    (device.base / "names.txt").write_text("c\nb\n")
    code, report = device.follow(SORT)
    assert code == 1
    assert "names.txt is not as it was" in report["refused"]
    assert not (device.base / "sorted.txt").exists()


def test_what_comes_out_otherwise_is_put_back(device: Device) -> None:
    trace = noting()
    wrong = trace.steps[0].writes[0].model_copy(update={"digest": "0" * 64})
    step = trace.steps[0].model_copy(update={"writes": (wrong,)})
    device.load(trace.model_copy(update={"steps": (step,)}))
    (device.base / "note.txt").write_text("before")
    code, report = device.follow('Write the note "milk" to note.txt')
    assert (code, "is not as it was" in report["refused"]) == (1, True)
    assert (device.base / "note.txt").read_text() == "before"


# -- Threat 15: a bundle is what its maker signed, or it is nothing ------------------------------


def test_a_flipped_byte_anywhere_is_refused(device: Device) -> None:
    data = device.load(sorting()).data
    for at in range(0, len(data), max(1, len(data) // 40)):
        wrong = bytearray(data)
        wrong[at] ^= 1
        device.bundle.write_bytes(bytes(wrong))
        code, report = device.follow(SORT)
        assert (code, report["ok"]) == (2, False), at
    assert not (device.base / "sorted.txt").exists()


def test_another_key_an_older_and_an_expired_bundle_are_refused(device: Device) -> None:
    device.load(sorting(), counter=5)
    stranger = KeyRing(device.root / "other").own().text
    assert device.follow(SORT, key=stranger)[0] == 2
    assert device.follow(SORT)[0] == 0
    device.load(sorting(), counter=4)
    code, report = device.follow(SORT)
    assert (code, "older" in report["unusable"]) == (2, True)
    device.load(sorting(), counter=6, now=0)
    code, report = device.follow(SORT)
    assert (code, "expired" in report["unusable"]) == (2, True)


def test_a_bundle_that_asks_for_bash_is_refused_where_there_is_none(device: Device) -> None:
    device.load(sorting())
    device.allows = {"tools": ["Read", "Write"]}
    code, report = device.follow(SORT)
    assert (code, report["refused"]) == (1, "the device does not allow Bash")
    device.allows = {"tools": ["Bash"], "commands": ["cat"]}
    code, report = device.follow(SORT)
    assert (code, "not allowed here" in report["refused"]) == (1, True)


def test_a_condition_that_is_not_known_does_not_hold(device: Device) -> None:
    device.load(noting())
    head, _, line = device.bundle.read_bytes().split(b"\n")[:3]
    item = json.loads(line)
    item["before"].append({"check": "phase_of_the_moon", "value": "full"})
    resign(device, json.loads(head), [item])
    code, report = device.follow('Write the note "milk" to note.txt')
    assert (code, "not known here" in report["refused"]) == (1, True)


@pytest.mark.parametrize(
    "path",
    ["../out.txt", "/tmp/out.txt", "a/../../out.txt", "link.txt", "linked/out.txt", "hard.txt",
     "fifo", "~/out.txt", "."],
)  # fmt: skip
def test_nothing_is_written_out_of_the_folder(device: Device, path: str) -> None:
    outside = device.root / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("kept")
    (device.base / "link.txt").symlink_to(outside / "kept.txt")
    (device.base / "linked").symlink_to(outside)
    os.link(outside / "kept.txt", device.base / "hard.txt")
    os.mkfifo(device.base / "fifo")
    device.load(noting())
    head, _, line = device.bundle.read_bytes().split(b"\n")[:3]
    item = json.loads(line)
    item["steps"] = [{"tool": "Write", "arguments": {"path": path, "content": "x"},
                      "before": [], "after": []}]  # fmt: skip
    resign(device, json.loads(head), [item])
    code, _ = device.follow('Write the note "milk" to note.txt')
    assert code == 1
    assert [found.name for found in outside.iterdir()] == ["kept.txt"]
    assert (outside / "kept.txt").read_text() == "kept"
    assert not (device.root / "out.txt").exists()


@pytest.mark.parametrize(
    "command",
    ["sort names.txt | cp - x", "sort names.txt; cp a b", "sort $(ls)", "sort `ls`", "sort *",
     "sort ../names.txt", "sort /etc/passwd", "sort --output=/tmp/x names.txt", "rm names.txt",
     "sort names.txt > ../x", "sort < /etc/passwd", "sort 'a", "sort ~/x", "cp names.txt out/link"],
)  # fmt: skip
def test_a_command_has_no_shell_and_stays_in_the_folder(device: Device, command: str) -> None:
    (device.base / "out").mkdir()
    (device.base / "out" / "link").symlink_to("/tmp/llmos-edge-test")
    device.load(noting())
    head, _, line = device.bundle.read_bytes().split(b"\n")[:3]
    item = json.loads(line)
    item["steps"] = [{"tool": "Bash", "arguments": {"command": command}, "before": [], "after": []}]
    resign(device, json.loads(head), [item])
    code, report = device.follow('Write the note "milk" to note.txt')
    assert code == 1, report
    assert (device.base / "names.txt").read_text() == "b\na\n"
    assert not Path("/tmp/llmos-edge-test").exists()


def test_numbers_stay_within_the_bounds_of_bundle_and_device(device: Device) -> None:
    (device.root / "arm").write_text("#!/bin/sh\necho moved $*\n")
    (device.root / "arm").chmod(0o755)
    bounds = {"MoveArm": {"x": (0.0, 300.0)}}
    device.load(moving(), allowed=Allowed(tools={"MoveArm"}, bounds=bounds))
    arm = [str(device.root / "arm"), "--x", "{x}", "--speed", "{speed}"]
    device.allows = {"tools": ["MoveArm"], "run": {"MoveArm": arm},
                     "bounds": {"MoveArm": {"x": [50, 1000]}}}  # fmt: skip
    code, report = device.follow("Move the arm to 250")
    assert (code, report["steps"][0]["output"]) == (0, "moved --x 250 --speed slow\n")
    assert device.follow("Move the arm to 250.5")[0] == 0
    for wrong in ("301", "20", "-5", "1e3", "9999999999999999", "25,0", "2,50", "2,5"):
        code, report = device.follow(f"Move the arm to {wrong}")
        assert code == 1, report


def test_what_it_knows_and_why_it_would_not_is_told_without_doing_it(device: Device) -> None:
    device.load(sorting(), noting())
    code, report = device.follow("--list")
    assert (code, len(report["traces"])) == (0, 2)
    code, report = device.follow("Sort the words of names.txt", "--explain")
    assert (code, len(report["against"])) == (1, 2)
    code, report = device.follow(SORT, "--dry-run")
    assert (code, report["dry_run"]) == (0, True)
    assert not (device.base / "sorted.txt").exists()


@pytest.mark.parametrize(
    "arguments",
    [[], ["a", "b", "c"], ["x", "y", "--frobnicate"], ["x", "y", "--key"], ["x", "y"],
     ["x", "y", "--key", "ed25519:AAAA"]],
)  # fmt: skip
def test_wrong_usage_is_two_and_says_what_is_right(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLMOS_EDGE_KEY", raising=False)
    assert run_follower.main(arguments) == 2
    assert json.loads(capsys.readouterr().out)["unusable"]


def test_what_no_device_could_follow_is_left_out_with_the_reason(device: Device) -> None:
    told = device.load(
        learned("Find todos", sorting().steps[0], proved=False),
        sorting().model_copy(update={"destructive": True, "trace_id": "a" * 16}),
        allowed=Allowed(commands=()),
    ).left_out
    assert any("not proved" in why for why in told.values())
    assert any("Bash is not allowed in the bundle" in why for why in told.values())


def resign(device: Device, manifest: dict[str, Any], items: list[dict[str, Any]]) -> None:
    """A bundle that its own maker changed: what the runner itself has to hold against."""
    import base64
    import hashlib

    from llmos_workers.learning.edge_bundle import KIND, _line

    lines = [_line(item) for item in items]
    manifest["items"] = [{"id": item["id"], "sha256": hashlib.sha256(line).hexdigest()}
                         for item, line in zip(items, lines, strict=True)]  # fmt: skip
    head = _line(manifest)
    signature = base64.b64decode(device.keys.sign(KIND, head).rpartition(":")[2]).hex()
    parts = [head, _line({"signature": signature}), *lines]
    device.bundle.write_bytes(b"\n".join(parts) + b"\n")


@pytest.mark.parametrize("python", ["3.9", "3.10", "3.12", "3.13"])
def test_other_pythons_of_this_machine_follow_the_same(device: Device, python: str) -> None:
    beside = sorted(Path(sys.base_prefix).parent.glob(f"{python}.*/bin/python3"))
    found = str(beside[0]) if beside else shutil.which(f"python{python}")
    if not found or subprocess.run([found, "-V"], capture_output=True, check=False).returncode:
        pytest.skip(f"no Python {python} here")
    device.load(sorting())
    (device.base / "staff.txt").write_text("z\ny\n")
    for runner in (RUNNER, AGENTIC):
        goal = "Sort the lines of staff.txt into out.txt"
        code, report = device.follow(goal, runner=runner, python=found)
        assert code == 0, report
        assert (device.base / "out.txt").read_text() == "y\nz\n"
        (device.base / "out.txt").unlink()
