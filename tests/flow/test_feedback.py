"""Feedback: what a person's word on a goal does to the trace that did it."""

import pytest

from llmos_workers.contracts.errors import NotFinished
from llmos_workers.contracts.modes import Mode
from llmos_workers.flow.feedback import apply_feedback, drain_feedback
from llmos_workers.kernel.feedback import make_feedback

CALCULATOR = "Create a Python calculator"
REWORDED = "Build a calculator in Python"
PROJECT = "demo"


def said(flow, outcome, verdict, why=""):
    record = flow.runtime.goals.get(outcome.goal_id)
    return make_feedback(record, verdict, why=why, by="ann", now=1.0)


def say(flow, outcome, verdict):
    return apply_feedback(flow.runtime, said(flow, outcome, verdict))


def test_bad_means_that_this_wording_never_follows_that_trace_again(flow):
    assert flow.run(CALCULATOR).ok
    followed = flow.run(REWORDED)
    assert followed.mode is Mode.FOLLOWER
    assert "never follows" in say(flow, followed, "bad")
    again = flow.run(REWORDED)
    assert (again.mode, again.trace_id) == (Mode.LEARNER, None)
    assert flow.run(CALCULATOR).mode is Mode.FOLLOWER


def test_a_veto_outlives_good_words_and_relearning(flow):
    assert flow.run(CALCULATOR).ok
    followed = flow.run(REWORDED)
    say(flow, followed, "bad")
    say(flow, followed, "good")
    trace = flow.trace(CALCULATOR)
    flow.runtime.traces.save_trace(trace.model_copy(update={"answer": "another"}))
    candidates = flow.runtime.matcher.match(REWORDED, PROJECT).candidates
    assert next(c.blockers for c in candidates if c.trace_id == trace.trace_id)


def test_a_veto_outlives_the_removal_of_its_trace(flow):
    learned = flow.run(CALCULATOR)
    followed = flow.run(REWORDED)
    say(flow, followed, "bad")
    traces = flow.runtime.traces
    assert traces.remove(PROJECT, learned.learned_trace_id)
    assert flow.run(CALCULATOR).mode is Mode.LEARNER
    assert flow.dispatcher.decide(flow.submit(REWORDED)).mode is not Mode.FOLLOWER
    assert traces.remove(PROJECT, learned.learned_trace_id, purge=True)
    flow.run(CALCULATOR)
    assert flow.trace(CALCULATOR).vetoes == (), "who purges it means that, too"


def test_bad_weighs_on_the_trace_for_other_wordings_too(flow):
    assert flow.run(CALCULATOR).ok
    followed = flow.run(REWORDED)
    sure = followed.confidence
    say(flow, followed, "bad")
    decision = flow.dispatcher.decide(flow.submit("Make a calc tool using python"))
    (candidate,) = [c for c in decision.match.candidates if c.confidence > 0]
    assert 0.92 <= candidate.confidence <= sure + 0.01
    assert decision.mode is Mode.MIXED
    assert "1 of 1 known outcomes were wrong" in decision.reason


def test_the_same_word_twice_counts_once(flow):
    assert flow.run(CALCULATOR).ok
    followed = flow.run(REWORDED)
    say(flow, followed, "good")
    say(flow, followed, "good")
    trace = flow.trace(CALCULATOR)
    assert sum(trace.evidence.values()) == 1
    assert trace.aliases == (REWORDED,)


def test_good_makes_the_wording_known(flow):
    assert flow.run(CALCULATOR).ok
    say(flow, flow.run(REWORDED), "good")
    assert "known wording" in flow.run(REWORDED).reason


def test_good_for_other_values_does_not_make_them_the_recorded_ones(flow):
    """An alias would replay the recorded values."""
    (flow.area / "sales.csv").write_text("a\n")
    (flow.area / "prices.csv").write_text("b\n")
    assert flow.run("Copy sales.csv to backup.csv").ok
    bound = flow.run("Copy prices.csv to saved.csv")
    assert bound.mode is Mode.FOLLOWER
    assert "counts for more" in say(flow, bound, "good")
    assert flow.trace("Copy sales.csv to backup.csv").aliases == ()


def test_bad_for_the_goal_it_was_learned_from_takes_the_trace_out_of_use(flow):
    learned = flow.run(CALCULATOR)
    say(flow, learned, "bad")
    assert flow.run(REWORDED).mode is not Mode.FOLLOWER
    assert flow.dispatcher.decide(flow.submit(CALCULATOR)).mode is Mode.LEARNER


def test_another_way_to_do_it_ends_the_quarantine_and_the_same_way_does_not(flow):
    learned = flow.run(CALCULATOR)
    say(flow, learned, "bad")
    trace = flow.trace(CALCULATOR)
    flow.runtime.traces.save_trace(trace)
    assert flow.dispatcher.decide(flow.submit(CALCULATOR)).mode is Mode.LEARNER
    step = trace.steps[0]
    call = step.call.model_copy(update={"arguments": {**step.call.arguments, "path": "other.py"}})
    steps = (step.model_copy(update={"call": call}), *trace.steps[1:])
    flow.runtime.traces.save_trace(trace.model_copy(update={"steps": steps, "vetoes": ()}))
    assert flow.runtime.traces.find_exact(PROJECT, trace.trace_id) is not None
    assert "wrong_exact" not in flow.trace(CALCULATOR).evidence


def test_feedback_waits_in_redis_until_a_worker_takes_it_up(flow):
    """Also when its message is lost: upkeep drains the same list."""
    outcome = flow.run(CALCULATOR)
    box = flow.runtime.feedback
    box.give(said(flow, outcome, "good", "just right"), flow.runtime.broker)
    assert not box.of_goal(outcome.goal_id).applied
    assert drain_feedback(flow.runtime) == "1 taken up"
    taken = box.of_goal(outcome.goal_id)
    assert taken.applied
    assert (taken.why, taken.by) == ("just right", "ann")
    assert "counts for more" in taken.told
    assert drain_feedback(flow.runtime) == "0 taken up"


def test_feedback_moves_the_internal_state(flow):
    outcome = flow.run(CALCULATOR)
    before = flow.runtime.sentience.get_state(PROJECT)
    say(flow, outcome, "bad")
    after = flow.runtime.sentience.get_state(PROJECT)
    assert after.valence.self_confidence < before.valence.self_confidence
    assert flow.events(outcome.goal_id, "notice")


def test_a_goal_still_at_work_cannot_be_judged(flow):
    with pytest.raises(NotFinished, match="not finished"):
        make_feedback(flow.submit(CALCULATOR), "good", why="", by=None, now=1.0)
