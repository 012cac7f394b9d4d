"""schedule add, list, next, pause, resume, remove."""

import click
import pytest

from llmos_cli.schedule import schedule
from tests.cli.test_main import DOCUMENT


@pytest.fixture
def made(run):
    ran = run("schedule", "add", "0 9 * * MON", "Say hello", "--project", "p", "--tz",
              "Europe/Vienna", "--budget", "0.5", "--json")  # fmt: skip
    assert ran.code == 0
    return ran.json


def test_a_schedule_is_added_and_listed(run, made):
    assert (made["cron"], made["zone"], made["misfire"]) == ("0 9 * * MON", "Europe/Vienna", "once")
    assert made["options"]["budget_micro"] == 500_000
    out = run("schedule", "list").out
    assert made["schedule_id"] in out
    assert "Say hello" in out
    assert run("schedule", "list", "--json").lines == [made]


def test_the_next_firings_are_shown_in_order(run, made):
    run("schedule", "add", "@daily", "Say goodnight")
    lines = run("schedule", "next", "--count", "12", "--json").lines
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    assert len({line["schedule_id"] for line in lines}) == 2
    mine = run("schedule", "next", made["schedule_id"], "--count", "3").out.splitlines()
    assert len(mine) == 3
    assert all("T09:00:00" in line for line in mine)


def test_pause_resume_remove(run, made):
    name = made["schedule_id"]
    assert "paused" in run("schedule", "pause", name).out
    assert run("schedule", "next").out == "nothing is scheduled.\n"
    assert run("schedule", "resume", name, "--json").json["next_at"] == made["next_at"]
    assert run("schedule", "remove", name).code == 0
    assert run("schedule", "list").out == "no schedules.\n"
    assert run("schedule", "remove", name).code == 2


def test_mistakes_are_told(run):
    wrong = [["--tz", "Nowhere"], ["--misfire", "maybe"], ["--budget", "-1"]]
    for arguments in (["61 * * * *", "x"], ["@daily", " "], *(["@daily", "x", *w] for w in wrong)):
        ran = run("schedule", "add", *arguments)
        assert ran.code == 2, arguments
        assert "error: " in ran.err


def test_every_subcommand_and_option_stands_in_the_document(bare_run):
    chapter = DOCUMENT.split("### `llmos schedule")[1].split("\n## ")[0]
    for name, command in schedule.commands.items():
        assert bare_run("schedule", name, "--help").code == 0
        assert f"`llmos schedule {name}" in chapter
        for option in (p for p in command.params if isinstance(p, click.Option)):
            assert option.help
            assert f"`{option.opts[0]}" in chapter, option.opts[0]
    assert "once" in bare_run("schedule", "--help").out
