"""The files that the goals work on, and how they change. Pure: a name and a generation give
the same bytes every time.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Mapping

REGIONS = ("north", "south", "east", "west")
NAMES = ("Ada", "Linus", "Grace", "Edsger", "Barbara", "Alan", "Radia", "Ken", "Frances", "Tim")
CITIES = ("Oslo", "Lima", "Kyoto", "Quito", "Paris", "Cairo", "Turin", "Basel", "Delhi", "Porto")

TABLES = ("sales.csv", "costs.csv", "staff.csv")
RECORDS = ("orders.json", "customers.json")
LISTS = ("cities.txt", "guests.txt")
LETTERS = ("contacts.txt", "inbox.txt")
SOURCES = ("engine.py", "parser.py")
INPUTS = (*TABLES, *RECORDS, *LISTS, *LETTERS, *SOURCES)

Generations = Mapping[str, int]
"""How often each input has changed so far; a missing name has not."""


def files(generations: Generations) -> dict[str, bytes]:
    """Every input file as it is at these generations."""
    return {name: content(name, generations.get(name, 0)).encode() for name in INPUTS}


def content(name: str, generation: int) -> str:
    """What an input file holds; each generation differs from the one before."""
    dice = random.Random(f"{name}/{generation}")
    if name in TABLES:
        return _table(dice)
    if name in RECORDS:
        rows = [{"name": n, "city": dice.choice(CITIES)} for n in dice.sample(NAMES, 4)]
        return json.dumps([*rows, {"name": "Extra", "city": f"Town {generation}"}]) + "\n"
    if name in LISTS:
        words = [*dice.sample(CITIES, 6), *dice.sample(NAMES, 1 + generation % 5)]
        return "\n".join([*words, f"Zone {generation}"]) + "\n"
    if name in LETTERS:
        people = dice.sample(NAMES, 3)
        lines = [f"Dear {p}, write to {p.lower()}{generation}@example.org." for p in people]
        return "\n".join(lines) + "\n"
    marks = [f"# {dice.choice(('TODO', 'FIXME'))}: look at case {generation}-{i}" for i in range(3)]
    return "\n".join([*marks, f"# TODO: {name}", f"# FIXME: {name}", "VALUE = 1"]) + "\n"


def _table(dice: random.Random) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("region", "amount"))
    writer.writerows((dice.choice(REGIONS), dice.randrange(10, 1000)) for _ in range(6))
    return out.getvalue()
