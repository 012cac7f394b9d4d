"""The payload contract of plain Celery apps."""

import pytest

from llmos_workers.contracts.base import usd_to_micro
from llmos_workers.contracts.errors import InvalidOption, PayloadError
from llmos_workers.contracts.modes import RequestedMode
from llmos_workers.contracts.payload import parse_payload


def test_a_full_payload_is_read():
    text, options, trace = parse_payload(
        {"v": 1, "goal": " do it ", "project": "p", "mode": "learner", "budget_usd": "0.5"}
    )
    assert (text, trace) == ("do it", None)
    assert options.mode is RequestedMode.LEARNER
    assert options.budget_micro == 500_000


def test_unknown_fields_are_named_and_the_known_ones_listed():
    with pytest.raises(PayloadError, match=r"'golas'.*budget_usd"):
        parse_payload({"goal": "x", "golas": 1})


@pytest.mark.parametrize(
    "field",
    [
        {"mode": "warp"},
        {"project": "../up"},
        {"budget_usd": 0},
        {"budget_usd": -1},
        {"budget_usd": float("nan")},
        {"budget_usd": float("inf")},
        {"budget_usd": "much"},
        {"budget_usd": True},
        {"priority": 9},
        {"priority": True},
        {"deadline": float("inf")},
        {"metadata": {"a": {1, 2}}},
        {"metadata": {"a": "x" * 20_000}},
        {"idempotency_key": "with space"},
        {"concurrency_key": "with space"},
        {"concurrency_key": "a" * 101},
        {"concurrency_key": ""},
        {"dry_run": "yes"},
        {"agent": ""},
    ],
)
def test_bad_options_are_refused(field):
    with pytest.raises(InvalidOption):
        parse_payload({"goal": "x", **field})


def test_positional_arguments_are_refused_with_what_to_send():
    with pytest.raises(PayloadError, match="by name") as refused:
        parse_payload({"goal": "x"}, [["results", "of", "a", "chord"]])
    assert "immutable" in refused.value.fix


def test_a_newer_version_is_refused_with_what_to_do():
    with pytest.raises(PayloadError, match="upgrade"):
        parse_payload({"v": 99, "goal": "x"})


def test_money_rounds_up_to_whole_micro_dollars():
    assert usd_to_micro("0.0000001") == 1
    assert usd_to_micro(10) == 10_000_000
