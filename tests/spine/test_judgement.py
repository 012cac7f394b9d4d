"""What people and judges say of goals, through the real system."""

from llmos_workers.contracts.modes import Mode

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
