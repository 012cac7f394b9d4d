"""status, watch, result, list, cancel, interactive."""

import json

from tests.support.wait import wait_until


def submitted(run, text, *options):
    return run("submit", "--no-wait", text, *options).out.strip()


def test_status_tells_state_mode_and_why(run, worker):
    goal_id = submitted(run, "write it", "--project", "p")
    wait_until(lambda: run("result", goal_id).code == 0)
    ran = run("status", goal_id)
    assert ran.code == 0
    for part in (goal_id, "write it", "SUCCEEDED", "project:"):
        assert part in ran.out
    data = run("status", goal_id, "--json").json
    assert (data["goal_id"], data["state"]) == (goal_id, "SUCCEEDED")
    assert "envelope" not in data


def test_result_prints_the_outcome_and_exits_as_submit(run, worker):
    goal_id = submitted(run, "fail at it")
    ran = run("result", goal_id, "--wait", "--json")
    assert (ran.code, ran.json["error"]["kind"]) == (1, "ModelTransient")
    assert run("result", goal_id).code == 1


def test_a_result_that_is_not_there_is_said(run):
    goal_id = submitted(run, "write it")
    ran = run("result", goal_id)
    assert ran.code == 8
    assert "ACCEPTED" in ran.err
    assert run("result", goal_id, "--wait", "--timeout", "0.05").code == 8


def test_result_of_a_goal_that_waits_for_approval(run, worker):
    goal_id = submitted(run, "approve me")
    wait_until(lambda: run("result", goal_id).code == 4)
    assert run("result", goal_id, "--wait").code == 4


def test_watch_shows_everything_from_the_start(run, worker):
    goal_id = submitted(run, "write it")
    ran = run("watch", goal_id)
    assert ran.code == 0
    assert "state     ACCEPTED" in ran.err
    assert "tool      Write" in ran.err
    assert "did: write it" in ran.out


def test_watch_joins_after_an_event(run, worker):
    goal_id = submitted(run, "write it")
    *events, outcome = run("watch", goal_id, "--json").lines
    assert outcome["status"] == "SUCCEEDED"
    *rest, again = run("watch", goal_id, "--json", "--after", events[3]["event_id"]).lines
    assert rest == events[4:]
    assert again == outcome
    assert run("watch", goal_id, "--after", "yesterday").code == 2


def test_list_shows_and_filters(run):
    ids = [submitted(run, f"goal {n}", "--project", f"p{n % 2}") for n in range(3)]
    table = run("list").out
    assert all(goal_id in table for goal_id in ids)
    rows = run("list", "--project", "p0", "--state", "accepted", "--json").lines
    assert {row["goal_id"] for row in rows} == {ids[0], ids[2]}
    assert run("list", "--state", "failed").out == "no goals.\n"
    assert run("list", "--state", "lost").code == 2
    assert run("list", "--limit", "0").code == 2


def test_cancel_ends_what_waits_and_says_what_it_did(run):
    goal_id = submitted(run, "write it")
    assert "is cancelled" in run("cancel", goal_id).out
    assert run("result", goal_id).code == 5
    assert "CANCELLED" in run("cancel", goal_id, "--json").out


def test_cancel_of_a_finished_goal_says_so(run, worker):
    goal_id = submitted(run, "write it")
    run("result", goal_id, "--wait")
    assert "already ended: SUCCEEDED" in run("cancel", goal_id).out


def test_a_text_with_control_characters_cannot_move_the_cursor(run, state):
    goal_id = submitted(run, "tab\there")
    from llmos_workers.kernel import keys

    state.hset(keys.goal(goal_id), "text", "evil \x1b[2J\u202e text")
    for command in (["list"], ["status", goal_id]):
        out = run(*command).out
        assert "\x1b" not in out
        assert "\u202e" not in out


def test_interactive_reads_goals_and_commands_from_a_pipe(run, worker):
    lines = [b":help", b"write it", b":list", b":what", b"fail at it", b":quit", b"write never"]
    ran = run("interactive", "--project", "p", stdin=b"\n".join(lines))
    assert "did: write it" in ran.out
    assert ":quit" in ran.out
    assert "unknown command ':what'" in ran.err
    assert "write never" not in ran.out
    assert ran.code == 1
    assert {row["project"] for row in run("list", "--json").lines} == {"p"}


def test_interactive_without_a_server_says_so_at_once(bare_run):
    ran = bare_run("--redis-url", "redis://127.0.0.1:1", "interactive", stdin=b"x\n")
    assert ran.code == 6


def test_json_stays_json_with_any_text(run):
    goal_id = submitted(run, 'say "hi" \\ and\n\nmore ü 😀')
    assert json.loads(run("status", goal_id, "--json").out)["text"].endswith("more ü 😀")
