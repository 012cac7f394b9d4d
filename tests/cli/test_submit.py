"""``llmos submit``: one goal."""

import os
import signal
import subprocess
import sys
import threading

import pytest
import redis

from llmos_workers.contracts.errors import GoalNotFound
from llmos_workers.contracts.goal import GoalState
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.wire import list_name
from tests.client.test_wait import Server
from tests.conftest import free_port
from tests.support.wait import wait_until


@pytest.mark.parametrize(
    ("goal", "code", "status"),
    [
        ("write it", 0, "SUCCEEDED"),
        ("fail at it", 1, "FAILED"),
        ("nobody does it", 2, "REJECTED"),
        ("reject it", 3, "REJECTED"),
        ("partial work", 7, "PARTIAL"),
    ],
)
def test_the_exit_code_says_how_the_goal_ended(run, worker, goal, code, status):
    ran = run("submit", goal)
    assert ran.code == code
    assert ran.out.startswith(status)
    told = run("submit", goal, "--json")
    assert (told.code, told.json["status"]) == (code, status)


def test_progress_is_told_on_stderr_and_the_result_on_stdout(run, worker):
    ran = run("submit", "write it")
    for part in ("decision  LEARNER: it is new", "42 tokens, $0.0012", "tool      Write hello.txt"):
        assert part in ran.err
    assert "did: write it" in ran.out
    assert "file: hello.txt" in ran.out
    assert "decision" not in ran.out


def test_an_error_of_the_goal_comes_with_its_fix(run, worker):
    ran = run("submit", "reject it")
    assert "error: budget too small.\nfix: Raise it." in ran.out


def test_no_wait_prints_the_id_alone(run, state):
    ran = run("submit", "write it", "--no-wait")
    goal_id = ran.out.strip()
    assert GoalStore(state, SystemClock()).get(goal_id).text == "write it"
    assert (ran.code, ran.err) == (0, "")
    again = run("submit", "x", "--no-wait", "--json", "--idempotency-key", "k").json
    assert again["status"] == "ACCEPTED"


def test_a_goal_may_come_from_stdin(run, state):
    goal_id = run("submit", "-", "--no-wait", stdin="schöne Grüße\n".encode()).out.strip()
    assert GoalStore(state, SystemClock()).get(goal_id).text == "schöne Grüße"
    assert run("submit", "-", "--no-wait", stdin=b"\xff\xfe").code == 2


def test_all_options_reach_the_record(run, state):
    ran = run(
        "submit", "x", "--no-wait", "--project", "p", "--mode", "learner", "--budget", "0.25",
        "--metadata", "team=a", "--metadata", "url=http://x?y=1", "--priority", "1",
        "--deadline", "2h", "--dry-run",
    )  # fmt: skip
    options = GoalStore(state, SystemClock()).get(ran.out.strip()).options
    assert (options.project, options.mode, options.budget_micro) == ("p", "LEARNER", 250_000)
    assert options.metadata == {"team": "a", "url": "http://x?y=1"}
    assert (options.priority, options.dry_run) == (1, True)
    assert 7_190 < options.deadline - SystemClock().now() <= 7_200


def test_waiting_for_approval_is_an_exit_of_its_own(run, worker):
    ran = run("submit", "approve me")
    assert ran.code == 4
    assert "waits for approval" in ran.err
    assert run("submit", "approve me", "--json").json["status"] == "WAITING_APPROVAL"


def test_a_timeout_leaves_the_goal_alone_and_says_how_to_join(run, state):
    ran = run("submit", "write it", "--timeout", "0.05")
    assert ran.code == 8
    assert "it goes on" in ran.err
    goal_id = ran.err.split("llmos watch ")[1].strip()
    assert GoalStore(state, SystemClock()).state(goal_id) is GoalState.ACCEPTED


