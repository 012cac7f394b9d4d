"""Publishing a stage: all or nothing, under the fence, with conflicts seen."""

from __future__ import annotations

import hashlib
import json
import threading

import pytest

from llmos_workers.contracts.commits import CommitFacts, Writer
from llmos_workers.contracts.errors import (
    Cancelled,
    DataError,
    GoalFinished,
    LeaseLost,
    PublishConflict,
)
from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.kernel.workspace import digest_file
from tests.kernel.goal_support import an_outcome, expire_lease
from tests.kernel.stage_support import PROJECT, Bench, command_writes, listing, write


@pytest.fixture
def bench(state, tmp_path) -> Bench:
    return Bench(state, tmp_path / "w")


def test_a_publish_makes_the_project_what_the_stage_is(bench):
    write(bench.output, {"a.txt": "a", "gone.txt": "g", "d/b.txt": "b", "d/deep/c.txt": "c"})
    lease, stage = bench.run()
    write(stage.area, {"a.txt": "other", "new/n.txt": "n"})
    (stage.area / "gone.txt").unlink()
    (stage.area / "d/deep/c.txt").unlink()
    (stage.area / "d/deep").rmdir()
    (stage.area / "nothing").mkdir()
    (stage.area / "l").symlink_to("a.txt")
    command_writes(stage, "run.sh", "#!/bin/sh")
    (stage.area / "run.sh").chmod(0o755)
    expected = listing(stage.area)
    commit = bench.publisher.publish(stage, lease=lease)
    assert listing(bench.output) == expected
    assert (commit.seq, commit.goal_id, commit.fence) == (1, lease.goal_id, 1)
    assert [f.path for f in commit.files] == [
        "a.txt", "d/deep", "d/deep/c.txt", "gone.txt", "l", "new", "new/n.txt", "nothing", "run.sh",
    ]  # fmt: skip
    stage.discard()
    assert bench.debris() == []
    assert bench.log.newest(PROJECT) == [commit]


@pytest.mark.parametrize("swap", ["folder to file", "file to folder", "link to folder"])
def test_kinds_may_change(bench, swap):
    write(bench.output, {"x/a.txt": "a", "x/y/b.txt": "b", "f.txt": "f"})
    (bench.output / "l").symlink_to("x")
    lease, stage = bench.run()
    if swap == "folder to file":
        for path in ("x/y/b.txt", "x/a.txt"):
            (stage.area / path).unlink()
        (stage.area / "x/y").rmdir()
        (stage.area / "x").rmdir()
        write(stage.area, {"x": "a file now"})
    elif swap == "file to folder":
        (stage.area / "f.txt").unlink()
        write(stage.area, {"f.txt/inner.txt": "i"})
    else:
        (stage.area / "l").unlink()
        write(stage.area, {"l/inner.txt": "i"})
    before, expected = listing(bench.output), listing(stage.area)
    bench.publisher.publish(stage, lease=lease)
    assert listing(bench.output) == expected
    bench.undo(lease.goal_id)
    assert listing(bench.output) == before


def test_nothing_changed_is_no_commit(bench):
    write(bench.output, {"a.txt": "a"})
    lease, stage = bench.run()
    write(stage.area, {"a.txt": "a"})
    assert bench.publisher.publish(stage, lease=lease) is None
    assert bench.log.newest(PROJECT) == []


def test_publishing_again_is_the_same_commit(bench):
    lease, stage = bench.run()
    write(stage.area, {"a.txt": "a"})
    commit = bench.publisher.publish(stage, lease=lease)
    bench.goal_that_writes({"a.txt": "later"})
    assert bench.publisher.publish(stage, lease=lease) == commit
    assert (bench.output / "a.txt").read_text() == "later"


def test_two_goals_with_different_files_both_succeed(bench):
    write(bench.output, {"d/old.txt": "o"})
    one, stage_one = bench.run()
    two, stage_two = bench.run()
    write(stage_one.area, {"d/a.txt": "a", "new/x.txt": "x"})
    write(stage_two.area, {"d/b.txt": "b", "new/y.txt": "y"})
    bench.publisher.publish(stage_one, lease=one)
    bench.publisher.publish(stage_two, lease=two)
    assert {p for p, what in listing(bench.output).items() if what != "folder"} == {
        "d/old.txt", "d/a.txt", "d/b.txt", "new/x.txt", "new/y.txt",
    }  # fmt: skip


def make(path):
    return lambda area: write(area, {path: f"mine {area}"})


def drop(path):
    return lambda area: (area / path).unlink()


