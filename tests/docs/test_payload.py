"""docs/payload.md tells the contract as the code has it."""

from __future__ import annotations

import re
from pathlib import Path

from llmos_workers.contracts.goal import (
    FINAL_STATES,
    MAX_GOAL_CHARS,
    MAX_METADATA_BYTES,
    PAYLOAD_VERSION,
)
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.contracts.payload import FIELDS, parse_payload

PAGE = (Path(__file__).parents[2] / "docs" / "payload.md").read_text()


def table_after(heading: str) -> list[list[str]]:
    """Cells of the rows of the first table after the heading, without its head."""
    rows = PAGE.partition(f"## {heading}")[2].split("\n\n|", 1)[1].split("\n\n")[0]
    return [[c.strip() for c in row.strip("| ").split(" | ")] for row in rows.splitlines()[2:]]


def named(cells: list[list[str]]) -> list[str]:
    return [name for first, *_ in cells for name in re.findall(r"`(\w+)`", first)]


def test_the_fields_are_those_of_the_contract() -> None:
    fields = named(table_after(f"Fields (version {PAYLOAD_VERSION})"))
    assert sorted(fields) == sorted(FIELDS)


def test_limits_and_defaults_are_right() -> None:
    rows = {name: cells for cells in table_after("Fields") for name in named([cells])}
    assert f"{MAX_GOAL_CHARS:,}" in rows["goal"][1]
    assert f"{MAX_METADATA_BYTES:,}" in rows["metadata"][3]
    _, options, traceparent = parse_payload({"goal": "x"})
    defaults = options.model_dump(mode="json") | {"traceparent": traceparent, "v": PAYLOAD_VERSION}
    defaults["budget_usd"] = defaults.pop("budget_micro")
    told = {name: cells[2].strip("`") for name, cells in rows.items() if name != "goal"}
    words = {None: "none", False: "false"}
    expected = {name: words.get(value, str(value)) for name, value in defaults.items()
                if name in FIELDS and not isinstance(value, dict)}  # fmt: skip
    expected |= {"metadata": "{}", "agent": "system-agent", "seal": "none"}
    assert told == expected


def test_every_field_and_status_of_the_outcome_is_told() -> None:
    told = named(table_after("The outcome"))
    assert sorted(told) == sorted(Outcome.model_fields)
    assert [s for s in FINAL_STATES if f"`{s}`" not in PAGE] == []
