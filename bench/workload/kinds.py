"""The kinds of job in the stream: their wordings, their values, their checks.

Beside each kind stands its look-alike: nearly the same words, another job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from bench.workload import checks
from bench.workload.checks import Check, Values
from bench.workload.world import LETTERS, LISTS, RECORDS, SOURCES, TABLES


@dataclass(frozen=True)
class Kind:
    """A kind of job."""

    name: str
    wordings: tuple[str, ...]
    """The first is how it is usually asked; the others say the same."""
    check: Check
    values: tuple[Values, ...]
    fails: bool = False
    """Whether it cannot be done."""


@dataclass(frozen=True)
class Task:
    """A kind with its values: what somebody keeps asking for."""

    kind: Kind
    values: Values

    def goal(self, wording: int = 0) -> str:
        """The goal in words."""
        return self.kind.wordings[wording % len(self.kind.wordings)].format(**self.values)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Input files it depends on."""
        source = self.values.get("source")
        return (source,) if source and not self.kind.fails else ()


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _each(sources: Sequence[str], pattern: str, **fixed: str) -> tuple[Values, ...]:
    """One set of values a source, its target made from its stem."""
    return tuple({"source": s, "target": pattern.format(stem=_stem(s)), **fixed} for s in sources)


def _grid(**choices: Sequence[str]) -> tuple[Values, ...]:
    """Every combination."""
    return tuple(dict(zip(choices, row, strict=True)) for row in product(*choices.values()))


