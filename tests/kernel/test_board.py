"""A plan's board: members publish into it under their own fences, the parent all at once."""

from __future__ import annotations

import pytest

from llmos_workers.contracts.commits import CommitFacts
from llmos_workers.contracts.errors import InvalidOption, PublishConflict
from llmos_workers.kernel.board import Board, Boards
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.commits import CommitLog
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.lease import Lease
from llmos_workers.kernel.publish import Publisher
from llmos_workers.kernel.stages import Stages
from llmos_workers.kernel.workspace import Workspace
from tests.kernel.goal_support import a_goal


class World:
    def __init__(self, state, folder) -> None:
        self.workspace = Workspace(folder)
        self.log = CommitLog(state)
        self.publisher = Publisher(self.workspace, self.log, SystemClock())
        self.stages = Stages(self.workspace, self.publisher)
        self.boards = Boards(self.workspace, self.stages, self.publisher)
        self.goals = GoalStore(state, SystemClock())
        self.output = self.workspace.project("demo").output

    def lease(self) -> Lease:
        record = self.goals.create(a_goal())[0]
        return self.goals.acquire(record.goal_id, owner="w")[0]

    def write(
        self,
        place: str,
        *,
        name: str,
        text: str,
        lease: Lease | None = None,
        facts: CommitFacts | None = None,
    ) -> Lease:
        """A goal writes one file and publishes it where it works."""
        lease = lease or self.lease()
        stage = self.stages.open(place, lease.goal_id, lease.fence)
        (stage.area / name).unlink(missing_ok=True)
        (stage.area / name).write_text(text)
        self.publisher.publish(stage, lease=lease, facts=facts or CommitFacts())
        return lease

    def tainted(self, place: str) -> list[str]:
        return sorted(self.log.tainted(place).paths)


@pytest.fixture
def world(state, tmp_path) -> World:
    return World(state, tmp_path / "workspace")


def publish(world: World, board: Board, lease: Lease, reads=()):
    return world.boards.publish(board, lease, CommitFacts(), tuple(reads))


def test_members_build_on_each_other_and_the_project_sees_them_at_once(world: World) -> None:
    world.write("demo", name="old.txt", text="old")
    parent = world.lease()
    board = world.boards.open("demo", parent)
    world.write(board.place, name="a.txt", text="a")
    assert (board.area / "a.txt").read_text() == "a"
    world.write(board.place, name="old.txt", text="new")
    assert sorted(p.name for p in world.output.iterdir()) == ["old.txt"]
    assert (world.output / "old.txt").read_text() == "old"
    commit = publish(world, world.boards.open("demo", parent), parent)
    assert sorted(f.path for f in commit.files) == ["a.txt", "old.txt"]
    assert {p.name: p.read_text() for p in world.output.iterdir()} == {
        "a.txt": "a", "old.txt": "new",
    }  # fmt: skip
    assert not board.root.exists()
    assert world.log.newest(board.place) == []
    assert [c.goal_id for c in world.log.of_goal("demo", parent.goal_id)] == [parent.goal_id]


def test_a_board_outlives_the_runs_of_its_goal_and_is_made_once(world: World) -> None:
    parent = world.lease()
    board = world.boards.open("demo", parent)
    world.write(board.place, name="a.txt", text="a")
    world.write("demo", name="b.txt", text="b")
    world.goals._redis.hset(f"llmos:goal:{parent.goal_id}", "lease_until", "1.0")
    again, _ = world.goals.acquire(parent.goal_id, owner="w2")
    found = world.boards.open("demo", again)
    assert (found.start, found.base) == (board.start, board.base)
    assert sorted(p.name for p in found.area.iterdir()) == ["a.txt"]
    publish(world, found, again)
    assert sorted(p.name for p in world.output.iterdir()) == ["a.txt", "b.txt"]
    assert publish(world, world.boards.open("demo", again), again) is None


def test_what_another_goal_changed_meanwhile_is_a_conflict(world: World) -> None:
    parent = world.lease()
    board = world.boards.open("demo", parent)
    world.write(board.place, name="a.txt", text="mine")
    world.write("demo", name="a.txt", text="theirs")
    with pytest.raises(PublishConflict):
        publish(world, board, parent)
    assert (world.output / "a.txt").read_text() == "theirs"


