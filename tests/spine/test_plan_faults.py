"""A plan three layers deep and five wide, whose workers are killed in header, callback, between and
in a member's commit, once a layer, while a member waits for a person: it ends right, once.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from llmos_workers.client import LLMOS
from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.goal import FINAL_STATES, GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.embedded import workers
from llmos_workers.embedded.local import LocalSystem
from llmos_workers.kernel import keys
from llmos_workers.kernel.commits import CommitLog
from llmos_workers.kernel.economy_audit import audit
from llmos_workers.rehearsal.skills import SHIPPED
from tests.support.wait import wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(900)]

TIMEOUT = 300
DIED = "test:plan:died"
"""As in tests.support.plan_killer, which must not be imported here: whoever does dies."""

WORDS = ("rain", "snow", "fog", "hail", "dew")
BELL_FAMILY = """
name: bell
short: ring a bell for a file
example: Ring the bell for a.md into b.md
all: [[ring], [bell]]
values:
  source: {take: [{file: {role: source}}, {file: {}}], required: true}
  target: {take: [{file: {role: target}}], required: true}
turns:
  - calls:
      - id: ring
        tool: Bash
        args: {command: "ring-the-bell {{ source }} || cp {{ source }} {{ target }}"}
answer: It rang.
"""


def goal() -> str:
    jobs = [f"write a haiku about {word} into a{n}.md" for n, word in enumerate(WORDS, 1)]
    jobs += [f"copy a{n}.md to b{n}.md" for n in range(1, 5)]
    jobs.append("ring the bell for a5.md into b5.md")
    jobs += [f"copy b{n}.md to c{n}.md" for n in range(1, 6)]
    return "; ".join(jobs)


@pytest.fixture
def system(tmp_path, monkeypatch) -> Iterator[LocalSystem]:
    monkeypatch.setattr(workers, "LONGEST_PAUSE_SECS", 0.5)
    skills = tmp_path / "skills"
    shutil.copytree(SHIPPED, skills)
    (skills / "bell.yaml").write_text(BELL_FAMILY)
    config = LLMOSConfig.from_dict(
        {
            "workspace": tmp_path / "workspace",
            "kernel": {"budget_usd": 50.0, "lease_secs": 2.0, "recovery_grace_secs": 2.0},
            "redis": {"visibility_timeout_secs": 6},
            "memory": {"insights": False},
        }
    )
    env = {
        "LLMOS_TASK_MODULES": "llmos_workers.tasks,tests.support.plan_killer",
        "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")]),  # noqa: PTH109
    }
    options = {"skills": skills}
    with LocalSystem(config, env=env, rehearsal_options=options) as running:
        yield running


def members(llmos: LLMOS, goal_id: str):
    found = llmos.redis.hkeys(keys.goal_members(goal_id))
    # Adopted a moment before they are on record.
    records = llmos.goals.get_many([each.decode() for each in found])
    return [record for record in records if record is not None]


@contextmanager
def explained(llmos: LLMOS, goal_id: str) -> Iterator[None]:
    """A failure says how far everybody was."""
    try:
        yield
    except (AssertionError, TimeoutError) as error:
        parent = llmos.goals.get(goal_id)
        lines = [f"parent {parent.state} live {llmos.redis.scard(keys.goal_live(goal_id))}"]
        for each in members(llmos, goal_id):
            reason = each.decision.reason[:80] if each.decision else ""
            lines.append(f"{each.text[:40]}: {each.state} {each.deliveries} {reason}")
        died = sorted(each.decode() for each in llmos.redis.smembers(DIED))
        latest = [e.data for e in llmos.goals.events(goal_id)][-6:]
        counts = llmos.redis.hgetall(keys.COUNTERS)
        raise AssertionError("\n".join([*lines, str(died), str(latest), str(counts)])) from error


def test_a_plan_ends_right_and_once_whoever_dies_in_it(system: LocalSystem) -> None:
    with LLMOS(system.config) as llmos:
        handle = llmos.submit(goal(), project="deep")
        with explained(llmos, handle.id):
            wait_until(
                lambda: llmos.approvals(project="deep") or handle.outcome(),
                what="a member asks",
                timeout=TIMEOUT,
            )
            assert handle.outcome() is None, handle.outcome()
            (asked,) = llmos.approvals(project="deep")
            # The others of its layer end, and the parent goes on waiting for the one that asks.
            wait_until(
                lambda: (
                    Counter(m.state for m in members(llmos, handle.id))[GoalState.SUCCEEDED] == 9
                ),
                what="the rest of the layer is done",
                timeout=TIMEOUT,
            )
            llmos.approve(asked.approval_id)
            outcome = handle.result(TIMEOUT)
        parts = members(llmos, handle.id)
        events = {m.goal_id: llmos.goals.events(m.goal_id) for m in parts}
        events[handle.id] = llmos.goals.events(handle.id)
        died = sorted(each.decode() for each in llmos.redis.smembers(DIED))
        faults = audit(llmos.redis).faults
        commits = CommitLog(llmos.redis).newest("deep")
    assert (outcome.status, outcome.mode) == ("SUCCEEDED", Mode.ORCHESTRATOR), outcome
    assert [(row["status"], row["tries"]) for row in outcome.plan.steps] == [("SUCCEEDED", 1)] * 15
    assert Counter(row["layer"] for row in outcome.plan.steps) == {1: 5, 2: 5, 3: 5}
    output = system.config.workspace / "projects" / "deep" / "output"
    assert len(list(output.iterdir())) == 15
    for n in range(1, 6):
        texts = {(output / f"{layer}{n}.md").read_text() for layer in "abc"}
        assert len(texts) == 1, texts
    assert [c.goal_id for c in commits] == [handle.id]
    assert len(parts) == 15
    finals = {state.value for state in FINAL_STATES}
    for goal_id, told in events.items():
        ends = [e for e in told if e.kind == "state" and e.data["state"] in finals]
        assert len(ends) == 1, (goal_id, ends)
    assert died == sorted(
        f"{moment}:{layer}"
        for moment in ("header", "callback", "between", "commit")
        for layer in (5, 10, 15)
    )
    assert faults == ()
