"""llmos budget: show, set, ledger, doubt, check."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from llmos_cli.budget import budget
from llmos_cli.budget_render import bar
from llmos_workers.kernel import keys
from llmos_workers.kernel.economy_scopes import Sums
from tests.kernel.economy_support import an_economy, reserve, used

DOCUMENT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


@pytest.fixture
def economy(state, tmp_path):
    """$10, of which $2 are spent, $1 is in doubt and $1 is reserved."""
    found = an_economy(state, tmp_path, 10_000_000)
    spent, doubtful, _held = (reserve(found, n * 1_000_000, goal=f"g{n}") for n in (2, 1, 1))
    for call in (spent, doubtful):
        found.mark_sent(call)
    found.settle(spent, usage=used(2_000_000))
    found.in_doubt(doubtful)
    found.record_saved(goal_id="g9", project="q", mode="FOLLOWER", micro=70_000)
    return found


def test_every_command_and_option_stands_in_the_document():
    chapter = DOCUMENT.split("### `llmos budget")[1].split("\n## ")[0]
    for name, command in budget.commands.items():
        assert f"`llmos budget {name}" in chapter
        for option in command.params:
            assert option.param_type_name == "argument" or option.opts[0] in chapter, option.name


def test_show_draws_a_bar_for_each_limit(run, economy):
    economy.set_limit("project:p", 5_000_000, window="day")
    told = run("budget", "show")
    assert told.code == 0
    assert "\x1b" not in told.out
    blocks = told.out.split("\n\n")
    assert [block.splitlines()[0] for block in blocks[:3]] == ["global", "project:p", "project:q"]
    assert re.search(
        r"lifetime +█{6}▓{3}░{3}·{20} +40 %  \$4\.0000 of \$10\.0000, \$6\.0000 left", blocks[0]
    )
    assert "spent $2.0000, reserved $1.0000, in doubt $1.0000, saved by replay $0.0700" in blocks[0]
    assert re.search(r"day \d{4}-\d\d-\d\d +█+▓+░+·+ +80 %  ", blocks[1])
    assert "lifetime        no limit" in blocks[1]
    assert "1 in doubt: llmos budget doubt" in told.out


def test_show_for_programs_and_of_one_project(run, economy):
    data = run("budget", "show", "--project", "q", "--json").json
    assert [scope["scope"] for scope in data["scopes"]] == ["global", "project:q"]
    life, day, month = data["scopes"][0]["limits"]
    assert (life["window"], life["limit_micro"], life["left_micro"]) == (
        "lifetime", 10_000_000, 6_000_000,
    )  # fmt: skip
    assert (day["window"], day["spent_micro"], day["limit_micro"]) == ("day", 2_000_000, None)
    assert day["period"].startswith(month["period"])
    assert data["calls_in_doubt"] == 1
    assert run("budget", "show", "--project", "../x").code == 2


def test_an_empty_system_shows_its_first_limit(run):
    assert "$0.0000 of $10.0000" in run("budget", "show").out
    assert run("budget", "check").out.endswith("all agree.\n")
    assert run("budget", "doubt").out == "no call is in doubt.\n"
    assert run("budget", "ledger").out == ""


def test_show_says_when_a_setting_is_not_the_limit_in_force(run, economy, monkeypatch):
    monkeypatch.setenv("LLMOS_BUDGET_USD", "25")
    hint = "llmos budget set global 25"
    assert hint in run("budget", "show").out
    assert run(*hint.split()[1:]).code == 0
    assert hint not in run("budget", "show").out


def test_set_limits_a_scope_for_life_or_a_window(run, economy):
    assert "of $7.5000" in run("budget", "set", "project:p", "$7.50").out
    data = run("budget", "set", "global", "6", "--window", "day", "--json").json
    assert [limit["limit_micro"] for limit in data["limits"]] == [10_000_000, 6_000_000, None]
    assert economy.available(project="p") == 2_000_000
    assert run("budget", "set", "global", "none", "--window", "day").code == 0
    assert run("budget", "set", "global", "none").code == 0
    assert economy.available() is None
    assert run("budget", "set", "project:new", "0").code == 0
    assert economy.available(project="new") == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["global", "3.999999"],
        ["global", "much"],
        ["global", "nan"],
        ["team:x", "5"],
        ["project:../x", "5"],
        ["goal:nobody", "5"],
        ["goal:g", "5", "--window", "day"],
        ["global", "5", "--window", "week"],
    ],
)
def test_what_cannot_be_a_limit_is_refused_in_words(run, economy, arguments):
    told = run("budget", "set", *arguments)
    assert told.code == 2
    assert told.err.startswith("error: ")


def test_set_limits_a_goal_that_is_there(run, economy):
    goal_id = run("submit", "--no-wait", "write it").out.strip()
    assert run("budget", "set", f"goal:{goal_id}", "1").code == 0
    assert economy.scope(f"goal:{goal_id}")["limit"] == 1_000_000


def test_the_ledger_adds_up_to_what_was_spent(run, economy):
    rows = list(csv.DictReader(io.StringIO(run("budget", "ledger", "--csv").out)))
    assert [row["kind"] for row in rows] == ["settle", "doubt", "saved"]
    assert sum(int(row["micro_dollars"]) for row in rows) == 2_000_000
    assert rows[0]["goal"] == "g2"
    assert rows[0]["input_tokens"] == "2000000"
    assert rows[1]["held_micro_dollars"] == "1000000"
    assert rows[2]["saved_micro_dollars"] == "70000"
    lines = run("budget", "ledger", "--json").lines
    assert [line["entry_id"] for line in lines] == [row["entry"] for row in rows]
    assert "settle" in run("budget", "ledger").out


def test_the_ledger_is_chosen_from(run, economy):
    def kinds(*options):
        return [line["kind"] for line in run("budget", "ledger", "--json", *options).lines]

    assert kinds("--goal", "g1") == ["doubt"]
    assert kinds("--project", "q") == ["saved"]
    assert kinds("--since", "2020-01-01") == ["settle", "doubt", "saved"]
    assert kinds("--since", "2999-01-01T00:00+01:00") == []
    assert run("budget", "ledger", "--since", "yesterday").code == 2
    assert run("budget", "ledger", "--csv", "--json").code == 2


def test_a_long_ledger_comes_whole(run, state, tmp_path):
    economy = an_economy(state, tmp_path)
    economy.deduct("0.000001", "first")
    (line,) = state.xrange(keys.LEDGER)
    with state.pipeline() as pipe:
        for _ in range(2_499):
            pipe.xadd(keys.LEDGER, line[1])
        pipe.execute()
    assert len(run("budget", "ledger").out.splitlines()) == 2_500


def test_a_cell_that_a_spreadsheet_would_run_is_text(run, state, tmp_path):
    an_economy(state, tmp_path).deduct("0.1", '=HYPERLINK("x")')
    (row,) = csv.DictReader(io.StringIO(run("budget", "ledger", "--csv").out))
    assert row["purpose"] == """'=HYPERLINK("x")"""


