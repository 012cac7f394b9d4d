"""Dispatch: which mode, why, and what a dry run promises."""

import json

import pytest

from llmos_workers.contracts.errors import UnknownAgent
from llmos_workers.contracts.modes import Mode

CALCULATOR = "Create a Python calculator"
COPY = "Copy sales.csv to backup.csv"
CONVERT = "Convert one.csv to JSON"


def preview(flow, goal, **options):
    record = flow.submit(goal, dry_run=True, **options)
    return flow.receive(record)["dry_run"]


def test_an_unknown_agent_is_refused_with_the_known_ones(flow):
    with pytest.raises(UnknownAgent, match="system-agent"):
        flow.dispatcher.decide(flow.submit(CALCULATOR, agent="nobody"))


def test_an_unknown_agent_in_a_message_is_a_rejected_goal(flow):
    outcome = flow.run(CALCULATOR, agent="nobody")
    assert (outcome.status, outcome.error.kind) == ("REJECTED", "UnknownAgent")


def test_what_stands_against_a_replay_is_said_and_kept(flow):
    (flow.area / "one.csv").write_text("name\nAda\n")
    assert flow.run(CONVERT).ok
    (flow.area / "one.csv").write_text("name\nGrace\n")
    decision = flow.dispatcher.decide(flow.submit(CONVERT))
    assert decision.mode is Mode.MIXED
    assert "the input one.csv changed since" in decision.reason
    assert decision.trace_id == flow.trace(CONVERT).trace_id


def test_a_veto_is_kept_against_any_wording(flow):
    assert flow.run(CALCULATOR).ok
    flow.runtime.traces.add_veto("demo", flow.trace(CALCULATOR).trace_id, CALCULATOR)
    decision = flow.dispatcher.decide(flow.submit(CALCULATOR))
    assert decision.mode is Mode.LEARNER
    (candidate,) = decision.match.candidates
    assert "must not follow" in candidate.blockers[0]


def test_a_dry_run_of_a_known_goal_names_the_files_of_all_tools(flow):
    """Also of a command, whose call has no path to read them from."""
    (flow.area / "sales.csv").write_text("a\n")
    assert flow.run(COPY).ok
    told = preview(flow, COPY)
    assert (told["mode"], told["files"], told["files_known"]) == ("FOLLOWER", ["backup.csv"], True)
    assert (told["worst_cost_micro"], told["confidence"]) == (0, 1.0)
    assert told["trace_goal"] == COPY


def test_a_dry_run_with_other_values_names_the_files_of_those(flow):
    (flow.area / "sales.csv").write_text("a\n")
    (flow.area / "prices.csv").write_text("b\n")
    assert flow.run(COPY).ok
    told = preview(flow, "Copy prices.csv to saved.csv")
    assert (told["mode"], told["files"]) == ("FOLLOWER", ["saved.csv"])
    assert set(told["slots"].values()) == {"prices.csv", "saved.csv"}
    assert sorted(path.name for path in flow.area.iterdir()) == [
        "backup.csv", "prices.csv", "sales.csv",
    ]  # fmt: skip


def test_a_dry_run_of_a_new_goal_bounds_its_cost(flow):
    told = preview(flow, CALCULATOR)
    assert (told["mode"], told["files"], told["files_known"]) == ("LEARNER", [], False)
    spent = flow.run(CALCULATOR).cost_micro
    assert told["worst_cost_micro"] > spent > 0
    assert "worst_cost" not in told  # money is micro-dollars; text is for people


def test_a_dry_run_is_bounded_by_the_goal_s_own_budget(flow):
    assert preview(flow, CALCULATOR, budget_usd="0.25")["worst_cost_micro"] == 250_000


def test_a_dry_run_asks_no_model_and_is_json(flow):
    told = preview(flow, CALCULATOR)
    assert json.loads(json.dumps(told)) == told
    assert flow.server.log.entries() == []


def test_what_a_trace_cost_to_learn_raises_the_estimate(flow):
    (flow.area / "one.csv").write_text("name\nAda\n")
    assert flow.run(CONVERT).ok
    trace = flow.trace(CONVERT)
    flow.runtime.traces.save_trace(trace.model_copy(update={"learn_cost_micro": 9_000_000}))
    (flow.area / "one.csv").write_text("name\nGrace\n")
    assert flow.dispatcher.decide(flow.submit(CONVERT)).estimated_micro == 9_000_000


def test_a_replay_is_estimated_at_nothing(flow):
    assert flow.run(CALCULATOR).ok
    decision = flow.dispatcher.decide(flow.submit(CALCULATOR))
    assert (decision.mode, decision.estimated_micro) == (Mode.FOLLOWER, 0)


def test_decisions_are_counted_by_mode(flow):
    assert flow.run(CALCULATOR).ok
    assert flow.run(CALCULATOR).ok
    flow.runtime.refresh_index()
    told = flow.dispatcher.get_execution_layer_stats()
    assert told["decisions"] == {"FOLLOWER": 1, "LEARNER": 1}
    assert told["indexed"] == 1
