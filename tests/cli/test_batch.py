"""``llmos submit --file``: many goals, each line for itself."""

import json

import pytest

from llmos_cli.exits import worst
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from tests.conftest import free_port

LINES = [
    '{"goal": "write one", "project": "q"}',
    "",
    '"partial two"',
    "{not json",
    '{"goal": ""}',
    '{"goal": "x", "golas": 1}',
    '{"goal": "x", "budget_usd": -1}',
    "[1]",
    '{"goal": "write three"}',
]


def file_of(tmp_path, lines):
    path = tmp_path / "goals.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_each_line_is_answered_and_no_good_one_is_lost(run, worker, tmp_path):
    ran = run("submit", "--file", file_of(tmp_path, LINES), "--json", "--project", "p")
    by_line = {row["line"]: row for row in ran.lines}
    assert sorted(by_line) == [1, 3, 4, 5, 6, 7, 8, 9]
    statuses = {n: row["status"] for n, row in by_line.items() if "status" in row}
    assert statuses == {1: "SUCCEEDED", 3: "PARTIAL", 9: "SUCCEEDED"}
    assert {n: row["project"] for n, row in by_line.items() if "project" in row} == {
        1: "q", 3: "p", 9: "p",
    }  # fmt: skip
    assert all(by_line[n]["exit_code"] == 2 for n in (4, 5, 6, 7, 8))
    assert ran.code == 2  # worse than partial


def test_without_json_errors_name_their_line_on_stderr(run, worker, tmp_path):
    ran = run("submit", "--file", file_of(tmp_path, LINES))
    assert [line.split()[0] for line in ran.out.splitlines()] == ["1", "3", "9"]
    told = [line.split(":")[0] for line in ran.err.splitlines()]
    assert told == [f"line {n}" for n in (4, 5, 6, 7, 8)]


def test_no_wait_prints_one_id_per_goal_in_order(run, state, tmp_path):
    lines = [json.dumps({"goal": f"goal {n}"}) for n in range(450)]
    ran = run("submit", "--no-wait", "--file", file_of(tmp_path, lines))
    ids = ran.out.split()
    store = GoalStore(state, SystemClock())
    assert [record.text for record in store.get_many(ids)] == [f"goal {n}" for n in range(450)]


def test_goals_may_come_from_stdin(run, state):
    ran = run("submit", "--no-wait", "--json", "--file", "-", stdin=b'{"goal": "a"}\n\xff\n"b"\n')
    assert [row.get("status", "error") for row in ran.lines] == ["ACCEPTED", "error", "ACCEPTED"]
    assert ran.code == 2


def test_failed_goals_make_the_worst_exit_code(run, worker, tmp_path):
    lines = ['"write"', '"approve it"', '"reject it"', '"fail"', '"partial"']
    assert run("submit", "--json", "--file", file_of(tmp_path, lines)).code == 1
    assert run("submit", "--json", "--file", file_of(tmp_path, lines[:3])).code == 3
    assert run("submit", "--json", "--file", file_of(tmp_path, lines[:2])).code == 4
    assert run("submit", "--json", "--file", file_of(tmp_path, lines[:1])).code == 0


def test_the_timeout_is_for_all_goals_together(run, tmp_path):
    ran = run("submit", "--json", "--timeout", "0.1", "--file", file_of(tmp_path, ['"a"'] * 3))
    assert [row["exit_code"] for row in ran.lines] == [8, 8, 8]
    assert ran.code == 8


def test_a_key_for_all_lines_is_refused(run, tmp_path):
    assert run("submit", "--idempotency-key", "k", "--file", file_of(tmp_path, ['"a"'])).code == 2


def test_no_server_says_from_which_line_on(bare_run, tmp_path):
    url = f"redis://127.0.0.1:{free_port()}"
    ran = bare_run("--redis-url", url, "submit", "--file", file_of(tmp_path, ['"a"', '"b"']))
    assert ran.code == 6
    assert "line 1" in ran.err
    assert "0 goals were submitted" in ran.err


@pytest.mark.parametrize(
    ("codes", "expected"),
    [([], 0), ([0, 7], 7), ([7, 4], 4), ([5, 3], 3), ([3, 2], 2), ([2, 1], 1), ([1, 6], 6)],
)
def test_worse_codes_win(codes, expected):
    assert worst(codes) == expected