def test_members_that_change_the_same_file_conflict_with_each_other(world: World) -> None:
    board = world.boards.open("demo", world.lease())
    one, other = world.lease(), world.lease()
    slow = world.stages.open(board.place, other.goal_id, other.fence)
    world.write(board.place, name="a.txt", text="first", lease=one)
    (slow.area / "a.txt").write_text("second")
    with pytest.raises(PublishConflict):
        world.publisher.publish(slow, lease=other)


def test_a_discarded_board_leaves_nothing_and_a_late_member_publishes_nowhere(
    world: World,
) -> None:
    parent = world.lease()
    board = world.boards.open("demo", parent)
    late = world.lease()
    stage = world.stages.open(board.place, late.goal_id, late.fence)
    (stage.area / "a.txt").write_text("late")
    assert world.boards.sweep(board.project, lambda goal_id: goal_id == parent.goal_id) == 1
    assert not board.root.exists()
    assert list(world.output.iterdir()) == []


def test_a_member_may_have_a_board_of_its_own(world: World) -> None:
    parent, member = world.lease(), world.lease()
    outer = world.boards.open("demo", parent)
    inner = world.boards.open(outer.place, member)
    world.write(inner.place, name="deep.txt", text="deep")
    assert not (outer.area / "deep.txt").exists()
    publish(world, inner, member)
    assert (outer.area / "deep.txt").read_text() == "deep"
    publish(world, outer, parent)
    assert (world.output / "deep.txt").read_text() == "deep"


@pytest.mark.parametrize("place", ["demo@", "demo@../x", "demo@a/b", "@a", "demo@.hidden"])
def test_a_place_is_no_path(world: World, place: str) -> None:
    with pytest.raises(InvalidOption):
        world.workspace.peek(place)


WORDS = "what a page of somebody else's said, at some length\n"
OUTSIDE = CommitFacts(tainted="WebFetch")


def test_a_board_knows_what_of_the_project_others_wrote(world: World) -> None:
    world.write("demo", name="page.md", text=WORDS, facts=OUTSIDE)
    board = world.boards.open("demo", world.lease())
    assert world.tainted(board.place) == ["page.md"]
    member = world.lease()
    assert list(world.stages.open(board.place, member.goal_id, member.fence).tainted.paths) == [
        "page.md"
    ]


def test_what_members_took_in_from_outside_is_tainted_in_the_project_and_only_that(
    world: World,
) -> None:
    parent = world.lease()
    board = world.boards.open("demo", parent)
    world.write(board.place, name="page.md", text=WORDS, facts=OUTSIDE)
    world.write(board.place, name="own.md", text="what we found out ourselves, by measuring\n")
    # Copied by a member that was told nothing.
    world.write(board.place, name="copy.md", text=WORDS)
    assert world.tainted("demo") == []
    commit = publish(world, world.boards.open("demo", parent), parent)
    assert world.tainted("demo") == ["copy.md", "page.md"]
    assert {file.path: bool(file.tainted) for file in commit.files} == {
        "copy.md": True, "own.md": False, "page.md": True,
    }  # fmt: skip
    assert world.tainted(board.place) == []


def test_a_board_within_a_board_hands_its_taint_up(world: World) -> None:
    parent, member = world.lease(), world.lease()
    outer = world.boards.open("demo", parent)
    inner = world.boards.open(outer.place, member)
    world.write(inner.place, name="page.md", text=WORDS, facts=OUTSIDE)
    publish(world, inner, member)
    assert world.tainted(outer.place) == ["page.md"]
    publish(world, outer, parent)
    assert world.tainted("demo") == ["page.md"]


def test_a_discarded_board_forgets_its_taint_and_leaves_the_project_s(world: World) -> None:
    world.write("demo", name="page.md", text=WORDS, facts=OUTSIDE)
    board = world.boards.open("demo", world.lease())
    world.write(board.place, name="more.md", text="more of it, from that page\n", facts=OUTSIDE)
    world.boards.discard(board)
    assert world.tainted(board.place) == []
    assert world.tainted("demo") == ["page.md"]
