"""The frame: help, version, settings, errors."""

from pathlib import Path

import click
import pytest

from llmos_cli.commands import COMMANDS
from llmos_cli.exits import MEANING, Exit
from llmos_cli.main import cli, main

DOCUMENT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_has_help_and_stands_in_the_document(bare_run, name):
    ran = bare_run(name, "--help")
    assert ran.code == 0
    assert len(ran.out.splitlines()) > 3
    assert f"### `llmos {name}" in DOCUMENT


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained_and_stands_in_the_document(name):
    command = cli.get_command(click.Context(cli), name)
    chapter = DOCUMENT.split(f"### `llmos {name}")[1].split("\n### ")[0].split("\n## ")[0]
    for option in (p for p in command.params if isinstance(p, click.Option)):
        assert option.help, option.name
        assert f"`{option.opts[0]}" in chapter, option.opts[0]


def test_every_exit_code_stands_in_the_document():
    assert set(MEANING) == set(Exit)
    for code in Exit:
        assert f"| {int(code)} |" in DOCUMENT


def test_help_lists_all_commands(bare_run):
    ran = bare_run("--help")
    for name in COMMANDS:
        assert f"\n  {name} " in ran.out, name


def test_version_and_settings(bare_run):
    assert "celery 5.7" in bare_run("version").out
    assert bare_run("--version").out == bare_run("version").out.splitlines()[0] + "\n"
    assert bare_run("version", "--json").json["llmos"]
    shown = bare_run("--preset", "testing", "config", "show", "--json").lines
    wanted = {"name": "kernel.budget_usd", "value": "0.1", "source": "preset testing"}
    assert wanted in shown
    assert "kernel.budget_usd" in bare_run("config", "show").out


def test_a_secret_is_never_shown(bare_run, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-very-secret")
    monkeypatch.setenv("LLMOS_REDIS_URL", "redis://:hushhush@127.0.0.1:1")
    for options in ([], ["--json"]):
        out = bare_run("config", "show", *options).out
        assert "sk-very-secret" not in out
        assert "hushhush" not in out


def test_an_unknown_command_or_preset_is_a_usage_error(bare_run):
    assert bare_run("nonsense").code == 2
    ran = bare_run("--preset", "nonsense", "list")
    assert ran.code == 2
    assert "development" in ran.err


def test_an_unforeseen_fault_is_told_in_a_line(bare_run, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("what")

    monkeypatch.setattr("llmos_cli.config.describe_config", broken)
    ran = bare_run("config", "show")
    assert ran.code == 1
    assert "ZeroDivisionError" in ran.err
    assert "LLMOS_DEBUG" in ran.err


def test_debug_shows_where(monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMOS_DEBUG", "1")
    assert main(["list", "--state", "nonsense"]) == 2
    assert "Traceback" in capfd.readouterr().err