def folder_to_file(area):
    (area / "d/f.txt").unlink()
    (area / "d").rmdir()
    write(area, {"d": "file"})


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        (make("d/f.txt"), make("d/f.txt"), "d/f.txt"),
        (make("new.txt"), make("new.txt"), "new.txt"),
        (drop("d/f.txt"), make("d/f.txt"), "d/f.txt"),
        (make("d/f.txt"), drop("d/f.txt"), "d/f.txt"),
        (folder_to_file, make("d/g.txt"), "d"),
        (make("d/g.txt"), folder_to_file, "d"),
        (make("n/a.txt"), make("n"), "n"),
        (make("n"), make("n/a.txt"), "n"),
    ],
)
def test_the_second_of_two_that_touch_the_same_conflicts(bench, first, second, named):
    write(bench.output, {"d/f.txt": "f"})
    one, stage_one = bench.run()
    two, stage_two = bench.run()
    first(stage_one.area)
    second(stage_two.area)
    bench.publisher.publish(stage_one, lease=one)
    after_first = listing(bench.output)
    with pytest.raises(PublishConflict) as caught:
        bench.publisher.publish(stage_two, lease=two)
    assert named in caught.value.files
    assert caught.value.others == (one.goal_id,)
    assert one.goal_id in str(caught.value)
    assert listing(bench.output) == after_first
    stage_one.discard()
    stage_two.discard()
    assert bench.debris() == []


def test_two_goals_that_make_the_very_same_file_agree(bench):
    """What the second adds beside it is published; the file itself is no conflict."""
    write(bench.output, {"old.txt": "old"})
    one, stage_one = bench.run()
    two, stage_two = bench.run()
    for stage in (stage_one, stage_two):
        write(stage.area, {"same.txt": "same", "d/deep.txt": "deep"})
        (stage.area / "old.txt").unlink()
    write(stage_two.area, {"more.txt": "more"})
    bench.publisher.publish(stage_one, lease=one)
    commit = bench.publisher.publish(stage_two, lease=two)
    assert [file.path for file in commit.files] == ["more.txt"]
    assert (bench.output / "same.txt").read_text() == "same"
    assert not (bench.output / "old.txt").exists()


def test_two_goals_that_make_the_very_same_and_nothing_else_are_one_commit(bench):
    one, stage_one = bench.run()
    two, stage_two = bench.run()
    for stage in (stage_one, stage_two):
        write(stage.area, {"same.txt": "same"})
    assert bench.publisher.publish(stage_one, lease=one)
    assert bench.publisher.publish(stage_two, lease=two) is None
    assert bench.debris() == []


def test_the_script_alone_sees_conflicts_that_came_after_the_files_were_compared(bench):
    two, stage_two = bench.run()
    one, stage_one = bench.run()
    write(stage_one.area, {"a.txt": "one"})
    write(stage_two.area, {"a.txt": "two", "b.txt": "two"})

    def overtake(point):
        if point == "planned":
            bench.publisher.reached = lambda _: None
            bench.publisher.publish(stage_one, lease=one)

    bench.publisher.reached = overtake
    with pytest.raises(PublishConflict) as caught:
        bench.publisher.publish(stage_two, lease=two)
    assert (caught.value.files, caught.value.others) == (("a.txt",), (one.goal_id,))
    assert listing(bench.output).keys() == {"a.txt"}


def test_a_read_file_that_changed_meanwhile_is_a_conflict(bench):
    write(bench.output, {"in.txt": "1", "other.txt": "o"})
    lease, stage = bench.run()
    reads = [digest_file(stage.area, "in.txt"), FileDigest(path="not.txt", digest=None)]
    write(stage.area, {"out.txt": "1"})
    bench.goal_that_writes({"other.txt": "changed, nobody read it"})
    other = bench.goal_that_writes({"in.txt": "2"})
    with pytest.raises(PublishConflict) as caught:
        bench.publisher.publish(stage, lease=lease, reads=reads)
    assert (caught.value.files, caught.value.others) == (("in.txt",), (other.goal_id,))
    bench.goal_that_writes({"in.txt": "1"})
    assert bench.publisher.publish(stage, lease=lease, reads=reads) is not None


def test_a_file_that_was_missed_and_is_there_now_is_a_conflict(bench):
    lease, stage = bench.run()
    write(stage.area, {"out.txt": "1"})
    bench.goal_that_writes({"in.txt": "2"})
    with pytest.raises(PublishConflict, match=r"in\.txt"):
        bench.publisher.publish(stage, lease=lease, reads=[FileDigest(path="in.txt", digest=None)])


