"""Shadow audit at work: a replay is run again beside it, compared, counted, and never published."""

from __future__ import annotations

import pytest

from llmos_workers.contracts.goal import GoalRecord
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.flow.shadow import AUDIT_PROJECT, sampled, shadow
from llmos_workers.kernel import keys
from llmos_workers.tasks.hops import Next, leased_run
from tests.flow.conftest import PROJECT, Flow, Hop
from tests.support.script import calls, says, text, use

EVERY = {"dispatcher": {"audit_share": 1.0}}
CONVERT = "Convert sales.csv to JSON"
audited = pytest.mark.parametrize("flow", [EVERY], indirect=True)


def replayed(flow: Flow) -> Outcome:
    """A goal that was learned, and then replayed."""
    (flow.area / "sales.csv").write_text("region,amount\nnorth,1\n")
    assert flow.run(CONVERT).mode is Mode.LEARNER
    (flow.area / "sales.json").unlink()
    again = flow.run(CONVERT)
    assert again.mode is Mode.FOLLOWER
    return again


def audit_of(flow: Flow, goal_id: str) -> GoalRecord | None:
    """The goal that audits another one."""
    found = (r for r in flow.runtime.goals.list() if r.options.shadow_of == goal_id)
    return next(found, None)


def run_audit(flow: Flow, goal_id: str) -> Outcome:
    """Dispatch the audit and run it."""
    record = audit_of(flow, goal_id)
    assert record is not None, "the replay was not audited"
    assert isinstance(flow.receive(record), Next)
    return Outcome.model_validate(leased_run(Hop(record.goal_id), flow.runtime, shadow))


@audited
def test_a_right_replay_is_confirmed_by_a_run_of_the_model_on_the_files_as_they_were(
    flow: Flow,
) -> None:
    outcome = replayed(flow)
    before = (flow.area / "sales.json").read_bytes()
    commits = len(flow.runtime.publisher.log.newest(PROJECT))
    audit = run_audit(flow, outcome.goal_id)
    assert (audit.ok, audit.mode, audit.text) == (
        True, Mode.LEARNER, "the replay and the model agreed",
    )  # fmt: skip
    assert audit.llm_calls > 0
    assert (flow.area / "sales.json").read_bytes() == before
    assert len(flow.runtime.publisher.log.newest(PROJECT)) == commits
    assert flow.runtime.audits.counts(PROJECT).agreed == 1
    assert flow.trace(CONVERT).evidence
    assert flow.trace(CONVERT).version == 1


@audited
def test_an_audit_tells_how_a_judge_s_word_came_out(flow: Flow) -> None:
    (flow.area / "sales.csv").write_text("region,amount\nnorth,1\n")
    assert flow.run(CONVERT).mode is Mode.LEARNER
    (flow.area / "sales.json").unlink()
    judge = flow.runtime.judge
    assert judge is not None
    flow.runtime.redis.hset(keys.judge(judge.name), "right", 400)
    outcome = flow.run("I need the rows of sales.csv as JSON")
    assert (outcome.mode, outcome.llm_calls) == (Mode.FOLLOWER, 1)
    assert run_audit(flow, outcome.goal_id).text == "the replay and the model agreed"
    assert flow.runtime.verdicts.record(judge.name).right == 401


@audited
def test_what_the_replay_made_is_not_there_for_the_model(flow: Flow) -> None:
    outcome = replayed(flow)
    script = flow.model(
        calls(use("Bash", 1, command="ls")),
        calls(use("Write", 2, path="sales.json", content='[{"region":"north","amount":1}]')),
        says(text("Done.")),
    )
    assert "agreed" in run_audit(flow, outcome.goal_id).text
    seen = script.requests[1]["messages"][-1]["content"][0]["content"]
    assert "sales.csv" in str(seen)
    assert "sales.json" not in str(seen)


@audited
def test_a_replay_that_the_model_would_not_have_made_counts_as_wrong(flow: Flow) -> None:
    outcome = replayed(flow)
    flow.model(calls(use("Write", 1, path="sales.json", content="[]")), says(text("Done.")))
    audit = run_audit(flow, outcome.goal_id)
    assert audit.text == "the replay and the model disagreed: sales.json holds other data"
    assert flow.runtime.audits.counts().disagreed == 1
    (verdict,) = flow.runtime.audits.newest()
    assert (verdict.goal_id, verdict.why) == (outcome.goal_id, ("sales.json holds other data",))
    assert any(name.startswith("wrong") for name in flow.trace(CONVERT).evidence)


@audited
def test_files_that_others_changed_meanwhile_make_no_verdict(flow: Flow) -> None:
    outcome = replayed(flow)
    (flow.area / "sales.json").write_text("mine\n")
    audit = run_audit(flow, outcome.goal_id)
    assert audit.text == "not audited: sales.json was changed since"
    assert audit.llm_calls == 0
    assert flow.runtime.audits.counts().decided == 0


@audited
def test_an_audit_is_paid_from_its_own_purse_and_only_once(flow: Flow) -> None:
    outcome = replayed(flow)
    run_audit(flow, outcome.goal_id)
    economy = flow.runtime.economy
    assert (economy.scope(f"project:{AUDIT_PROJECT}")["spent"] or 0) > 0
    record = audit_of(flow, outcome.goal_id)
    assert record is not None
    assert flow.receive(record) == flow.runtime.goals.get(record.goal_id).outcome.model_dump(  # type: ignore[union-attr]
        mode="json"
    )
    assert flow.runtime.audits.counts().decided == 1


@pytest.mark.parametrize(
    "flow", [{"dispatcher": {"audit_share": 1.0, "audit_usd_per_day": 0.000002}}], indirect=True
)
def test_without_money_for_it_there_is_no_audit(flow: Flow) -> None:
    assert audit_of(flow, replayed(flow).goal_id) is None


def test_without_a_share_there_is_no_audit(flow: Flow) -> None:
    assert audit_of(flow, replayed(flow).goal_id) is None


@audited
def test_a_learning_run_and_an_audit_are_not_audited(flow: Flow) -> None:
    outcome = replayed(flow)
    audit = run_audit(flow, outcome.goal_id)
    shadows = [r.options.shadow_of for r in flow.runtime.goals.list() if r.options.shadow_of]
    assert shadows == [outcome.goal_id]
    assert audit_of(flow, audit.goal_id) is None


def test_the_sample_has_the_share_asked_for_and_is_the_same_each_time() -> None:
    ids = [f"goal-{number}" for number in range(20_000)]
    chosen = [each for each in ids if sampled(each, 0.05)]
    assert 850 < len(chosen) < 1150
    assert chosen == [each for each in ids if sampled(each, 0.05)]
    assert not any(sampled(each, 0.0) for each in ids)
    assert all(sampled(each, 1.0) for each in ids)
