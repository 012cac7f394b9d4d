"""What the demo shows: goals in order, what is expected of each, and how it is checked.

Pure data and checks; demo.py runs it.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llmos_workers.contracts.modes import Mode

SALES = "region,amount\nnorth,120\nsouth,80\nnorth,30\n"
SALES_CHANGED = "region,amount\nnorth,120\nsouth,80\nnorth,30\neast,500\n"
PRICES = "item,price\npen,2\nbook,11\n"
CUSTOMERS = '[{"name": "Ada", "city": "London"}, {"name": "Linus", "city": "Helsinki"}]\n'

INPUTS = {"sales.csv": SALES, "prices.csv": PRICES, "customers.json": CUSTOMERS}

MODEL = frozenset({Mode.LEARNER, Mode.MIXED})
NEW = frozenset({Mode.LEARNER})
KNOWN = frozenset({Mode.FOLLOWER})
COMPILED = frozenset({Mode.CRYSTALLIZED})

PLANNED = frozenset({Mode.ORCHESTRATOR})

JOBS = "Write a haiku about rain into rain.md; copy rain.md to wet.md; convert prices.csv to JSON"

Check = Callable[[Path], str]
"""Looks at the project's output folder; returns what is wrong, or an empty string."""


@dataclass(frozen=True)
class Scene:
    """One goal of the demo."""

    title: str
    goal: str
    modes: frozenset[Mode]
    """Modes that are right; anything else fails the demo."""
    check: Check
    before: Callable[[Path], None] | None = None
    follows: int | None = None
    """Index of the scene whose trace a replay must follow."""
    once_compiled: bool = False
    """Not before upkeep has made a tool of that trace."""


def _calculator_works(folder: Path) -> str:
    """Use the calculator that was made: 6 * 7 by whatever name it gives multiplication."""
    program = folder / "calculator.py"
    if not program.is_file():
        return "calculator.py is missing"
    code = (
        "import runpy; names = runpy.run_path('calculator.py', run_name='calculator');"
        "print(names['multiply'](6, 7))"
    )
    ran = subprocess.run(
        [sys.executable, "-I", "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return "" if ran.stdout.split() in (["42"], ["42.0"]) else f"6 * 7 gave {ran.stdout!r}"


def _exists(name: str) -> Check:
    return lambda folder: "" if (folder / name).is_file() else f"{name} is missing"


def _json_of(csv_name: str, json_name: str) -> Check:
    def check(folder: Path) -> str:
        made = folder / json_name
        if not made.is_file():
            return f"{json_name} is missing"
        with (folder / csv_name).open(newline="", encoding="utf-8") as source:
            rows = list(csv.DictReader(source))
        got = [
            {key: str(value) for key, value in row.items()} for row in json.loads(made.read_text())
        ]
        return "" if got == rows else f"{json_name} does not hold the rows of {csv_name}"

    return check


def _csv_of_customers(folder: Path) -> str:
    made = folder / "customers.csv"
    if not made.is_file():
        return "customers.csv is missing"
    with made.open(newline="", encoding="utf-8") as source:
        rows = list(csv.DictReader(source))
    return "" if rows == json.loads(CUSTOMERS) else "customers.csv does not hold the customers"


def _summary_says(total: int) -> Check:
    def check(folder: Path) -> str:
        made = folder / "summary.md"
        if not made.is_file():
            return "summary.md is missing"
        text = made.read_text(encoding="utf-8")
        return "" if str(total) in text else f"summary.md does not say {total}"

    return check


def _same(source: str, copy: str) -> Check:
    def check(folder: Path) -> str:
        made = folder / copy
        if not made.is_file():
            return f"{copy} is missing"
        same = made.read_bytes() == (folder / source).read_bytes()
        return "" if same else f"{copy} is not what {source} is"

    return check


def _change_sales(folder: Path) -> None:
    (folder / "sales.csv").write_text(SALES_CHANGED, encoding="utf-8")


def _remove(*names: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        for name in names:
            (folder / name).unlink(missing_ok=True)

    return remove


def _all_jobs_done(folder: Path) -> str:
    """Both haikus are there and equal, and the table is."""
    return (
        _exists("rain.md")(folder)
        or _same("rain.md", "wet.md")(folder)
        or _json_of("prices.csv", "prices.json")(folder)
    )


SCENES: tuple[Scene, ...] = (
    Scene("a new goal", "Create a Python calculator", NEW, _calculator_works),
    Scene(
        "the same again",
        "Create a Python calculator",
        KNOWN,
        _calculator_works,
        before=_remove("calculator.py"),
        follows=0,
    ),
    Scene(
        "in other words",
        "Build a calculator in Python",
        KNOWN,
        _calculator_works,
        before=_remove("calculator.py"),
        follows=0,
    ),
    Scene(
        "in other words",
        "Make a calc tool using python",
        KNOWN,
        _calculator_works,
        before=_remove("calculator.py"),
        follows=0,
    ),
    Scene("another language", "Create a JavaScript calculator", NEW, _exists("calculator.js")),
    Scene("a new goal", "Copy sales.csv to backup.csv", MODEL, _same("sales.csv", "backup.csv")),
    Scene(
        "other values",
        "Copy prices.csv to saved.csv",
        KNOWN,
        _same("prices.csv", "saved.csv"),
        follows=5,
    ),
    Scene("a new goal", "Convert sales.csv to JSON", MODEL, _json_of("sales.csv", "sales.json")),
    Scene("the other direction", "Convert customers.json to CSV", NEW, _csv_of_customers),
    *(
        Scene(
            f"its {uses} use",
            "Create a Python calculator",
            KNOWN,
            _calculator_works,
            before=_remove("calculator.py"),
            follows=0,
        )
        for uses in ("fourth", "fifth")
    ),
    Scene("a new goal", "Summarize sales.csv into summary.md", MODEL, _summary_says(230)),
    Scene(
        "the same again",
        "Summarize sales.csv into summary.md",
        KNOWN,
        _summary_says(230),
        before=_remove("summary.md"),
        follows=11,
    ),
    Scene(
        "its input changed",
        "Summarize sales.csv into summary.md",
        MODEL,
        _summary_says(730),
        before=_change_sales,
    ),
    Scene(
        "after five uses: compiled to a tool",
        "Create a Python calculator",
        COMPILED,
        _calculator_works,
        before=_remove("calculator.py"),
        follows=0,
        once_compiled=True,
    ),
    Scene("several jobs: a plan of goals", JOBS, PLANNED, _all_jobs_done),
    Scene(
        "the same again: plan and parts are known",
        JOBS,
        PLANNED,
        _all_jobs_done,
        before=_remove("rain.md", "wet.md", "prices.json"),
        follows=15,
    ),
)
