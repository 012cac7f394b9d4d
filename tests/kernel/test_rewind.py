"""A stage set back to before a commit shows the project as the committing run found it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from llmos_workers.contracts.errors import DataError
from llmos_workers.kernel.rewind import rewind
from tests.kernel.stage_support import Bench, listing, write


@pytest.fixture
def bench(state, tmp_path: Path) -> Bench:
    return Bench(state, tmp_path / "w")


def test_all_that_a_commit_did_is_taken_back_in_the_stage_and_nowhere_else(bench: Bench) -> None:
    """Files made, changed and removed, modes, folders and links."""
    write(bench.output, {"a.txt": "a", "gone.txt": "g", "d/b.txt": "b", "same.txt": "s"})
    (bench.output / "a.txt").chmod(0o755)
    (bench.output / "link").symlink_to("a.txt")
    before = listing(bench.output)
    lease, stage = bench.run()
    write(stage.area, {"a.txt": "other", "new/n.txt": "n"})
    (stage.area / "gone.txt").unlink()
    (stage.area / "link").unlink()
    (stage.area / "link").symlink_to("same.txt")
    shutil.rmtree(stage.area / "d")
    commit = bench.publisher.publish(stage, lease=lease)
    after = listing(bench.output)
    _, audit = bench.run("audit it")
    rewind(audit, commit, bench.publisher.objects(bench.folder))
    assert listing(audit.area) == before
    assert listing(bench.output) == after


def test_a_content_that_is_no_longer_kept_is_said(bench: Bench) -> None:
    """Nothing is compared then."""
    write(bench.output, {"a.txt": "a"})
    commit = bench.goal_that_writes({"a.txt": "b"})
    shutil.rmtree(bench.folder.state / "objects")
    _, stage = bench.run("audit it")
    with pytest.raises(DataError, match=r"'a\.txt' is no longer kept"):
        rewind(stage, commit, bench.publisher.objects(bench.folder))
