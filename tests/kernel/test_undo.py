"""Taking commits back."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llmos_workers.contracts.errors import DataError, InvalidOption, PublishConflict
from llmos_workers.contracts.goal import GoalState
from llmos_workers.kernel.objects import KeepLimits, Objects
from tests.kernel.stage_support import PROJECT, Bench, command_writes, listing, write


@pytest.fixture
def bench(state, tmp_path) -> Bench:
    return Bench(state, tmp_path / "w")


def test_undo_restores_what_was_there(bench):
    write(bench.output, {"a.txt": "a", "gone.txt": "g", "d/b.txt": "b"})
    (bench.output / "a.txt").chmod(0o755)
    before = listing(bench.output)
    lease, stage = bench.run()
    write(stage.area, {"a.txt": "other", "new/n.txt": "n"})
    (stage.area / "gone.txt").unlink()
    (stage.area / "d/b.txt").unlink()
    (stage.area / "d").rmdir()
    commit = bench.publisher.publish(stage, lease=lease)
    stage.discard()
    (back,) = bench.undo(lease.goal_id)
    assert listing(bench.output) == before
    assert (back.undoes, back.approver, back.seq) == (commit.commit_id, "me", 2)
    assert bench.log.of_goal(PROJECT, lease.goal_id) == []
    assert [c.commit_id for c in bench.log.why(PROJECT, "a.txt")] == [
        back.commit_id, commit.commit_id,
    ]  # fmt: skip
    assert bench.debris() == []


def test_undo_twice_is_said(bench):
    commit = bench.goal_that_writes({"a.txt": "a"})
    bench.undo(commit.goal_id)
    with pytest.raises(InvalidOption, match="nothing"):
        bench.undo(commit.goal_id)
    with pytest.raises(InvalidOption, match="nothing"):
        bench.undo("no-such-goal")


def test_what_changed_since_is_named_and_nothing_is_undone(bench):
    one = bench.goal_that_writes({"a.txt": "1", "b.txt": "1", "c.txt": "1"})
    two = bench.goal_that_writes({"a.txt": "2"})
    write(bench.output, {"b.txt": "by hand"})
    before = listing(bench.output)
    with pytest.raises(PublishConflict, match="nothing was undone") as caught:
        bench.undo(one.goal_id)
    assert (caught.value.files, caught.value.others) == (("a.txt", "b.txt"), (two.goal_id,))
    assert listing(bench.output) == before
    bench.undo(two.goal_id)
    write(bench.output, {"b.txt": "1"})
    bench.undo(one.goal_id)
    assert listing(bench.output) == {}


def test_all_commits_of_a_goal_are_undone_together(bench):
    lease, stage = bench.run()
    write(stage.area, {"a.txt": "1", "b.txt": "1"})
    bench.publisher.publish(stage, lease=lease)
    bench.goals.release(lease, state=GoalState.DISPATCHED)
    later, _ = bench.goals.acquire(lease.goal_id, owner="w2")
    stage.discard()
    stage = bench.stages.open(PROJECT, lease.goal_id, later.fence)
    write(stage.area, {"a.txt": "2"})
    bench.publisher.publish(stage, lease=later)
    assert len(bench.undo(lease.goal_id)) == 2
    assert listing(bench.output) == {}


def test_a_commit_that_lands_between_the_look_and_the_undo_is_seen(bench):
    one = bench.goal_that_writes({"a.txt": "1"})

    def overtake(point):
        if point == "planned":
            bench.publisher.reached = lambda _: None
            bench.goal_that_writes({"a.txt": "2"})

    bench.publisher.reached = overtake
    with pytest.raises(PublishConflict, match=r"nothing was undone: a\.txt"):
        bench.undo(one.goal_id)
    assert (bench.output / "a.txt").read_text() == "2"


def test_contents_that_are_no_longer_kept_are_said(bench):
    write(bench.output, {"a.txt": "1"})
    commit = bench.goal_that_writes({"a.txt": "2"})
    bench.publisher._keep = KeepLimits(count=0)
    bench.publisher.sweep(PROJECT)
    with pytest.raises(DataError, match=r"a\.txt.*no longer kept"):
        bench.undo(commit.goal_id)
    assert (bench.output / "a.txt").read_text() == "2"
    assert bench.debris() == []


def test_a_kept_content_that_somebody_wrote_into_is_not_used(bench):
    write(bench.output, {"a.txt": "1"})
    commit = bench.goal_that_writes({"a.txt": "2"})
    kept = next((bench.folder.state / "objects").glob("??/*"))
    kept.write_text("!")
    with pytest.raises(DataError, match="no longer kept"):
        bench.undo(commit.goal_id)


def test_an_undone_file_is_no_second_name_of_the_kept_content(bench):
    write(bench.output, {"a.txt": "1"})
    commit = bench.goal_that_writes({"a.txt": "2"})
    bench.undo(commit.goal_id)
    (bench.output / "a.txt").write_text("in place")
    kept = {path.read_text() for path in (bench.folder.state / "objects").glob("??/*")}
    assert "in place" not in kept


def test_kept_contents_are_bounded_by_count_size_and_age(tmp_path):
    objects = Objects(tmp_path / "objects")
    for number in range(6):
        place = objects.path(f"{number:064x}")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"x" * 4096)
    assert objects.prune(KeepLimits()) == 0
    assert objects.prune(KeepLimits(count=5)) == 1
    assert objects.prune(KeepLimits(size=4 * 4096)) == 1
    now = place.stat().st_ctime
    assert objects.prune(KeepLimits(age_s=10), now=now + 5) == 0
    assert objects.prune(KeepLimits(age_s=10), now=now + 50) == 4


NAMES = st.sampled_from(["a", "b", "c", "d"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
TEXTS = st.sampled_from(["", "x", "y", "z" * 5_000])
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), PATHS, TEXTS),
        st.tuples(st.just("command"), PATHS, TEXTS),
        st.tuples(st.just("remove"), PATHS, st.just("")),
        st.tuples(st.just("folder"), PATHS, st.just("")),
        st.tuples(st.just("link"), PATHS, NAMES),
        st.tuples(st.just("mode"), PATHS, st.sampled_from(["755", "600", "444"])),
    ),
    max_size=8,
)


def act(stage, what, path, value):
    """One action; what the file system refuses is left undone."""
    place = stage.area / path
    try:
        if what == "write":
            if not place.is_symlink():
                place.parent.mkdir(parents=True, exist_ok=True)
                if not place.is_dir():
                    temporary = place.with_name("t.llmos-tmp")
                    temporary.write_text(value)
                    temporary.rename(place)
        elif what == "command":
            if not place.is_symlink():
                command_writes(stage, path, value)
        elif what == "remove":
            place.rmdir() if place.is_dir() and not place.is_symlink() else place.unlink()
        elif what == "folder":
            place.mkdir(parents=True)
        elif what == "link":
            place.symlink_to(value)
        elif not place.is_symlink() and place.is_file():
            command_writes(stage, path, place.read_text())
            place.chmod(int(value, 8))
    except OSError:
        return


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(first=ACTIONS, second=ACTIONS)
@example(first=[("link", "b", "b")], second=[("remove", "b", ""), ("write", "b/a", "")])
def test_any_changes_are_published_exactly_and_undone_exactly(
    state, tmp_path_factory, first, second
):
    state.flushdb()
    bench = Bench(state, tmp_path_factory.mktemp("w"))
    pictures, goals = [listing(bench.output)], []
    for actions in (first, second):
        lease, stage = bench.run()
        for action in actions:
            act(stage, *action)
        expected = listing(stage.area)
        commit = bench.publisher.publish(stage, lease=lease)
        assert listing(bench.output) == expected
        assert (commit is None) == (expected == pictures[-1])
        stage.discard()
        if commit is not None:
            goals.append(lease.goal_id)
            pictures.append(expected)
    for goal_id, picture in zip(reversed(goals), reversed(pictures[:-1]), strict=True):
        bench.undo(goal_id)
        assert listing(bench.output) == picture
    assert bench.debris() == []
