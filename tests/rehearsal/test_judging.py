"""The rehearsal model as a judge that errs: in the share asked for, on the same pairs each time."""

from __future__ import annotations

import json

from llmos_workers.contracts.rehearsal import JUDGE_MARKER
from llmos_workers.rehearsal.brain import Brain
from llmos_workers.rehearsal.skills import load_families

FAMILIES = load_families()


def verdict(brain: Brain, known: str, asked: str) -> str:
    text = f"<recorded_goal>\n{known}\n</recorded_goal>\n<new_goal>\n{asked}\n</new_goal>"
    request = {
        "system": [{"type": "text", "text": JUDGE_MARKER}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
    }
    return str(json.loads(brain.reply(request).content[0]["text"])["verdict"])


def pairs(count: int) -> list[tuple[str, str]]:
    return [
        (f"Convert f{n}.csv to JSON", f"Turn the CSV file f{n}.csv into JSON") for n in range(count)
    ]


def test_a_judge_without_error_knows_rewordings_from_other_values() -> None:
    brain = Brain(FAMILIES)
    assert {verdict(brain, *pair) for pair in pairs(20)} == {"yes"}
    assert verdict(brain, "Convert a.csv to JSON", "Convert b.csv to JSON") == "no"


def test_an_erring_judge_errs_in_its_share_and_never_changes_its_mind() -> None:
    brain = Brain(FAMILIES, judge_error=0.2)
    said = [verdict(brain, *pair) for pair in pairs(400)]
    assert 50 < said.count("no") < 110
    assert said == [verdict(brain, *pair) for pair in pairs(400)]
