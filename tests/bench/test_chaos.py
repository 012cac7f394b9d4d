"""The chaos bench: each of its checks can fail, and a small run of it holds."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from bench.chaos_parts import checks, fleet
from bench.chaos_parts.evidence import Evidence, GoalEvidence
from bench.chaos_parts.mischief import Hit, asker
from bench.chaos_parts.population import POOR, Planned
from bench.chaos_parts.steps import UNANSWERED, At
from llmos_workers.contracts.commits import Commit
from llmos_workers.contracts.outcome import Usage
from llmos_workers.execution.llm_contracts import ModelResponse
from llmos_workers.kernel.ledger import LedgerEntry, Reservation
from llmos_workers.rehearsal.log import ServedRequest

NOTE = Planned(
    0, "bell", "Ring", "chaos-a", files={"a.txt": "a\n"}, bell="a", mode=None, agent=None
)


def response(request_id: str = "r1", micro: int = 5) -> ModelResponse:
    return ModelResponse(
        content=[], stop_reason="end_turn", usage=Usage(), cost_micro=micro, model="m",
        request_id=request_id,
    )  # fmt: skip


def served(
    request_id: str = "r1", micro: int = 5, at: float = 0.0005, messages: int = 1
) -> ServedRequest:
    return ServedRequest(
        at=at, request_id=request_id, model="m", status=200, stream=True,
        messages=messages, asked_at=at, charged_micro=micro, goal=NOTE.text,
    )  # fmt: skip


def held(state: str, micro: int = 7) -> Reservation:
    return Reservation(
        reservation_id="x", goal_id="g", project="chaos-a", state=state, bound_micro=micro,
        model="m", purpose="learn", mode="LEARNER", fence=1, at=1.0,
    )  # fmt: skip


GOAL = GoalEvidence(
    NOTE,
    "g",
    state="SUCCEEDED",
    status="SUCCEEDED",
    states=((1.0, "RUNNING"), (3.0, "RUNNING"), (4.0, "SUCCEEDED")),
    responses=((0, response()),),
)
GOOD = Evidence(
    goals=[GOAL],
    known=frozenset({"g"}),
    served=[served()],
    ledger=[LedgerEntry(entry_id="1-1", kind="settle", reservation_id="x", goal_id="g", micro=5)],
    commits=[Commit(commit_id="g-1", project="chaos-a", goal_id="g", fence=1, at=2.0)],
    rings=[("g", "a")],
    files={"chaos-a": {"a.txt": "a\n"}},
)


def goal(**changes: Any) -> Callable[[Evidence], Evidence]:
    return lambda good: dataclasses.replace(good, goals=[dataclasses.replace(GOAL, **changes)])


def found(**changes: Any) -> Callable[[Evidence], Evidence]:
    return lambda good: dataclasses.replace(good, **changes)


ENDED_TWICE = (*GOAL.states, (5.0, "SUCCEEDED"))
BROKEN = [
    ("lost", goal(state="")),
    ("lost", goal(state="RUNNING", status="")),
    ("lost", goal(status="")),
    ("lost", goal(states=ENDED_TWICE)),
    ("lost", goal(states=GOAL.states[:-1])),
    ("lost", found(known=frozenset({"g", "twin"}))),
    ("results_missing", goal(has_result=False)),
    ("failed_unexpectedly", goal(status="FAILED", error="InternalError: boom")),
    ("failed_unexpectedly", goal(status="FAILED", error="BudgetExceeded: not poor")),
    ("failed_unexpectedly", goal(status="FAILED", error="RehearsalFailure: Write failed")),
    ("paid_twice", goal(responses=((0, response()), (0, response("r2"))))),
    ("paid_twice", found(served=[served(), served("r2", at=2.0)])),
    ("unpaid", found(served=[served(), served("r2", messages=3)])),
    ("effects_doubled", found(rings=[("g", "a"), ("g", "a")])),
    ("files_wrong", found(rings=[])),
    ("files_wrong", found(files={"chaos-a": {}})),
    ("files_wrong", found(files={"chaos-a": {"a.txt": "b\n"}})),
    ("files_wrong", found(files={"chaos-a": {"a.txt": "a\n", "debris": ""}})),
    ("files_wrong", goal(status="FAILED")),
    ("reservations_left", found(reservations=[held("sent")])),
    ("late_publishes", found(forbidden=frozenset({("chaos-a", "g-1")}))),
    ("late_publishes", goal(states=((1.0, "RUNNING"), (1.5, "RUNNING"), (4.0, "SUCCEEDED")))),
    ("orphans", found(orphans=["1: sleep"])),
    ("audit_faults", found(audit_faults=["spent"])),
]


def test_nothing_is_found_where_nothing_is_broken() -> None:
    assert not [words for check in checks.CHECKS.values() for words in check(GOOD)]
    assert checks.overspent(GOOD) == 0


@pytest.mark.parametrize(("name", "spoil"), BROKEN)
def test_a_broken_guarantee_is_found(name: str, spoil: Callable[[Evidence], Evidence]) -> None:
    assert checks.CHECKS[name](spoil(GOOD))


def test_each_check_is_shown_to_fail() -> None:
    assert {name for name, _ in BROKEN} == set(checks.CHECKS)


@pytest.mark.parametrize(
    ("spoil", "micro"),
    [
        (found(over_limit_micro=3), 3),
        (found(served=[served(micro=6)]), 1 + 1),
        (found(ledger=[]), 5 + 5),
        (found(served=[served(), served("r2", micro=20)], reservations=[held("doubt")]), 13),
    ],
)
def test_money_beyond_limit_bound_or_ledger_is_counted(
    spoil: Callable[[Evidence], Evidence], micro: int
) -> None:
    assert checks.overspent(spoil(GOOD)) == micro


def line(kind: str, reservation_id: str, micro: int = 0) -> LedgerEntry:
    return LedgerEntry(
        entry_id="1-1", kind=kind, reservation_id=reservation_id, goal_id="g", micro=micro
    )


def test_what_is_in_doubt_is_no_fault() -> None:
    """An answer cut off by a kill: charged, not journaled, held at its bound, and asked again."""
    late = [served(), served("r0", at=0.0001)]
    doubtful = dataclasses.replace(
        GOOD,
        served=late,
        ledger=[line("settle", "x", 5), line("doubt", "y")],
        reservations=[held("doubt")],
    )
    assert not checks.CHECKS["paid_twice"](doubtful)
    assert not checks.CHECKS["unpaid"](doubtful)
    assert checks.overspent(doubtful) == 0


def test_a_request_that_a_cut_link_held_back_was_asked_before() -> None:
    """It arrives when the link heals; it was in doubt before the answer was journaled, and it is
    the only one that this doubt explains.
    """
    doubt = LedgerEntry(entry_id="0-1", kind="doubt", reservation_id="y", goal_id="g")
    asked = [served(), served("r2", at=2.0)]
    delayed = dataclasses.replace(GOOD, served=asked, ledger=[*GOOD.ledger, doubt])
    assert not checks.CHECKS["paid_twice"](delayed)
    after = doubt.model_copy(update={"entry_id": "2-1"})
    later = dataclasses.replace(delayed, ledger=[*GOOD.ledger, after])
    assert checks.CHECKS["paid_twice"](later)
    seen = dataclasses.replace(delayed, served=[served("r0", at=0.0001), *asked])
    assert checks.CHECKS["paid_twice"](seen)


def test_a_call_in_doubt_may_be_settled_late() -> None:
    """By a woken run, which may book its answer and not journal it; any other may not."""
    booked = [*GOOD.ledger, line("settle", "y", 9)]
    doubted = dataclasses.replace(GOOD, ledger=[*booked, line("doubt", "y")])
    assert checks.overspent(doubted) == 0
    assert checks.overspent(dataclasses.replace(GOOD, ledger=booked)) == 9


def test_a_run_that_lost_its_goal_may_book_its_answer() -> None:
    """Woken before anybody doubted: booked, not journaled, asked again by the next run."""
    asked = [served("r2", micro=9, at=2.0), served()]
    late = LedgerEntry(entry_id="3500-1", kind="settle", reservation_id="y", goal_id="g", micro=9)
    woken = dataclasses.replace(GOOD, served=asked, ledger=[*GOOD.ledger, late])
    assert (checks.overspent(woken), checks.CHECKS["unpaid"](woken)) == (0, [])
    never_lost = goal(states=((1.0, "RUNNING"), (4.0, "SUCCEEDED")))(woken)
    assert checks.overspent(never_lost) == 9
    assert checks.CHECKS["unpaid"](never_lost)


def test_a_goal_of_the_poor_project_may_be_refused() -> None:
    poor = dataclasses.replace(NOTE, project=POOR)
    refused = goal(planned=poor, status="REJECTED", error="BudgetExceeded: too little")(GOOD)
    assert not checks.CHECKS["failed_unexpectedly"](refused)


def test_recovery_is_from_the_hit_to_the_next_run() -> None:
    hits = [Hit(2.0, "kill -9 of x", 7, (At("g", 1, UNANSWERED), At("other", 1, "")))]
    assert checks.recoveries(GOOD, hits) == [1.0]
    assert checks.confirmed_answers(GOOD, hits, UNANSWERED) == 0
    cut_off = dataclasses.replace(GOOD, served=[served(), served("r0", at=0.5)])
    assert checks.confirmed_answers(cut_off, hits, UNANSWERED) == 1


def test_a_stray_process_of_a_run_is_found(tmp_path, monkeypatch) -> None:
    """By its mark or by its folder; not when it belongs to a process that is known."""
    argv = [sys.executable, "-c", "input()"]
    marked = {**os.environ, fleet.MARK: "mine"}
    with (
        subprocess.Popen(argv, stdin=subprocess.PIPE, env=marked) as one,
        subprocess.Popen(argv, stdin=subprocess.PIPE, cwd=tmp_path) as other,
    ):
        monkeypatch.setattr(fleet.os, "getpid", lambda: -1)  # else all are ours
        strays = fleet.orphans("mine", tmp_path.resolve(), [])
        assert sorted(int(words.partition(":")[0]) for words in strays) == sorted(
            [one.pid, other.pid]
        )
        assert len(fleet.orphans("mine", tmp_path.resolve(), [one.pid])) == 1
        for process in (one, other):
            process.communicate()


def test_the_process_behind_a_request_is_found() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        with client, server.accept()[0]:
            entry = dataclasses.replace(served(), port=client.getsockname()[1])
            assert asker(entry, [1, os.getpid()]) == os.getpid()
        assert asker(dataclasses.replace(entry, port=1), [os.getpid()]) == 0


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(300)
def test_a_small_run_holds() -> None:
    argv = [sys.executable, "-m", "bench.chaos", "--goals", "40", "--kills", "5", "--seed", "7"]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=280, check=False)
    figures = json.loads(ended.stdout.splitlines()[-1])
    assert ended.returncode == 0, ended.stdout
    assert (figures["goals"], figures["kills"], figures["kills_after_answer"]) == (40, 5, 5)
    assert (figures["stops"], figures["broker_restarts"], figures["lost"]) == (1, 1, 0)