def test_what_the_run_wrote_before_it_read_it_is_no_conflict(bench):
    lease, stage = bench.run()
    write(stage.area, {"out.txt": "1"})
    reads = [digest_file(stage.area, "out.txt")]
    assert bench.publisher.publish(stage, lease=lease, reads=reads) is not None


def test_a_persons_edit_of_the_same_file_is_a_conflict_and_stays(bench):
    write(bench.output, {"a.txt": "a"})
    lease, stage = bench.run()
    write(stage.area, {"a.txt": "mine"})
    write(bench.output, {"a.txt": "by hand"})
    with pytest.raises(PublishConflict, match="someone outside llmos") as caught:
        bench.publisher.publish(stage, lease=lease)
    assert caught.value.others == ()
    assert (bench.output / "a.txt").read_text() == "by hand"


def test_a_stale_fence_publishes_nothing(bench, state):
    write(bench.output, {"a.txt": "a"})
    lease, stage = bench.run()
    write(stage.area, {"a.txt": "late", "b.txt": "late"})
    expire_lease(state, lease.goal_id)
    with pytest.raises(LeaseLost):
        bench.publisher.publish(stage, lease=lease)
    newer, _ = bench.goals.acquire(lease.goal_id, owner="w2")
    with pytest.raises(LeaseLost):
        bench.publisher.publish(stage, lease=lease)
    assert listing(bench.output) == {"a.txt": (b"a", 0o644)}
    assert bench.log.state(PROJECT).pending == ""
    stage_two = bench.stages.open(PROJECT, lease.goal_id, newer.fence)
    assert bench.publisher.publish(stage_two, lease=newer) is not None


def test_a_cancelled_goal_publishes_nothing(bench):
    lease, stage = bench.run()
    write(stage.area, {"a.txt": "late"})
    bench.goals.request_cancel(lease.goal_id)
    with pytest.raises(Cancelled):
        bench.publisher.publish(stage, lease=lease)
    assert listing(bench.output) == {}


def test_a_finished_goal_publishes_nothing(bench):
    lease, stage = bench.run()
    write(stage.area, {"a.txt": "late"})
    bench.goals.finish(an_outcome(lease.goal_id, GoalState.FAILED), fence=lease.fence)
    with pytest.raises((LeaseLost, GoalFinished)):
        bench.publisher.publish(stage, lease=lease)
    assert listing(bench.output) == {}


def test_the_log_says_who_wrote_what(bench):
    write(bench.output, {"a.txt": "a"})
    lease, stage = bench.run()
    write(stage.area, {"a.txt": "A", "b.txt": "b"})
    facts = CommitFacts(
        mode=Mode.FOLLOWER, trace_id="t1", trace_version=3, approver="ann",
        writers={"a.txt": Writer(step=2, model_call="req_1")},
    )  # fmt: skip
    bench.publisher.publish(stage, lease=lease, facts=facts)
    later = bench.goal_that_writes({"a.txt": "AA"})
    newest, first = bench.log.why(PROJECT, "a.txt")
    assert newest.goal_id == later.goal_id
    assert (first.mode, first.trace_id, first.trace_version) == (Mode.FOLLOWER, "t1", 3)
    assert (first.approver, first.seq) == ("ann", 1)
    file = first.files[0]
    assert (file.path, file.step, file.model_call) == ("a.txt", 2, "req_1")
    assert file.before.digest == hashlib.sha256(b"a").hexdigest()
    assert file.after.digest == newest.files[0].before.digest
    assert bench.log.why(PROJECT, "c.txt") == []
    lines = (bench.folder.state / "commits.jsonl").read_text().splitlines()
    assert [json.loads(line)["goal_id"] for line in lines] == [lease.goal_id, later.goal_id]


def test_an_answer_that_got_lost_does_not_log_twice(bench):
    """redis-py sends a script again when the connection broke after it ran."""
    commit = bench.goal_that_writes({"a.txt": "a"})
    later = bench.goal_that_writes({"a.txt": "b"})
    again = bench.log.intend(commit, lease=None, start=0, checks=["a.txt"], sets=["a.txt"])
    assert again == commit.seq
    assert bench.log.newest(PROJECT) == [later, commit]
    assert bench.log.state(PROJECT).pending == ""


def test_the_log_is_bounded(bench, state):
    bench.log._kept = 3
    commits = [bench.goal_that_writes({"a.txt": str(n)}) for n in range(5)]
    assert bench.log.newest(PROJECT) == commits[:1:-1]
    assert [c.seq for c in bench.log.newest(PROJECT)] == [5, 4, 3]
    assert state.hlen("llmos:commits:p") == 3


