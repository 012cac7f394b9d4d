"""A run's stage: the whole project to see, nothing published to harm."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from llmos_workers.contracts.errors import SandboxUnavailable, ToolError
from llmos_workers.kernel.isolate import isolate
from llmos_workers.kernel.stages import Stages
from llmos_workers.kernel.tree import MAX_DEPTH, look, remove_tree
from tests.kernel.stage_support import PROJECT, Bench, command_writes, listing, write


@pytest.fixture
def bench(state, tmp_path) -> Bench:
    return Bench(state, tmp_path / "w")


def fill(output: Path) -> None:
    write(output, {"a.txt": "a", "d/b.txt": "b", "d/e/c.txt": "c"})
    (output / "empty").mkdir()
    (output / "run.sh").write_text("#!/bin/sh")
    (output / "run.sh").chmod(0o755)
    (output / "link").symlink_to("d/b.txt")
    (output / "out").symlink_to("/etc/hostname")


def changed(stage) -> dict[str, str]:
    kinds = {}
    for change in stage.changes():
        kinds[change.path] = (
            "added" if change.before is None else "removed" if change.after is None else "changed"
        )
    return kinds


def test_the_stage_looks_as_the_project_does(bench):
    fill(bench.output)
    _, stage = bench.run()
    assert listing(stage.area) == listing(bench.output)
    assert stage.changes() == []
    isolate(stage)
    assert listing(stage.area) == listing(bench.output)
    assert stage.changes() == []


def test_changes_are_found_and_nothing_published_changes(bench):
    fill(bench.output)
    before = listing(bench.output)
    _, stage = bench.run()
    write(stage.area, {"a.txt": "other", "new/n.txt": "n", "d/b.txt": "b"})
    (stage.area / "d/e/c.txt").unlink()
    (stage.area / "d/e").rmdir()
    (stage.area / "empty").rmdir()
    (stage.area / "link").unlink()
    (stage.area / "link").symlink_to("a.txt")
    assert changed(stage) == {
        "a.txt": "changed",
        "d/e": "removed",
        "d/e/c.txt": "removed",
        "empty": "removed",
        "link": "changed",
        "new": "added",
        "new/n.txt": "added",
    }
    assert listing(bench.output) == before


def test_no_content_is_copied_for_a_write_however_large_the_project(bench):
    big = bench.output / "big.bin"
    with big.open("wb") as file:
        file.truncate(1 << 30)
    write(bench.output, {f"f{n}.txt": "x" for n in range(50)})
    _, stage = bench.run()
    write(stage.area, {"f1.txt": "y"})
    shared = [
        p for p in stage.area.iterdir() if p.stat().st_ino == (bench.output / p.name).stat().st_ino
    ]
    assert len(shared) == 50
    own = sum(p.stat().st_size for p in stage.root.rglob("*") if p.is_file() and p not in shared)
    assert own < 64_000
    assert changed(stage) == {"f1.txt": "changed"}


def test_after_isolation_no_name_leads_to_a_published_file(bench):
    fill(bench.output)
    _, stage = bench.run()
    isolate(stage)
    for path in listing(bench.output):
        if (bench.output / path).is_file() and not (bench.output / path).is_symlink():
            assert (stage.area / path).stat().st_nlink == 1
            assert (stage.area / path).stat().st_mtime_ns == (
                bench.output / path
            ).stat().st_mtime_ns


@pytest.mark.parametrize("text", ["b", "B", "longer"])
def test_writing_in_place_at_once_after_isolation_is_seen(bench, text):
    write(bench.output, {"a.txt": "a", "b.txt": "b"})
    _, stage = bench.run()
    command_writes(stage, "b.txt", text)
    facts = (bench.output / "b.txt").stat()
    os.utime(stage.area / "b.txt", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert changed(stage) == ({} if text == "b" else {"b.txt": "changed"})
    assert (bench.output / "b.txt").read_text() == "b"


def test_a_write_within_the_tick_of_the_copying_is_seen(bench):
    """On kernels with coarse file times nothing but the content tells."""
    write(bench.output, {"a.txt": "a"})
    _, stage = bench.run()
    isolate(stage)
    (stage.area / "a.txt").write_text("b")
    stage.own["a.txt"] = look(stage.area, "a.txt")  # as if it had been the same tick
    assert changed(stage) == {"a.txt": "changed"}


def test_a_commit_that_lands_while_a_stage_is_built_is_in_it_whole(bench, monkeypatch):
    from llmos_workers.kernel import stages

    write(bench.output, {"a.txt": "old", "z.txt": "old"})
    walk, landed = stages.tree.walk, []

    def walk_and_land(root, visit):
        def visit_and_land(folder, name, path, entry):
            visit(folder, name, path, entry)
            if not landed and path == "a.txt" and root == bench.output:
                landed.append(1)
                bench.goal_that_writes({"a.txt": "new", "z.txt": "new"})

        walk(root, visit_and_land)

    monkeypatch.setattr(stages.tree, "walk", walk_and_land)
    _, stage = bench.run()
    assert landed
    assert (stage.area / "a.txt").read_text() == (stage.area / "z.txt").read_text() == "new"
    assert stage.start == 1


def test_a_changed_mode_is_a_change(bench):
    write(bench.output, {"a.sh": "a"})
    _, stage = bench.run()
    isolate(stage)
    (stage.area / "a.sh").chmod(0o755)
    assert changed(stage) == {"a.sh": "changed"}


def test_touching_is_no_change(bench):
    write(bench.output, {"a.txt": "a"})
    _, stage = bench.run()
    isolate(stage)
    (stage.area / "a.txt").touch()
    assert stage.changes() == []


def test_a_persons_edit_in_place_is_not_the_runs_change(bench):
    write(bench.output, {"a.txt": "a"})
    _, stage = bench.run()
    (bench.output / "a.txt").write_text("by hand")
    assert stage.changes() == []


def test_where_copying_is_too_much_commands_are_refused(bench):
    write(bench.output, {"small.txt": "s", "large.txt": "l" * 10_000})
    # The area is root's here, so commands would run as the owner of all files.
    stages = Stages(bench.workspace, bench.publisher, copy_limit=5_000)
    _, stage = bench.run()
    if not can_clone(bench.folder.state):
        with pytest.raises(SandboxUnavailable, match=r"large\.txt.*copying"):
            stages.isolate(stage)
        assert not stage.isolated
        assert (stage.area / "large.txt").stat().st_ino == (
            bench.output / "large.txt"
        ).stat().st_ino


@pytest.mark.skipif(os.geteuid() != 0, reason="needs two users")
def test_what_is_too_large_to_copy_stays_linked_where_commands_are_another_user(bench):
    write(bench.output, {"small.txt": "s", "large.txt": "l" * 10_000, "open.txt": "o" * 6_000})
    stages = Stages(bench.workspace, bench.publisher, copy_limit=5_000)
    _, stage = bench.run()
    os.chown(stage.area, 60_800, 60_800)
    if can_clone(bench.folder.state):
        return
    (bench.output / "open.txt").chmod(0o666)
    with pytest.raises(SandboxUnavailable, match=r"open\.txt"):
        stages.isolate(stage)
    (bench.output / "open.txt").chmod(0o644)
    stages.isolate(stage)
    assert stage.read_only == ("open.txt", "large.txt")
    assert (stage.area / "small.txt").stat().st_uid == 60_800
    assert stage.changes() == []


def can_clone(folder: Path) -> bool:
    from llmos_workers.kernel.clone import clone

    (folder / "x").write_text("x")
    with (folder / "x").open() as source, (folder / "y").open("w") as target:
        return clone(source.fileno(), target.fileno())


def test_opening_again_gives_the_same_stage(bench):
    lease, stage = bench.run()
    write(stage.area, {"a.txt": "a"})
    again = bench.stages.open(PROJECT, lease.goal_id, lease.fence)
    assert again == stage
    assert changed(again) == {"a.txt": "added"}


@pytest.mark.parametrize("isolated", [False, True])
def test_a_later_run_goes_on_with_the_files_of_the_one_before(bench, isolated):
    fill(bench.output)
    lease, stage = bench.run()
    write(stage.area, {"a.txt": "mine", "new/n.txt": "n"})
    (stage.area / "d/b.txt").unlink()
    if isolated:
        isolate(stage)
        (stage.area / "run.sh").chmod(0o700)
    bench.goal_that_writes({"d/e/c.txt": "of another goal"})
    expected, work = listing(stage.area), changed(stage)
    later = bench.stages.open(PROJECT, lease.goal_id, lease.fence + 3)
    assert listing(later.area) == expected
    assert changed(later) == work
    assert (later.start, later.resumed_from) == (stage.start, lease.fence)
    assert not stage.root.exists()
    shared = [p for p in later.area.rglob("*") if p.is_file() and p.stat().st_nlink > 1]
    assert {p.name for p in shared} <= {"run.sh", "a.txt"} | {"b.txt"}
    isolate(later)
    assert changed(later) == work


def test_what_an_earlier_run_published_is_not_taken_over_again(bench):
    lease, stage = bench.run()
    write(stage.area, {"a.txt": "a"})
    kept = stage.root.with_name("kept")
    shutil.copytree(stage.root, kept)
    bench.publisher.publish(stage, lease=lease)
    assert not stage.root.exists()
    kept.rename(stage.root)  # as if the worker had died before it could discard it
    later = bench.stages.open(PROJECT, lease.goal_id, lease.fence + 1)
    assert (later.resumed_from, later.changes()) == (None, [])
    assert listing(later.area) == listing(bench.output)
    assert not stage.root.exists()


def test_a_stage_that_is_being_discarded_is_not_taken_over(bench, monkeypatch):
    """Else the files that are gone already would look as if the run had removed them."""
    from llmos_workers.kernel import stages

    write(bench.output, {"a.txt": "a", "b.txt": "b"})
    lease, stage = bench.run()
    write(stage.area, {"c.txt": "c"})
    walk = stages.tree.walk

    def discard_meanwhile(root, visit):
        if root == stage.area:
            (stage.root / "stage.json").unlink(missing_ok=True)
            (stage.area / "b.txt").unlink(missing_ok=True)
        walk(root, visit)

    monkeypatch.setattr(stages.tree, "walk", discard_meanwhile)
    later = bench.stages.open(PROJECT, lease.goal_id, lease.fence + 1)
    assert (later.resumed_from, later.changes()) == (None, [])


def test_a_stage_that_cannot_be_opened_leaves_nothing(bench):
    (Path(os.fsdecode(os.fsencode(bench.output) + b"/\xff.txt"))).write_text("x")
    with pytest.raises(ToolError, match="not valid text"):
        bench.run()
    assert bench.debris() == []


def test_any_goal_id_has_a_stage_of_its_own(bench):
    ids = ["../../etc", "a/b", "a\\b", ".", "x" * 200, "ok-1", "~!"]
    roots = {bench.stages.open(PROJECT, goal_id, 1).root for goal_id in ids}
    assert len(roots) == len(ids)
    assert {root.parent for root in roots} == {bench.folder.state / "stages"}


def test_sweep_removes_what_ended_and_what_was_taken_over(bench):
    done, _ = bench.run()
    live, stage = bench.run()
    shutil.copytree(stage.root, stage.root.with_name(stage.root.name[:-1] + "9"))
    later = stage.root.with_name(stage.root.name[:-1] + "9") / "stage.json"
    later.write_text(later.read_text().replace('"fence": 1', '"fence": 9'))
    half = bench.folder.state / "stages" / "half-1" / "area"
    half.mkdir(parents=True)
    assert bench.stages.sweep(lambda goal_id: goal_id == done.goal_id) == 2
    names = {path.name for path in (bench.folder.state / "stages").iterdir()}
    assert names == {f"{live.goal_id}-9", "half-1"}
    old = half.parent.stat().st_mtime + 4_000
    assert bench.stages.sweep(lambda _: False, now=old) == 1
    assert bench.stages.sweep(lambda _: True) == 1
    assert bench.debris() == []


def test_discarding_twice_is_fine(bench):
    _, stage = bench.run()
    stage.discard()
    stage.discard()
    assert bench.debris() == []


def test_a_tree_as_deep_as_a_command_likes_is_removed_and_not_published(bench):
    _, stage = bench.run()
    here = os.open(stage.area, os.O_RDONLY)
    for _ in range(3_000):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    with pytest.raises(ToolError, match=f"more than {MAX_DEPTH} folders"):
        stage.changes()
    stage.discard()
    assert not stage.root.exists()


def test_file_names_that_are_no_text_are_said(bench):
    _, stage = bench.run()
    (Path(os.fsdecode(os.fsencode(stage.area) + b"/\xff.txt"))).write_text("x")
    with pytest.raises(ToolError, match="not valid text"):
        stage.changes()


def test_removing_what_is_not_there_is_fine(tmp_path):
    remove_tree(tmp_path / "nothing")


def test_pipes_and_sockets_are_no_part_of_a_project(bench):
    _, stage = bench.run()
    os.mkfifo(stage.area / "pipe")
    assert stage.changes() == []


def test_no_path_leads_out_of_a_tree(bench):
    write(bench.output, {"a.txt": "a"})
    (bench.output / "l").symlink_to("/etc")
    for path in ("../output/a.txt", "l/hostname", "a.txt/b", "l/../a.txt"):
        assert look(bench.output, path) is None
