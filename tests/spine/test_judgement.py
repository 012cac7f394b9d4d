"""What people and judges say of goals, through the real system."""

from llmos_workers.contracts.modes import Mode
from llmos_workers.kernel import keys
from llmos_workers.learning.verdicts import Verdicts

TIMEOUT = 60
CALCULATOR = "Create a Python calculator"
REWORDED = "Build a calculator in Python"


def run(llmos, goal, project, **options):
    return llmos.submit(goal, project=project, **options).result(TIMEOUT)


def test_a_bad_replay_is_never_followed_again(llmos, project):
    assert run(llmos, CALCULATOR, project).ok
    followed = run(llmos, REWORDED, project)
    assert followed.mode is Mode.FOLLOWER
    said = llmos.feedback(followed.goal_id, "bad", why="not this one", wait_s=30)
    assert said.applied
    assert run(llmos, REWORDED, project).mode is not Mode.FOLLOWER
    assert run(llmos, CALCULATOR, project).mode is Mode.FOLLOWER


NEW_WORDING = "We need a small Python program that works as a calculator"
ANOTHER = "Could somebody come up with a python calculator for me?"


def asked(system):
    return sum(entry.family == "judge" for entry in system.rehearsal.log.entries())


def test_a_judge_earns_its_trust_and_is_asked_once_about_a_wording(llmos, system, project):
    """Probation, the label, trust; then a wording follows at once, and the second time unasked."""
    learned = run(llmos, CALCULATOR, project)
    before = asked(system)
    probation = run(llmos, NEW_WORDING, project)
    assert probation.mode is Mode.MIXED, probation.reason
    assert "on probation" in probation.reason
    assert asked(system) == before + 1
    verdicts = Verdicts(llmos.redis)
    (judge,) = verdicts.records()
    assert (judge.right, judge.wrong) == (1, 0)
    llmos.redis.hset(keys.judge(judge.name), "right", 299)
    followed = run(llmos, ANOTHER, project)
    assert followed.mode is Mode.FOLLOWER, followed.reason
    assert followed.trace_id == learned.learned_trace_id
    assert (followed.llm_calls, asked(system)) == (1, before + 2)
    assert 0 < followed.cost_micro < learned.cost_micro / 10
    for wording in (NEW_WORDING, ANOTHER):
        again = run(llmos, wording, project)
        assert (again.mode, again.cost_micro, again.llm_calls) == (Mode.FOLLOWER, 0, 0)
    assert asked(system) == before + 2


def test_explain_tells_what_would_happen_and_runs_nothing(llmos, system, project, served):
    run(llmos, CALCULATOR, project)
    before = served()
    told = llmos.explain("Build a small calculator that is written in Python", project=project)
    (candidate,) = told.dry_run["candidates"]
    assert candidate["goal_text"] == CALCULATOR
    assert candidate["differed"]
    assert candidate["threshold"] == 0.92
    assert served() == before