def test_racing_goals_lose_no_file_and_tear_none(bench, tmp_path):
    """Many publish at once; each file is one goal's, whole, and the log says whose."""
    runs = [bench.run() for _ in range(8)]
    for number, (_, stage) in enumerate(runs):
        write(stage.area, {f"own/{number}.txt": str(number), "shared.txt": str(number) * 10_000})
    won: list[int] = []

    def publish(number):
        try:
            bench.publisher.publish(runs[number][1], lease=runs[number][0])
            won.append(number)
        except PublishConflict:
            pass

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert (bench.output / "shared.txt").read_text() == str(won[0]) * 10_000
    assert [p.name for p in (bench.output / "own").iterdir()] == [f"{won[0]}.txt"]


def test_a_commit_whose_files_are_elsewhere_is_said_and_given_up_after_a_day(bench):
    lease, stage = bench.run()
    write(stage.area, {"a.txt": "a"})

    class Crash(Exception):
        pass

    def crash(point):
        if point == "logged":
            raise Crash

    bench.publisher.reached = crash
    with pytest.raises(Crash):
        bench.publisher.publish(stage, lease=lease)
    bench.publisher.reached = lambda _: None
    draft = bench.folder.state / "commits" / bench.log.state(PROJECT).pending
    draft.rename(bench.folder.state / "elsewhere")
    with pytest.raises(DataError, match="workspace"):
        bench.publisher.recover(PROJECT)
    bench.publisher.sweep(PROJECT)
    assert bench.log.state(PROJECT).pending
    bench.publisher.sweep(PROJECT, now=bench.clock.now() + 90_000)
    assert not bench.log.state(PROJECT).pending
    assert bench.goal_that_writes({"b.txt": "b"})


def test_what_a_person_puts_in_the_way_at_the_last_moment_is_kept_aside(bench):
    lease, stage = bench.run()
    write(stage.area, {"a.txt": "mine", "d/b.txt": "mine"})

    def intrude(point):
        if point == "logged":
            (bench.output / "a.txt").mkdir()
            (bench.output / "a.txt" / "note").write_text("theirs")
            (bench.output / "d").write_text("theirs")

    bench.publisher.reached = intrude
    commit = bench.publisher.publish(stage, lease=lease)
    assert (bench.output / "a.txt").read_text() == "mine"
    assert (bench.output / "d/b.txt").read_text() == "mine"
    assert (bench.output / f"a.txt.before-{commit.commit_id[:60]}" / "note").exists()
    assert (bench.output / f"d.before-{commit.commit_id[:60]}").read_text() == "theirs"


def test_a_removal_that_comes_late_takes_nothing_else_away(bench):
    """A run that was stopped in the middle of its publish wakes up when others are far ahead."""
    write(bench.output, {"x.txt": "old"})
    lease, stage = bench.run()
    (stage.area / "x.txt").unlink()
    write(stage.area, {"y.txt": "y"})
    others = []

    def sleep_through_others(point):
        if point == "logged":
            bench.publisher.reached = lambda _: None
            others.append(bench.goal_that_writes({"x.txt": "new", "y.txt": "newer"}))

    bench.publisher.reached = sleep_through_others
    bench.publisher.publish(stage, lease=lease)
    assert len(others) == 1
    assert (bench.output / "x.txt").read_text() == "new"
    assert (bench.output / "y.txt").read_text() == "newer"
    assert bench.log.state(PROJECT) == bench.log.state(PROJECT).__class__(2, "")


def test_a_file_that_is_swapped_under_a_removal_comes_back(bench):
    from llmos_workers.kernel import tree
    from llmos_workers.kernel.draft import Draft

    write(bench.output, {"x.txt": "theirs"})
    draft = bench.publisher.draft(bench.folder, "c1")
    assert isinstance(draft, Draft)
    with tree.parent(bench.output, "x.txt") as (folder, name):
        draft._take_file(folder, name, draft.root / "old-0", inode=1)
    assert (bench.output / "x.txt").read_text() == "theirs"


def test_sweep_removes_drafts_that_were_never_logged(bench):
    draft = bench.publisher.draft(bench.folder, "c1")
    (draft.root / "0").write_text("x")
    assert bench.publisher.sweep(PROJECT) == 0
    assert bench.publisher.sweep(PROJECT, now=bench.clock.now() + 90_000) == 1
    assert bench.debris() == []
