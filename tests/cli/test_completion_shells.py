"""The scripts of ``llmos completion`` in the shells they are for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from tests.kernel.goal_support import a_goal
from tests.support.terminal import Terminal
from tests.support.wait import wait_until

COMPINIT = "autoload -Uz compinit; compinit -u -D"


def needs(shell: str) -> pytest.MarkDecorator:
    there = shutil.which(shell)
    return pytest.mark.skipif(there is None, reason=f"{shell} is not installed; .ci/run does it")


@dataclass(frozen=True)
class Place:
    """A folder with files, a program ``llmos`` on PATH, and a goal, first-goal."""

    folder: Path
    env: dict[str, str]
    goals: GoalStore

    def script(self, shell: str) -> Path:
        """The file with the script for a shell."""
        path = self.folder / "scripts" / f"_llmos.{shell}"
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as out:
            argv = ["llmos", "completion", shell]
            subprocess.run(argv, env=self.env, cwd=self.folder, stdout=out, check=True)
        return path

    def said(self, *argv: str) -> str:
        """What a program says that succeeds and has nothing to complain of."""
        ran = subprocess.run(
            argv, env=self.env, cwd=self.folder, capture_output=True, text=True, check=True
        )
        assert ran.stderr == ""
        return ran.stdout

    def goal(self, goal_id: str, text: str) -> None:
        """Put one on record."""
        made = a_goal(text, now=SystemClock().now())
        self.goals.create(made.model_copy(update={"goal_id": goal_id}))


def assert_in_time(ask: Callable[[], list[str]], wanted: list[str]) -> None:
    """Ask until the answer is the wanted one: TAB gives up on a system that is slow to answer."""
    deadline = time.monotonic() + 60
    while (got := ask()) != wanted and time.monotonic() < deadline:
        pass
    assert got == wanted


@pytest.fixture
def place(state: redis.Redis, redis_server: str, tmp_path: Path) -> Place:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "llmos"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m llmos_cli "$@"\n')
    program.chmod(0o755)
    (tmp_path / "goals.jsonl").touch()
    env = os.environ | {
        "LLMOS_REDIS_URL": redis_server,
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / ".config"),
        "XDG_DATA_HOME": str(tmp_path / ".local"),
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    place = Place(tmp_path, env, GoalStore(state, SystemClock()))
    place.goal("first-goal", "Sort a, b: and c")
    return place


class Zsh:
    """An interactive zsh. What stands on its line is written to a file by a key of its own, as
    the terminal shows it in pieces between control sequences.
    """

    def __init__(self, terminal: Terminal, lines: Path) -> None:
        self.terminal, self._lines = terminal, lines
        lines.touch()

    def begin(self, setup: str) -> None:
        """Run a line of setup and wait for its end."""
        keep = f'keep() {{ print -r -- "$BUFFER." >> {self._lines}; BUFFER=; }}'
        self.terminal.keys(f"{setup}; {keep}; zle -N keep; bindkey '^G' keep; echo rea''dy\n")
        self.terminal.until("ready\r\n")

    def tab(self, typed: str) -> str:
        """The line that typing something and TAB makes."""
        before = self._lines.read_text()
        self.terminal.keys(f"{typed}\t\x07")
        wait_until(lambda: self._lines.read_text() != before, what="the line")
        return self._lines.read_text().removeprefix(before).removesuffix(".\n")


@pytest.fixture
def zsh(place: Place) -> Iterator[Zsh]:
    with Terminal(["zsh", "-f", "-i"], env=place.env, cwd=place.folder) as shell:
        yield Zsh(shell, place.folder / "lines")


@needs("bash")
def test_bash_completes_with_the_script(place: Place) -> None:
    script = f"""
        source {place.script("bash")}
        complete -p llmos
        tab() {{ COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
                 _llmos_completion llmos; echo "${{COMPREPLY[@]}}"; }}
        tab llmos status first
        tab llmos submit --mode = fo
        tab llmos submit "'a b" --mod
        tab llmos submit --file=goals.jsonl --prio
    """
    wanted = [
        "complete -o nosort -F _llmos_completion llmos",
        "first-goal",
        "follower",
        "",  # an open quote: what is typed is a goal, no option
        "--priority",
    ]
    assert_in_time(lambda: place.said("bash", "--norc", "-c", script).splitlines(), wanted)


@needs("zsh")
def test_zsh_completes_with_the_script(place: Place, zsh: Zsh) -> None:
    zsh.begin(f"{COMPINIT}; source {place.script('zsh')}")
    lines = {
        "llmos status first": "llmos status first-goal ",
        "llmos submit --mode=fo": "llmos submit --mode=follower ",
        "llmos submit --file=go": "llmos submit --file=goals.jsonl ",
        "bin/llmos completion z": "bin/llmos completion zsh ",
    }
    assert_in_time(lambda: [zsh.tab(line) for line in lines], list(lines.values()))


@needs("zsh")
def test_zsh_finds_the_script_in_fpath(place: Place, zsh: Zsh) -> None:
    place.script("zsh").rename(place.folder / "scripts" / "_llmos")
    zsh.begin(f"fpath=($PWD/scripts $fpath); {COMPINIT}")
    for _ in range(2):  # the first use defines the function
        assert zsh.tab("llmos completion z") == "llmos completion zsh "


@needs("zsh")
def test_zsh_without_compinit_says_what_is_missing(place: Place) -> None:
    ran = subprocess.run(
        ["zsh", "-f", "-c", f"source {place.script('zsh')}"], env=place.env, cwd=place.folder,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "autoload -Uz compinit && compinit" in ran.stderr


@needs("fish")
def test_fish_completes_with_the_script(place: Place) -> None:
    lines = {
        "llmos status first": "first-goal\tACCEPTED: Sort a, b: and c",
        "llmos submit --mode=fo": "--mode=follower",
        "llmos submit --file=go": "--file=goals.jsonl",
        "true; llmos submit 'a b' --prio": "--priority\t1 goes first, 3 last (default: 2).",
    }
    asked = "".join(f'complete -C "{line}"; echo .\n' for line in lines)

    def told() -> list[str]:
        said = place.said("fish", "-N", "-c", f"source {place.script('fish')}\n{asked}")
        return [answer.strip("\n") for answer in said.split("\n.\n")][:-1]

    assert_in_time(told, list(lines.values()))
