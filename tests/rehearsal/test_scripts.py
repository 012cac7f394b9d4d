"""The scripts really do their jobs: run turn by turn over HTTP with tools that touch files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from llmos_workers.contracts.rehearsal import SIGNATURE, is_rehearsal_failure
from llmos_workers.rehearsal.brain import Brain
from llmos_workers.rehearsal.skills import load_families
from tests.rehearsal.conftest import TOOLS, user

BRAIN = Brain(load_families())
SALES = "day,category,amount\n1,tea,3.50\n2,milk,1.25\n3,tea,4.00\n"


def use(area: Path, name: str, given: dict) -> tuple[str, bool]:
    """A small stand-in for the tools: (output, ok)."""
    if name == "Read":
        path = area / given["path"]
        return (path.read_text(), True) if path.exists() else ("no such file", False)
    if name == "Write":
        path = area / given["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(given["content"])
        return "written", True
    if name == "Glob":
        return "\n".join(
            sorted(str(p.relative_to(area)) for p in area.glob(given["pattern"]))
        ), True
    if name == "Grep":
        files = sorted(p for p in (area / given["path"]).rglob("*") if p.is_file())
        hits = [
            f"{path.relative_to(area)}:{number}:{line}"
            for path in files
            for number, line in enumerate(path.read_text().splitlines(), 1)
            if re.search(given["pattern"], line)
        ]
        return "\n".join(hits), True
    done = subprocess.run(
        ["bash", "-c", given["command"]], cwd=area, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr, done.returncode == 0


def run(area: Path, goal: str) -> str:
    """Run a goal to its end; the final text without the signature."""
    messages = [user(f"<goal>\n{goal}\n</goal>")]
    for _ in range(10):
        reply = BRAIN.reply({"messages": messages, "tools": TOOLS})
        if reply.stop_reason == "end_turn":
            text = reply.content[0]["text"]
            assert text.endswith(SIGNATURE)
            return text.removesuffix(SIGNATURE).strip()
        results = []
        for block in reply.content:
            if block["type"] == "tool_use":
                output, ok = use(area, block["name"], block["input"])
                result = {"type": "tool_result", "tool_use_id": block["id"], "content": output}
                results.append(result | {"is_error": not ok})
        messages += [{"role": "assistant", "content": reply.content}, user(results)]
    raise AssertionError("the script does not end")


def sh(area: Path, *command: str) -> str:
    return subprocess.run(command, cwd=area, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("goal", "command"),
    [
        ("Create a Python calculator", ["python3", "calculator.py"]),
        ("Create a bash calculator", ["bash", "calculator.sh"]),
        ("Create a JavaScript calculator", ["node", "calculator.js"]),
    ],
)
def test_calculators_calculate(tmp_path, goal, command):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    assert not is_rehearsal_failure(run(tmp_path, goal))
    assert float(sh(tmp_path, *command, "84", "/", "2")) == 42
    assert float(sh(tmp_path, *command, "2", "-", "5")) == -3


def test_csv_and_json_go_both_ways(tmp_path):
    (tmp_path / "a.csv").write_text('name,age\n"Lovelace, Ada",36\nAlan,41\n')
    run(tmp_path, "Convert a.csv to JSON in b.json")
    assert json.loads((tmp_path / "b.json").read_text())[0] == {"name": "Lovelace, Ada", "age": 36}
    run(tmp_path, "Turn b.json into the CSV c.csv")
    assert (tmp_path / "c.csv").read_text() == (tmp_path / "a.csv").read_text()


def test_greetings_are_printed_whatever_they_hold(tmp_path):
    run(tmp_path, "Write a Python script that greets Grace Hopper")
    assert sh(tmp_path, "python3", "hello.py") == "Hello, Grace Hopper!\n"
    run(tmp_path, "Create a bash script hey.sh saying \"It's $HOME, isn't it?\" as a greeting")
    assert sh(tmp_path, "bash", "hey.sh") == "It's $HOME, isn't it?\n"


@pytest.mark.parametrize("language", ["python", "bash"])
def test_primes_are_right(tmp_path, language):
    runner, name = {"python": ("python3", "primes.py"), "bash": ("bash", "primes.sh")}[language]
    run(tmp_path, f"Write a {language} script that prints all primes up to 20")
    assert sh(tmp_path, runner, name).split() == ["2", "3", "5", "7", "11", "13", "17", "19"]
    run(tmp_path, f"Write a {language} script that prints the first 4 primes")
    assert sh(tmp_path, runner, name).split() == ["2", "3", "5", "7"]


def test_a_csv_summary_holds_the_real_figures(tmp_path):
    (tmp_path / "sales.csv").write_text(SALES)
    answer = run(tmp_path, "Summarise sales.csv into summary.md")
    summary = (tmp_path / "summary.md").read_text()
    assert "| amount | 8.75 | 2.92 | 1.25 | 4.00 |" in summary
    assert "- Rows: 3" in summary
    assert "total amount 8.75" in answer


def test_a_text_summary_follows_the_text(tmp_path):
    (tmp_path / "talk.txt").write_text("Ships float. They do.\n\nStones sink! Always.\n")
    run(tmp_path, "Sum up talk.txt in points.md")
    summary = (tmp_path / "points.md").read_text()
    assert "- Ships float.\n- Stones sink!" in summary
    assert "- Words: 7" in summary


def test_counts_notes_copies_renames_and_sorts(tmp_path):
    assert not is_rehearsal_failure(run(tmp_path, 'Write a note "b c\na" to n.txt'))
    assert "3 words" in run(tmp_path, "Count the words in n.txt")
    run(tmp_path, "Copy n.txt to m.txt")
    run(tmp_path, "Rename n.txt to o.txt")
    run(tmp_path, "Sort the lines of o.txt")
    assert not (tmp_path / "n.txt").exists()
    assert (tmp_path / "m.txt").read_text() == "b c\na\n"
    assert (tmp_path / "o.txt").read_text() == "a\nb c\n"
    assert "m.txt\no.txt" in run(tmp_path, "List all text files")


def test_addresses_and_todos_are_found(tmp_path):
    (tmp_path / "x.txt").write_text("a@b.org, c@d.net # TODO: e\na@b.org\n")
    run(tmp_path, "Extract all e-mail addresses from x.txt into y.txt")
    assert (tmp_path / "y.txt").read_text() == "a@b.org\nc@d.net\n"
    assert "x.txt:1:" in run(tmp_path, "Find all TODO comments")


def test_skeletons_work(tmp_path):
    run(tmp_path, "Create a Python project skeleton called rocket")
    assert sh(tmp_path / "rocket", "python3", "-c", "import rocket; print(rocket.__doc__)")
    run(tmp_path, "Write a README for the project Borealis")
    assert (tmp_path / "README.md").read_text().startswith("# Borealis\n")
    run(tmp_path, "Add an MIT license for Grace Hopper, 2025")
    assert "Copyright (c) 2025 Grace Hopper" in (tmp_path / "LICENSE").read_text()
    run(tmp_path, "Write a haiku about winter")
    assert (tmp_path / "haiku.txt").read_text().startswith("Winter\n\n")
    assert "whole number" in run(tmp_path, "What is a prime number?")


def test_unit_tests_are_written_and_pass(tmp_path):
    run(tmp_path, "Create a Python calculator")
    answer = run(tmp_path, "Write unit tests for calculator.py")
    assert "checks 6 functions" in answer
    assert "test_divide_is_there" in (tmp_path / "test_calculator.py").read_text()


def test_totals_per_category_are_right(tmp_path):
    (tmp_path / "sales.csv").write_text(SALES)
    answer = run(tmp_path, "Compute the totals per category of sales.csv with a Python script")
    assert "tea: day 4, amount 7.50" in answer


@pytest.mark.parametrize(
    "goal", ["Convert no.csv to JSON", "Convert bad.json to CSV", "Sum sales.csv by nothing"]
)
def test_a_job_that_cannot_be_done_says_so(tmp_path, goal):
    (tmp_path / "bad.json").write_text("{nonsense")
    (tmp_path / "sales.csv").write_text(SALES)
    assert is_rehearsal_failure(run(tmp_path, goal))


def test_each_turn_is_a_pure_function_of_the_request(tmp_path):
    request = {"messages": [user("Create a Python calculator")], "tools": TOOLS}
    assert BRAIN.reply(request) == Brain(load_families()).reply(request)
