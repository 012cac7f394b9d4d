"""Work that grows with the data shows on a terminal how far it is, and leaves nothing behind."""

from __future__ import annotations

import io
import os
import re
import sys
from itertools import groupby
from pathlib import Path

import pytest
import redis

from llmos_cli.progress import working
from tests.cli.conftest import Run
from tests.cli.world import World
from tests.support.terminal import Terminal

CONTROL = re.compile(r"\x1b\[[?\d;]*[A-Za-z]")
ERASED = "\x1b[1A\x1b[2K"
"""One line up, and away with it."""

LONG = {
    "traces list": "looking at the traces",
    "traces show {trace}": "reading a trace",
    "traces verify": "checking the traces",
    "traces sync": "looking for new traces",
    "traces export {folder}/pack": "reading the traces",
    "traces import {folder}/pack": "storing the traces",
    "reindex": "ordering a new index",
    "memory search": "searching memory",
    "explain hello --timeout 0": "waiting for a worker",
    "plan hello --timeout 0": "waiting for the plan",
    "report --html {folder}/page.html": "reading goals",
    "budget check": "adding up the ledger",
    "gate log": "reading the audit log",
    "gate verify": "checking the audit log",
    "edge export --out {folder}/bundle": "reading the traces",
    "migrate": "migrating the data",
    "test {folder}/fixtures": "replaying",
    "backup {folder}/all.llmos": "copying files",
    "restore {folder}/all.llmos --check": "checking the parts",
    "restore {folder}/all.llmos --force": "writing",
}  # fmt: skip


class Tty(io.StringIO):
    """stderr as a terminal."""

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Tty:
    """stderr from here on: pytest sets its own for each phase of a test, after fixtures."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = Tty()
    monkeypatch.setattr(sys, "stderr", shown)
    return shown


def test_long_work_is_shown_on_one_line_that_is_gone_at_the_end(
    run: Run, state: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setenv("LLMOS_WORKSPACE", str(tmp_path / "workspace"))
    world = World(state, tmp_path / "workspace")
    run("test", f"{world.folder}/fixtures", "--init", world.other_trace)
    for line, word in LONG.items():
        arguments = [part.format_map(vars(world)) for part in line.split()]
        terminal.seek(0)
        terminal.truncate()
        ran = run(*arguments)
        shown, _, rest = terminal.getvalue().rpartition(ERASED)
        assert word in CONTROL.sub("", shown), (line, terminal.getvalue())
        assert shown.count("\n") == 1, line
        assert CONTROL.sub("", rest) == rest, (line, rest)  # an error at most
        assert not CONTROL.search(ran.out), line


def test_programs_see_none_of_it(
    run: Run, state: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = on_terminal(monkeypatch)
    ran = run("--workspace", str(tmp_path / "w"), "backup", str(tmp_path / "file"), "--json")
    assert (ran.code, ran.json["files"], terminal.getvalue()) == (0, 0, "")


def test_a_pipe_sees_none_of_it(run: Run, state: redis.Redis, tmp_path: Path) -> None:
    ran = run("--workspace", str(tmp_path / "w"), "backup", str(tmp_path / "file"))
    assert (ran.code, ran.err) == (0, "")


def test_the_line_says_what_is_done_within(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    with working("copying", quiet=False) as watch:
        for _ in watch("reading", [1, 2], 2):
            assert list(watch("reading one", iter([1, 2]))) == [1, 2]
    lines = CONTROL.sub("", terminal.getvalue()).split("\r")
    told = [words for line in lines if (words := line.partition("━")[0].strip())]
    assert [words for words, _ in groupby(told)][:3] == ["copying", "reading", "reading one"]
    assert terminal.getvalue().endswith(ERASED)


@pytest.mark.process
def test_a_real_terminal_gets_progress_and_stdout_the_result(
    state: redis.Redis, redis_server: str, tmp_path: Path
) -> None:
    env = os.environ | {
        "LLMOS_REDIS_URL": redis_server,
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    argv = [sys.executable, "-m", "llmos_cli", "--workspace", "w", "backup", "system.llmos"]
    with (tmp_path / "out").open("w+b") as out:
        with Terminal(argv, env=env, cwd=tmp_path, stdout=out) as terminal:
            shown = terminal.rest()
        out.seek(0)
        said = out.read().decode()
    assert terminal.process.returncode == 0
    assert "copying the data" in shown
    assert shown.endswith(ERASED)
    assert said.startswith("system.llmos: ")
    assert "\x1b" not in said