KINDS: tuple[Kind, ...] = (
    Kind(
        "table to JSON",
        (
            "Convert {source} to JSON",
            "Turn the CSV file {source} into JSON",
            "Please make a JSON file out of {source}",
            "export {source} as json",
        ),
        checks.json_of_table,
        _each(TABLES, "{stem}.json"),
    ),
    Kind(
        "JSON to table",
        (
            "Convert {source} to CSV",
            "Turn the JSON file {source} into CSV",
            "Please make a CSV file out of {source}",
            "export {source} as csv",
        ),
        checks.table_of_json,
        _each(RECORDS, "{stem}.csv"),
    ),
    Kind(
        "sort up",
        (
            "Sort the lines of {source} into {target}",
            "Put the lines of {source} in alphabetical order and save them to {target}",
            "Please sort {source} alphabetically into {target}",
        ),
        checks.sorted_lines,
        _each(LISTS, "{stem}_sorted.txt", order="up"),
    ),
    Kind(
        "sort down",
        (
            "Sort the lines of {source} in descending order into {target}",
            "Put the lines of {source} in reverse alphabetical order and save them to {target}",
            "Please sort {source} backwards into {target}",
        ),
        checks.sorted_lines,
        _each(LISTS, "{stem}_sorted.txt", order="down"),
    ),
    Kind(
        "count lines",
        ("Count the lines in {source}", "How many lines does {source} have?"),
        checks.counted,
        _each((*LISTS, "contacts.txt"), "", what="lines"),
    ),
    Kind(
        "count words",
        ("Count the words in {source}", "How many words does {source} have?"),
        checks.counted,
        _each((*LISTS, "contacts.txt"), "", what="words"),
    ),
    Kind(
        "copy",
        (
            "Copy {source} to {target}",
            "Make a copy of {source} as {target}",
            "Duplicate {source} to {target}",
        ),
        checks.copied,
        _each(("sales.csv", "orders.json", "cities.txt", "inbox.txt"), "{stem}_kept.bak"),
    ),
    Kind(
        "rename",
        (
            "Rename {source} to {target}",
            "Change the name of {source} to {target}",
            "Move {source} to {target}",
        ),
        checks.renamed,
        _each(("sales.csv", "orders.json", "cities.txt", "inbox.txt"), "{stem}_kept.bak"),
    ),
    Kind(
        "addresses",
        (
            "Extract all email addresses from {source} into {target}",
            "Find the e-mail addresses in {source} and save them to {target}",
            "Pull every email out of {source} and write them to {target}",
        ),
        checks.addresses,
        _each(LETTERS, "{stem}_found.txt"),
    ),
    Kind(
        "note",
        (
            'Write a note "{text}" to {target}',
            'Save the reminder "{text}" as {target}',
            'Put the message "{text}" into {target}',
        ),
        checks.noted,
        _grid(
            text=("Call the plumber", "Water the plants", "Renew the passport", "Pay the rent"),
            target=("note.txt", "todo.txt"),
        ),
    ),
    Kind(
        "primes in Python",
        (
            "Write a Python script {target} that prints all primes up to {limit}",
            "Create {target} in Python, showing the prime numbers up to {limit}",
        ),
        checks.primes,
        _grid(limit=("30", "50", "70", "90"), target=("primes.py",)),
    ),
    Kind(
        "primes in bash",
        (
            "Write a bash script {target} that prints all primes up to {limit}",
            "Create {target} in bash, showing the prime numbers up to {limit}",
        ),
        checks.primes,
        _grid(limit=("30", "50"), target=("primes.sh",)),
    ),
    Kind(
        "greeting",
        (
            "Write a Python script {target} that greets {who}",
            "Make {target}, a Python program saying hello to {who}",
        ),
        checks.greets,
        _grid(who=("Ada", "Grace", "Linus", "Radia"), target=("hello.py",)),
    ),
    Kind(
        "licence",
        (
            "Add an MIT license for {holder}, {year}",
            "Write an MIT licence, copyright {year} by {holder}",
        ),
        checks.licensed,
        _grid(
            holder=("Ada Lovelace", "Grace Hopper"),
            year=("2024", "2025", "2026"),
            target=("LICENSE",),
        ),
    ),
    Kind(
        "readme",
        (
            "Write a README for the project {project}",
            "Create a readme file for {project}",
            "I need a README skeleton, project called {project}",
        ),
        checks.introduced,
        _grid(project=("Borealis", "Comet", "Delta", "Echo"), target=("README.md",)),
    ),
    Kind(
        "totals",
        (
            "Compute the totals per region of {source} with a Python script",
            "Sum {source} by region",
        ),
        checks.totalled,
        _each(TABLES, "totals.py"),
    ),
    Kind(
        "summary",
        (
            "Summarize {source} into {target}",
            "Sum up the key figures of {source} as a Markdown file {target}",
            "Write a summary of {source} to {target}",
        ),
        checks.summarised,
        _each(TABLES, "{stem}_summary.md"),
    ),
    Kind(
        "skeleton",
        (
            "Create a Python project skeleton called {package}",
            "Scaffold a Python package named {package}",
        ),
        checks.scaffolded,
        _grid(package=("comet", "nebula", "quasar")),
    ),
    Kind(
        "todos",
        ("Search {source} for {mark}s", "Find all {mark} comments in {source}"),
        checks.found_marks,
        _each(SOURCES, "", mark="TODO"),
    ),
    Kind(
        "fixmes",
        ("Search {source} for {mark}s", "Find all {mark} comments in {source}"),
        checks.found_marks,
        _each(SOURCES, "", mark="FIXME"),
    ),
    Kind(
        "fact",
        ("What is {term}?", "Please explain {term}", "Define {term}"),
        checks.explained,
        (
            {"term": "JSON", "words": "text format data objects"},
            {"term": "CSV", "words": "text format tables"},
            {"term": "recursion", "words": "itself smaller"},
            {"term": "HTTP", "words": "protocol web"},
        ),
    ),
    Kind(
        "nothing to convert",
        ("Convert {source} to JSON", "export {source} as json"),
        checks.refused,
        _each(("absent.csv", "missing.csv"), "{stem}.json"),
        fails=True,
    ),
)


def tasks() -> tuple[Task, ...]:
    """Every kind with every set of values."""
    return tuple(Task(kind, values) for kind in KINDS for values in kind.values)