BAD = {
    "empty goal": [""],
    "blank goal": ["  \n"],
    "unknown mode": ["x", "--mode", "warp"],
    "path as project": ["x", "--project", "../../etc"],
    "absolute project": ["x", "--project", "/etc"],
    "hidden project": ["x", "--project", ".git"],
    "upper-case project": ["x", "--project", "A"],
    "negative budget": ["x", "--budget", "-1"],
    "no budget": ["x", "--budget", "0"],
    "NaN budget": ["x", "--budget", "nan"],
    "infinite budget": ["x", "--budget", "inf"],
    "huge budget": ["x", "--budget", "1e400"],
    "budget in words": ["x", "--budget", "much"],
    "priority": ["x", "--priority", "9"],
    "deadline in words": ["x", "--deadline", "soon"],
    "past deadline": ["x", "--deadline", "2001-01-01"],
    "NaN deadline": ["x", "--deadline", "nan"],
    "metadata": ["x", "--metadata", "novalue"],
    "key": ["x", "--idempotency-key", "a b"],
    "agent path": ["x", "--agent", "../x"],
    "timeout": ["x", "--timeout", "nan"],
    "negative timeout": ["x", "--timeout", "-1"],
    "nothing": [],
    "two goals": ["x", "y"],
    "file and goal": ["x", "--file", "-"],
    "missing file": ["--file", "not-there.jsonl"],
    "unknown option": ["x", "--colour"],
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_usage_error_and_leaves_nothing(run, state, case):
    ran = run("submit", "--no-wait", *BAD[case])
    assert ran.code == 2
    assert ran.err.startswith("error: ")
    assert len(ran.err.splitlines()) <= 3
    assert state.dbsize() == 0


def test_a_goal_of_a_megabyte_is_refused(run, state):
    ran = run("submit", "-", stdin=b"a" * 1_000_000)
    assert ran.code == 2
    assert "1,000,000 characters" in ran.err
    assert "fix: " in ran.err
    assert state.dbsize() == 0


def test_an_unknown_agent_is_named_with_the_known_ones(run, tmp_path):
    (tmp_path / "workspace" / "agents").mkdir(parents=True)
    (tmp_path / "workspace" / "agents" / "coder.md").write_text("x")
    ran = run("submit", "x", "--agent", "nobody")
    assert ran.code == 2
    assert "'nobody'" in ran.err
    assert "coder" in ran.err


def test_errors_are_json_when_asked(run):
    ran = run("submit", "x", "--mode", "warp", "--json")
    assert ran.error["error"]["kind"] == "InvalidOption"
    assert "learner" in ran.error["error"]["fix"]
    assert (ran.error["exit_code"], ran.code) == (2, 2)
    assert run("submit", "--json").error["exit_code"] == 2
    assert "error: " in run("submit", "--mode", "warp", "--", "--json").err


def test_no_server_is_an_infrastructure_error_that_says_what_was_tried(bare_run):
    url = f"redis://:secretword@127.0.0.1:{free_port()}"
    ran = bare_run("--redis-url", url, "submit", "x")
    assert ran.code == 6
    assert "redis://127.0.0.1" in ran.err
    assert "from redis.url" in ran.err
    assert "secretword" not in ran.err


def test_a_wrong_setting_is_a_usage_error(bare_run, tmp_path):
    (tmp_path / "llmos.toml").write_text("[sdk]\nmodle = 'x'\n")
    ran = bare_run("submit", "x")
    assert ran.code == 2
    assert "modle" in ran.err


@pytest.mark.process
def test_ctrl_c_ends_the_waiting_and_not_the_goal(redis_server, state, tmp_path):
    env = os.environ | {"LLMOS_REDIS_URL": redis_server, "TERM": "dumb"}
    command = [sys.executable, "-m", "llmos_cli", "submit", "write it"]
    process = subprocess.Popen(
        command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    first = process.stderr.readline()
    assert "ACCEPTED" in first
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err
    goal_id = err.split("llmos cancel ")[1].strip()
    assert f"llmos watch {goal_id}" in err
    assert GoalStore(state, SystemClock()).state(goal_id) is GoalState.ACCEPTED


@pytest.mark.process
def test_a_server_that_dies_in_mid_wait_is_told_with_how_to_join_again(
    bare_run, tmp_path, monkeypatch
):
    monkeypatch.setattr("llmos_workers.client.DEFAULT_PATIENCE_S", 0.3)
    server = Server(tmp_path)

    def kill_when_submitted() -> None:
        with redis.Redis(port=server.port, db=0) as broker:
            wait_until(lambda: broker.llen(list_name("dispatch", 2)), what="goal is queued")
        server.kill()

    killer = threading.Thread(target=kill_when_submitted)
    killer.start()
    ran = bare_run("--redis-url", server.url, "submit", "write it")
    killer.join()
    assert ran.code == 6
    assert "The goal is safe" in ran.err
    goal_id = ran.err.split("llmos watch ")[1].split()[0]
    server.start()
    assert bare_run("--redis-url", server.url, "status", goal_id).code == 0
    server.kill()


def test_unknown_ids_are_usage_errors(run, state):
    with pytest.raises(GoalNotFound):
        GoalStore(state, SystemClock()).get("nope")
    for command in ("status", "watch", "result", "cancel"):
        ran = run(command, "nope")
        assert ran.code == 2
        assert "no goal nope" in ran.err