def test_a_call_in_doubt_is_listed_and_settled_by_hand(run, economy):
    (call,) = economy.doubts()
    assert call.reservation_id in run("budget", "doubt").out
    assert run("budget", "doubt", "--json").lines[0]["bound_micro"] == 1_000_000
    told = run("budget", "doubt", "--settle", call.reservation_id[:12], "0.25", "--why", "the bill")
    assert "charged $0.2500 instead of $1.0000" in told.out
    assert economy.doubts() == []
    assert economy.scope("global")["spent"] == 2_250_000
    line = run("budget", "ledger", "--json", "--goal", "g1").lines[-1]
    assert (line["kind"], line["micro"], line["why"]) == ("correct", 250_000, "the bill")
    assert run("budget", "check").code == 0


def test_a_call_in_doubt_is_released_by_hand(run, economy):
    (call,) = economy.doubts()
    data = run("budget", "doubt", "--release", call.reservation_id, "--json").json
    assert data == {"reservation_id": call.reservation_id, "cost_micro": 0}
    assert economy.scope("global")["in_doubt"] == 0
    again = run("budget", "doubt", "--release", call.reservation_id)
    assert again.code == 2
    assert "no call in doubt" in again.err


def test_what_is_no_call_in_doubt_is_refused(run, economy):
    held = next(r for r in economy.reservations() if r.state == "reserved")
    assert run("budget", "doubt", "--release", held.reservation_id).code == 2
    assert run("budget", "doubt", "--settle", "", "1").code == 2
    assert run("budget", "doubt", "--release", "x", "--settle", "x", "1").code == 2


def test_check_tells_the_numbers_and_exits_with_1(run, economy, state):
    assert run("budget", "check", "--json").json["ok"] is True
    state.hincrby(keys.scope_budget("project:p"), "spent", 5)
    told = run("budget", "check")
    assert told.code == 1
    assert "project:p: spent is not the sum of the ledger" in told.out
    assert "(2000005 / 2000000)" in told.out
    assert run("budget", "check", "--json").code == 1


def test_without_a_server_it_is_said(bare_run):
    told = bare_run("--redis-url", "redis://127.0.0.1:1", "budget", "show")
    assert told.code == 6


def test_bars_show_what_there_is():
    def drawn(limit, *parts):
        names = ("spent_micro", "in_doubt_micro", "reserved_micro")
        return bar(Sums(limit_micro=limit, **dict(zip(names, parts, strict=True))), cells=10)

    assert drawn(100, 0, 0, 0) == "·" * 10
    assert drawn(100, 1, 1, 1) == "█▓░·······"
    assert drawn(100, 50, 20, 10) == "█████▓▓░··"
    assert drawn(100, 99, 0, 0) == "█████████·"
    assert drawn(100, 150, 0, 0) == "█" * 10
    assert drawn(0, 0, 0, 0) == "█" * 10
    assert drawn(100, 98, 1, 1) == "█████████▓"
