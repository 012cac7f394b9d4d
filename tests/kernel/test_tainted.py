"""Taint travels with published files: by path, by content, through undo, until it is taken away."""

from __future__ import annotations

import pytest

from llmos_workers.contracts.commits import CommitFacts
from llmos_workers.execution.sandbox import watched
from llmos_workers.execution.sandbox.watched import TaintedReads
from llmos_workers.kernel.isolate import isolate
from llmos_workers.kernel.tainted import KNOWN_FROM
from tests.kernel.stage_support import PROJECT, Bench, command_writes, write

WORDS = "what a page of somebody else's said\n"
OWN = "what we found out ourselves, by measuring\n"
OUTSIDE = CommitFacts(tainted="WebFetch")
COMMANDS = CommitFacts(commands=True)


@pytest.fixture
def bench(state, tmp_path) -> Bench:
    return Bench(state, tmp_path / "w")


def published(bench, facts, files, *, moved=()):
    """A goal of which this is known published these files, and moved some."""
    lease, stage = bench.run()
    write(stage.area, files)
    for old, new in moved:
        (stage.area / old).rename(stage.area / new)
    return bench.publisher.publish(stage, lease=lease, facts=facts)


def tainted(bench):
    return sorted(bench.log.tainted(PROJECT).paths)


def test_all_that_a_tainted_run_published_is_tainted_until_a_clean_run_writes_it(bench):
    commit = published(bench, OUTSIDE, {"a.md": WORDS, "d/b.md": "b"})
    assert tainted(bench) == ["a.md", "d/b.md"]
    assert {file.path: file.tainted for file in commit.files}["a.md"] == "WebFetch"
    published(bench, CommitFacts(), {"c.md": OWN})
    assert tainted(bench) == ["a.md", "d/b.md"]
    published(bench, CommitFacts(), {"a.md": OWN})
    assert tainted(bench) == ["d/b.md"]


def test_a_file_that_changed_while_commands_ran_may_have_kept_its_words(bench):
    published(bench, OUTSIDE, {"a.md": WORDS})
    published(bench, COMMANDS, {"a.md": f"{WORDS}{OWN}", "b.md": OWN})
    assert tainted(bench) == ["a.md"]


def test_what_is_moved_or_copied_takes_its_taint_along(bench):
    published(bench, OUTSIDE, {"a.md": WORDS})
    published(bench, COMMANDS, {"copy.md": WORDS}, moved=[("a.md", "b.md")])
    assert tainted(bench) == ["b.md", "copy.md"]


def test_a_short_content_is_not_known_again(bench):
    published(bench, OUTSIDE, {"empty": "", "short": "x" * (KNOWN_FROM - 1)})
    published(bench, CommitFacts(), {"other": "", "another": "x" * (KNOWN_FROM - 1)})
    assert tainted(bench) == ["empty", "short"]


def test_undo_brings_the_taint_back_with_the_content_and_takes_it_away(bench):
    first = published(bench, OUTSIDE, {"a.md": WORDS})
    clean = published(bench, CommitFacts(), {"a.md": OWN})
    bench.undo(clean.goal_id)
    assert tainted(bench) == ["a.md"]
    bench.undo(first.goal_id)
    assert tainted(bench) == []


def test_a_stage_knows_what_it_holds_also_when_a_later_run_goes_on_with_it(bench):
    published(bench, OUTSIDE, {"a.md": WORDS})
    lease, stage = bench.run()
    assert sorted(stage.tainted.paths) == ["a.md"]
    published(bench, CommitFacts(), {"a.md": OWN})
    assert bench.stages.open(PROJECT, stage.goal_id, lease.fence).tainted == stage.tainted
    later = bench.stages.open(PROJECT, stage.goal_id, lease.fence + 1)
    assert later.resumed_from == lease.fence
    assert sorted(later.tainted.paths) == ["a.md"]


def test_a_file_that_was_only_marked_is_no_change_and_no_conflict(bench):
    published(bench, OUTSIDE, {"a.md": WORDS})
    lease, stage = bench.run()
    command_writes(stage, "b.md", OWN)
    assert TaintedReads(stage.area, stage.tainted).met() == ""
    published(bench, CommitFacts(), {"a.md": OWN})
    commit = bench.publisher.publish(stage, lease=lease, facts=COMMANDS)
    assert [file.path for file in commit.files] == ["b.md"]
    assert (bench.output / "a.md").read_text() == OWN


def watch(bench):
    _, stage = bench.run()
    isolate(stage)
    return stage.area, TaintedReads(stage.area, stage.tainted)


def test_it_is_seen_whether_a_command_read_a_tainted_file(bench):
    published(bench, OUTSIDE, {"a.md": WORDS})
    published(bench, CommitFacts(), {"own.md": OWN})
    area, seen = watch(bench)
    (area / "own.md").read_text()
    assert seen.met() == ""
    (area / "a.md").read_text()
    assert seen.met() == "a.md, from WebFetch"
    area, seen = watch(bench)
    (area / "a.md").rename(area / "b.md")
    assert seen.met() == "a.md, from WebFetch", "who took it away may have read it"


def test_where_reading_does_not_show_every_command_counts(bench, monkeypatch):
    monkeypatch.setattr(watched, "_times_move", lambda _folder: False)
    assert watch(bench)[1].met() == ""
    published(bench, OUTSIDE, {"a.md": WORDS})
    assert watch(bench)[1].met() == "a.md, from WebFetch"


def test_what_is_still_the_published_file_is_not_marked(bench):
    published(bench, OUTSIDE, {"a.md": WORDS})
    before = (bench.output / "a.md").stat()
    _, stage = bench.run()
    assert TaintedReads(stage.area, stage.tainted).met() == "a.md, from WebFetch"
    assert (bench.output / "a.md").stat().st_atime_ns == before.st_atime_ns
