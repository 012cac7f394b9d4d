"""Whatever a user does wrong is answered with what is wrong and what to do, and with a code."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from llmos_workers.evolution.seed import install_seed_agents
from tests.cli.calls import CALLS
from tests.cli.conftest import Ran, Run
from tests.conftest import free_port

TABLE = """
2  no goal nosuch                | status nosuch
2  no goal nosuch                | undo nosuch
2  unknown state 'nosuch'        | list --state nosuch
2  'No_Such!' is not allowed     | list --project No_Such!
2  '../x' is not allowed         | traces list --project ../x
2  Missing argument 'ID'         | approve
2  Missing option '--why'        | deny x
2  Did you mean '--project'      | list --projcet x
2  Give one GOAL                 | submit
2  the goal is empty             | submit " "
2  mode 'warp'                   | submit hi --mode warp
2  agent 'nobody'                | submit hi --agent nobody
2  budget must be                | submit hi --budget abc
2  budget must be                | submit hi --budget -1
2  deadline 'soon'               | submit hi --deadline soon
2  has no value                  | submit hi --metadata x
2  '--priority'                  | submit hi --priority 9
2  '--timeout'                   | submit hi --timeout -1
2  nosuch.jsonl                  | submit --file nosuch.jsonl
2  '--limit'                     | list --limit 0
2  cron                          | schedule add never hi
2  Nowhere                       | schedule add @daily hi --tz Nowhere
2  no schedule 'nosuch'          | schedule next nosuch
2  name the goals                | dead retry
2  name the deliveries           | webhooks retry
2  window                        | projects window p many
2  window                        | projects window p 0
2  scope                         | budget set nowhere 5
2  amount                        | budget set global much
2  no goal nosuch                | budget set goal:nosuch 5
2  'yesterday' is no time        | budget ledger --since yesterday
2  no trace 'nosuch'             | traces show nosuch
2  name traces                   | traces approve
2  nosuch is not a file          | traces import nosuch
1  no whole trace pack           | traces import agents.txt
6  cannot be written             | traces export no/such/pack
2  holds no fixtures             | test nosuch
2  no note                       | memory show facts/x.md
2  'bored'                       | sentience trigger bored
6  no/such.svg                   | sentience history --plot no/such.svg
2  nobody is there to say yes    | sentience reset
2  no suggestion 'nosuch'        | improve apply nosuch
2  nobody                        | agents show nobody
2  --prompt is missing           | agents create poet --description x
2  'nobody' is not there         | agents edit nobody --description x
2  from: bash, zsh, fish         | completion
2  is not UTF-8                  | agents create poet --file binary
2  no version 99                 | agents rollback coder 99
2  no tool 'nosuch'              | tools show nosuch
2  no Python file of             | tools sign agents.txt
2  no hook 'nosuch'              | hooks test nosuch
2  JSON object                   | hooks test --arguments x
2  no key id                     | keys untrust x
2  no public key                 | keys trust x
6  no/such cannot be written     | edge export --out no/such
2  nosuch                        | edge runner nosuch
6  cannot be written             | report --html no/such.html
2  role 'nobody'                 | worker nobody
2  'llm=x' is no concurrency     | up --concurrency llm=x
2  nosuch.toml cannot be read    | --config nosuch.toml list
2  development                   | --preset nosuch list
2  redis                         | --redis-url http://x list
2  must look like redis://       | --redis-url redis://localhost:99999 list
2  is no folder                  | --workspace agents.txt traces list
"""
"""Exit code, words that the error holds, and the command."""

ROWS = [
    (int(head.split()[0]), head.split(maxsplit=1)[1].strip(), shlex.split(command))
    for head, _, command in (line.partition("|") for line in TABLE.strip().splitlines())
]
NOT_TOLD = ("unexpected", "LLMOS_DEBUG")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with the shipped agents, and files of the wrong kind."""
    monkeypatch.setenv("LLMOS_WORKSPACE", str(tmp_path / "workspace"))
    install_seed_agents(tmp_path / "workspace")
    (tmp_path / "agents.txt").write_text("text")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    return tmp_path


def is_told(ran: Ran, *words: str) -> list[str]:
    """What is missing in how an error was told."""
    faults = [f"{each!r} is not said" for each in words if each not in ran.err]
    faults += [f"says {each!r}" for each in NOT_TOLD if each in ran.err]
    lines = ran.err.strip().splitlines()
    faults += [] if any(line.startswith("error: ") for line in lines) else ["no error: line"]
    faults += [] if any(line.startswith("fix: ") for line in lines) else ["no fix: line"]
    return [f"{fault}: {ran.err!r}" for fault in faults]


@pytest.mark.parametrize(("code", "words", "command"), ROWS, ids=[" ".join(r[2]) for r in ROWS])
def test_what_is_wrong_is_said_with_what_to_do(
    run: Run, place: Path, code: int, words: str, command: list[str]
) -> None:
    ran = run(*command)
    assert is_told(ran, words) == []
    assert (ran.code, ran.out) == (code, "")


class Names(dict[str, Any]):
    """Ids that nothing has."""

    def __missing__(self, name: str) -> str:
        return "nosuch"


def each_call(run: Run, place: Path, *options: str) -> dict[str, Ran]:
    names = Names(folder=place / "no" / "such")
    return {
        line: run(*options, *(word.format_map(names) for word in line.split()))
        for line in CALLS
        if not line.startswith(("submit hello", "explain", "plan"))
    }


def test_no_call_with_unknown_ids_or_folders_ends_in_words_of_python(run: Run, place: Path) -> None:
    """Every command, with ids that nothing has and files in a folder that is not there."""
    for line, ran in each_call(run, place).items():
        if ran.code in (0, 6) and not ran.err.startswith("error"):
            continue
        if ran.code == 1 and ran.out:
            continue
        assert is_told(ran) == [] or "nosuch: not there" in ran.out, line
        assert ran.code in (2, 6), line


def test_no_call_without_a_server_ends_in_words_of_python(
    bare_run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis.retry.sleep", lambda _seconds: None)
    url = f"redis://127.0.0.1:{free_port()}"
    without = 0
    for line, ran in each_call(bare_run, place, "--redis-url", url).items():
        if not ran.err.startswith("error"):
            continue
        assert is_told(ran) == [], line
        if "does not answer" in ran.err:
            without += 1
            assert (ran.code, url in ran.err) == (6, True), line
    assert without > 50


def test_files_that_are_in_the_way_of_the_workspace_are_named(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMOS_WORKSPACE", str(place / "other"))
    for name in ("projects", "state", "memories", "agents", "tools"):
        (place / "other").mkdir(exist_ok=True)
        (place / "other" / name).write_text("a file")
    for line, ran in each_call(run, place).items():
        told = ran.err.startswith("error")
        assert not told or is_told(ran) == [], line


def test_who_waits_without_workers_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmos_cli.waiting.PATIENCE_S", 0.05)
    ran = run("submit", "hello", "--timeout", "0.2")
    assert ran.code == 8
    assert "notice    No dispatch worker is up: start llmos up" in ran.err
    assert is_told(ran, "fix: No dispatch worker is up", "llmos watch") == []
    ran = run("explain", "hello", "--timeout", "0.1")
    assert (ran.code, is_told(ran, "fix: No dispatch worker is up")) == (8, [])


def test_ctrl_c_at_a_question_is_no_missing_answer(
    bare_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(_prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("click.termui.visible_prompt_func", stopped)  # what reads from a terminal
    ran = bare_run("sentience", "reset")
    assert (ran.code, ran.err.splitlines()[-1]) == (130, "interrupted.")
