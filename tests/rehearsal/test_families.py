"""Each family is recognised in words it has never seen, and look-alikes are not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from llmos_workers.contracts.errors import MalformedFile
from llmos_workers.rehearsal.brain import Brain
from llmos_workers.rehearsal.skills import load_families

BRAIN = Brain(load_families())
WORDINGS = yaml.safe_load(Path(__file__).with_name("wordings.yaml").read_text("utf-8"))
CASES = [(name, *case) for name, cases in WORDINGS.items() for case in cases]


def test_there_are_many_families_each_with_many_unseen_wordings():
    names = {family.name for family in load_families()}
    assert len(names) >= 14
    assert set(WORDINGS) == names
    assert all(len(cases) >= 8 for cases in WORDINGS.values())


@pytest.mark.parametrize(("name", "goal", "expected"), CASES, ids=[case[1] for case in CASES])
def test_a_goal_in_unseen_words_runs_its_family(name, goal, expected):
    found = BRAIN.recognise(goal)
    assert found is not None
    family, values = found
    assert family.name == name
    assert {key: values[key] for key in expected} == expected


@pytest.mark.parametrize("family", load_families(), ids=lambda family: family.name)
def test_each_familys_example_runs_it(family):
    found = BRAIN.recognise(family.example)
    assert found is not None
    assert found[0].name == family.name


LOOK_ALIKES = {
    # another language
    "Create a Ruby calculator": None,
    "Build a calculator in Go": None,
    "Write a hello world program in Kotlin": None,
    "Write a C++ script that prints all primes up to 50": None,
    "Erstelle einen Taschenrechner": None,
    # another direction
    "Convert people.json to CSV": "json-to-csv",
    "Convert people.csv to JSON": "csv-to-json",
    # other formats
    "Convert people.csv to XML": None,
    "Convert people.yaml to JSON": None,
    "Convert people.csv to JSON lines": None,
    # other jobs with the same words
    "Explain how a calculator works": None,
    "Delete the Python calculator": None,
    "Write unit tests for calculator.py": "unit-test-file",
    'Write a note "convert people.csv to JSON" to plan.txt': "note-file",
    "Write a script that converts CSV files to JSON": None,
    "Rename calculator.py to calc.py": "rename-file",
    "Copy people.csv to people.json": "copy-file",
    "Count the words in haiku.txt": "count-text",
    "Summarise primes.txt": "summarize-text",
    "What is a calculator?": None,
    "What is the difference between CSV and JSON?": None,
    "Delete all Python files": None,
    "List the files that contain the word python": None,
    "Send an e-mail to ada@example.org": None,
    "Sum up the meeting notes": None,
    "Write a Python mortgage calculator": None,
    "Who is the prime minister of Spain?": None,
    "Add a GPL licence": None,
    "Sort people.csv by age": None,
    "Remove the TODO comments": None,
    "Create a haiku poet agent": "create-agent",
    "Make me a sandwich": None,
}


@pytest.mark.parametrize(("goal", "name"), LOOK_ALIKES.items(), ids=list(LOOK_ALIKES))
def test_a_look_alike_goes_elsewhere(goal, name):
    found = BRAIN.recognise(goal)
    assert (found[0].name if found else None) == name


def test_only_the_goal_tag_counts():
    text = (
        "<similar_experience>\nIts goal: Convert a.csv to JSON\n</similar_experience>\n\n"
        "<goal>\nConvert b.json to CSV\n</goal>"
    )
    reply = BRAIN.reply(
        {
            "messages": [{"role": "user", "content": text}],
            "tools": [{"name": "Read"}, {"name": "Write"}],
        }
    )
    assert reply.family == "json-to-csv"
    assert reply.content[-1]["input"] == {"path": "b.json"}


def test_a_broken_family_file_is_named_with_its_line(tmp_path):
    (tmp_path / "bad.yaml").write_text("name: x\nshort: [\n")
    with pytest.raises(MalformedFile, match=r"bad\.yaml:\d"):
        load_families(tmp_path)
    (tmp_path / "bad.yaml").write_text("name: x\nsurprise: 1\n")
    with pytest.raises(MalformedFile, match=r"bad\.yaml"):
        load_families(tmp_path)
