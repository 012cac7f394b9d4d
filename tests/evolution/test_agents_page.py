"""docs/agents.md tells the format as it is read."""

from __future__ import annotations

import re
from pathlib import Path

from llmos_workers.evolution.agent_file import FIELDS, parse_agent

PAGE = (Path(__file__).parents[2] / "docs" / "agents.md").read_text()


def test_the_example_is_an_agent() -> None:
    example = re.search(r"```markdown\n(.*?)```", PAGE, re.S)
    assert example
    agent = parse_agent(example[1], stem="release-notes", path="docs/agents.md")
    assert agent.model == "haiku"


def test_every_field_is_documented() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.M)) == set(FIELDS)
