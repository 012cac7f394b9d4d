"""The headline benchmark can tell right from wrong: its checks, its caches, its floor."""

from __future__ import annotations

import pytest

from bench.workload import world
from bench.workload.arms import Arm, Run, Spent, exact_cache, fault_of, floor_micro, recalled
from bench.workload.chart import Line, cost_curves
from bench.workload.checks import Result
from bench.workload.kinds import KINDS, Kind, Task, tasks
from bench.workload.stream import Ask, stream
from bench.workload.system import run_stream


def first(kind: Kind) -> Ask:
    """The kind with its first values, on untouched inputs."""
    task = Task(kind, kind.values[0])
    return Ask(task, task.goal(), {})


def other_values(kind: Kind) -> Ask:
    """The kind with its last values."""
    task = Task(kind, kind.values[-1])
    return Ask(task, task.goal(), {})


def changed(kind: Kind) -> Ask:
    """The first values, when the inputs have changed twice."""
    task = Task(kind, kind.values[0])
    return Ask(task, task.goal(), dict.fromkeys(task.inputs, 2))


@pytest.fixture(scope="module")
def real() -> dict[str, Run]:
    """Every kind run once by the model, on the real system."""
    asks = [first(kind) for kind in KINDS] + [other_values(kind) for kind in KINDS]
    arm = run_stream("test", asks, mode="learner")
    assert not arm.faults
    return {ask.goal: run for ask, run in zip(asks, arm.runs, strict=True)}


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_check_passes_what_was_asked_for_and_fails_what_was_not(
    kind: Kind, real: dict[str, Run]
) -> None:
    """Mutations: effects of other values, effects upon old inputs, no effects, no success."""
    ask, other, later = first(kind), other_values(kind), changed(kind)
    mine, theirs = real[ask.goal].result, real[other.goal].result
    assert fault_of(ask, mine) == ""
    if kind.fails:
        assert fault_of(ask, Result(True, mine.text, mine.files))
        target = {ask.task.values["target"]: b"[]"}
        assert fault_of(ask, Result(False, mine.text, {**mine.files, **target}))
        return
    assert fault_of(ask, recalled(other, theirs, ask))
    assert fault_of(ask, Result(True, "Done.", ask.inputs()))
    assert fault_of(ask, Result(False, mine.text, mine.files))
    if ask.task.inputs:
        assert fault_of(later, recalled(ask, mine, later))


def test_every_generation_of_an_input_differs_from_the_one_before() -> None:
    """A changed input has really changed."""
    for name in world.INPUTS:
        for generation in range(20):
            assert world.content(name, generation) != world.content(name, generation + 1)


def test_a_seed_gives_one_stream_with_all_that_makes_it_real() -> None:
    """Repeats, other words, other values, changed inputs and goals that cannot be done."""
    asks = stream(1000, 1)
    assert asks == stream(1000, 1)
    assert asks != stream(1000, 2)
    goals = [ask.goal for ask in asks]
    assert len(set(goals)) < 0.3 * len(goals)
    assert any(ask.goal != ask.task.goal() for ask in asks)
    assert any(ask.generations for ask in asks)
    assert any(ask.task.kind.fails for ask in asks)
    assert len({ask.task.kind.name for ask in asks}) == len(KINDS)


def test_no_two_kinds_share_a_goal() -> None:
    """Else a look-alike could not be told from a repeat by anybody."""
    owners: dict[str, str] = {}
    for task in tasks():
        for wording in range(len(task.kind.wordings)):
            assert owners.setdefault(task.goal(wording), task.kind.name) == task.kind.name


def plain_arm(asks: list[Ask]) -> Arm:
    """Runs that did nothing, a dollar each."""
    arm = Arm("no memory")
    for ask in asks:
        arm.add(ask, Run(Spent(1, 10, 1_000_000), 5.0, Result(True, "", ask.inputs())))
    return arm


def test_the_floor_pays_once_a_task_and_again_when_its_input_changed() -> None:
    """Three goals of one task, the last on a changed input: two payments."""
    kind = KINDS[0]
    asks = [first(kind), first(kind), changed(kind)]
    assert floor_micro(asks, plain_arm(asks)) == 2_000_000


def test_digests_of_the_inputs_turn_a_stale_hit_into_a_miss() -> None:
    """The plain cache pays once, the one with digests pays again for the changed input."""
    kind = KINDS[0]
    asks = [first(kind), first(kind), changed(kind)]
    plain = plain_arm(asks)
    assert exact_cache(asks, plain, digests=False).calls == 1
    assert exact_cache(asks, plain, digests=True).calls == 2


def test_a_failure_is_never_remembered_by_a_cache() -> None:
    """It is paid for each time."""
    ask = first(KINDS[0])
    plain = Arm("no memory")
    for _ in range(2):
        plain.add(ask, Run(Spent(1, 1, 1), 1.0, Result(False, "no", ask.inputs())))
    assert exact_cache([ask, ask], plain, digests=False).calls == 2


def test_the_chart_names_every_line_and_its_errors() -> None:
    """What a reader looks for stands in the picture."""
    svg = cost_curves(
        [Line("no memory", [5, 5, 5], "#000000"), Line("llmos", [5, 0, 0], "#00ff00", "0 wrong")],
        title="Cost & goals",
        note="note",
    )
    assert svg.startswith("<svg")
    for words in ("Cost &amp; goals", "no memory", "0 wrong"):
        assert words in svg
