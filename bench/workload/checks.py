"""What each job must leave behind, worked out from its inputs alone: nothing here knows how
the skills of the rehearsal model do it. Each check returns what is wrong, or "".
"""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

Values = Mapping[str, str]


@dataclass(frozen=True)
class Result:
    """What a goal came to."""

    ok: bool
    text: str
    files: Mapping[str, bytes]
    """All files of the project afterwards."""


@dataclass(frozen=True)
class Case:
    """A job with its values, the inputs it found, and what came of it."""

    values: Values
    inputs: Mapping[str, bytes]
    result: Result

    def made(self, value: str) -> str | None:
        """Text of the file that a value names; None when it is not there."""
        found = self.result.files.get(self.values[value])
        return found.decode() if found is not None else None

    def given(self, value: str = "source") -> str:
        """Text of an input file."""
        return self.inputs[self.values[value]].decode()


Check = Callable[[Case], str]


def _expect(right: bool, fault: str) -> str:
    return "" if right else fault


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def json_of_table(case: Case) -> str:
    """The JSON file holds the table's rows."""
    made = case.made("target")
    if made is None:
        return "no JSON file"
    got = [{k: str(v) for k, v in row.items()} for row in json.loads(made)]
    return _expect(got == _rows(case.given()), "other rows than the table")


def table_of_json(case: Case) -> str:
    """The CSV file holds the records."""
    made = case.made("target")
    if made is None:
        return "no CSV file"
    return _expect(_rows(made) == json.loads(case.given()), "other rows than the records")


def sorted_lines(case: Case) -> str:
    """The target holds the source's lines in the order asked for, and the source is as it was."""
    made = case.made("target")
    if made is None:
        return "no sorted file"
    right = sorted(case.given().splitlines(), reverse=case.values["order"] == "down")
    if case.result.files.get(case.values["source"]) != case.inputs[case.values["source"]]:
        return "the source was changed"
    return _expect(made.splitlines() == right, "not in that order")


def counted(case: Case) -> str:
    """The answer names the right number."""
    text = case.given()
    right = len(text.split()) if case.values["what"] == "words" else text.count("\n")
    body = case.result.text.replace(case.values["source"], "")
    numbers = re.findall(r"\b\d+\b", body)
    named = case.values["what"].rstrip("s") in body
    return _expect(numbers[:1] == [str(right)] and named, f"not {right} {case.values['what']}")


def copied(case: Case) -> str:
    """Both files hold the source's bytes."""
    source = case.inputs[case.values["source"]]
    if case.result.files.get(case.values["source"]) != source:
        return "the source is gone or changed"
    return _expect(case.result.files.get(case.values["target"]) == source, "no true copy")


def renamed(case: Case) -> str:
    """The source is gone and the target holds its bytes."""
    if case.values["source"] in case.result.files:
        return "the old name is still there"
    source = case.inputs[case.values["source"]]
    return _expect(case.result.files.get(case.values["target"]) == source, "not what it was")


def addresses(case: Case) -> str:
    """The target lists the source's e-mail addresses."""
    made = case.made("target")
    right = sorted(set(re.findall(r"[\w.]+@[\w.]*\w", case.given())))
    return _expect(made is not None and sorted(made.split()) == right, "other addresses")


def noted(case: Case) -> str:
    """The file holds the text."""
    return _expect((case.made("target") or "").strip() == case.values["text"], "another note")


def primes(case: Case) -> str:
    """The script prints the primes up to the limit."""
    limit = int(case.values["limit"])
    right = [n for n in range(2, limit + 1) if all(n % d for d in range(2, n))]
    return _runs_and_prints(case, [str(n) for n in right])


def greets(case: Case) -> str:
    """The script prints a greeting to that person."""
    return _runs_and_prints(case, ["Hello,", f"{case.values['who']}!"])


def _runs_and_prints(case: Case, words: list[str]) -> str:
    source = case.made("target")
    if source is None:
        return "no script"
    program = sys.executable if case.values["target"].endswith(".py") else "bash"
    with tempfile.TemporaryDirectory(prefix="llmos-check-") as folder:
        script = Path(folder) / "script"
        script.write_text(source, encoding="utf-8")
        ran = subprocess.run(
            [program, str(script)], capture_output=True, text=True, timeout=30, check=False
        )
    return _expect(ran.stdout.split() == words, f"it prints {ran.stdout.strip()[:60]!r}")


def licensed(case: Case) -> str:
    """An MIT licence for that holder and year."""
    made = case.made("target") or ""
    wanted = (case.values["holder"], case.values["year"], "MIT License", "WITHOUT WARRANTY")
    return _expect(all(word in made for word in wanted), "another licence")


def introduced(case: Case) -> str:
    """A README of that project."""
    first = (case.made("target") or "").splitlines()[:1]
    return _expect(first == [f"# {case.values['project']}"], "another README")


def totalled(case: Case) -> str:
    """The answer gives each region's sum."""
    sums: dict[str, int] = defaultdict(int)
    for row in _rows(case.given()):
        sums[row["region"]] += int(row["amount"])
    missing = [
        r for r, total in sums.items() if not re.search(rf"{r}\D+{total}\b", case.result.text)
    ]
    if case.values["source"] not in case.result.text:
        return "the totals of another file"
    return _expect(not missing, f"no total for {', '.join(missing)}")


def summarised(case: Case) -> str:
    """The summary tells total, least and most of the amounts."""
    made = case.made("target") or ""
    amounts = [int(row["amount"]) for row in _rows(case.given())]
    right = (str(sum(amounts)), str(min(amounts)), str(max(amounts)), case.values["source"])
    return _expect(all(value in made for value in right), "another summary")


def scaffolded(case: Case) -> str:
    """A package folder of that name, with a module in it."""
    package = re.compile(rf"(^|/){re.escape(case.values['package'])}/[^/]+\.py$")
    found = any(package.search(name) for name in case.result.files)
    return _expect(found, "no such package")


def found_marks(case: Case) -> str:
    """The answer shows exactly the lines of that mark."""
    mark = case.values["mark"]
    right = [line for line in case.given().splitlines() if f"# {mark}:" in line]
    shown = re.findall(r"# (?:TODO|FIXME):.*", case.result.text)
    return _expect(shown == right, f"not the lines with {mark}")


def explained(case: Case) -> str:
    """The answer is about the term."""
    words = case.values["words"].split()
    return _expect(all(word in case.result.text for word in words), "about something else")


def refused(case: Case) -> str:
    """There is nothing to work on: no success, and no file out of nothing."""
    if case.result.ok:
        return "said to be done, with nothing to do it on"
    return _expect(case.values["target"] not in case.result.files, "made a file out of nothing")
