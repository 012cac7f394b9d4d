from __future__ import annotations

from llmos_workers.contracts.trace import Slot
from llmos_workers.learning.matching.embedder import MiniLMEmbedder
from llmos_workers.learning.matching.matcher import VETOED, GoalMatcher
from llmos_workers.learning.signature import goal_signature
from tests.learning.matching.conftest import Shelf, step, trace_of

FOLLOW = 0.92


def matcher(shelf: Shelf, embedder: MiniLMEmbedder) -> GoalMatcher:
    return GoalMatcher(shelf, shelf.index, embedder)


def test_nothing_known_gives_no_candidate(shelf: Shelf, embedder: MiniLMEmbedder) -> None:
    found = matcher(shelf, embedder).match("Create a Python calculator", "default")
    assert found.candidates == ()
    assert found.relatedness == 0.0


def test_the_exact_wording_needs_neither_model_nor_index(
    shelf: Shelf, embedder: MiniLMEmbedder
) -> None:
    slots = [Slot(name="file", value="a.txt")]
    trace = shelf.add(
        trace_of("Count the lines in a.txt", step(command="wc -l a.txt"), slots=slots)
    )

    class Untouchable:
        def __getattr__(self, name: str) -> object:
            raise AssertionError(name)

    alone = GoalMatcher(shelf, Untouchable(), Untouchable())  # type: ignore[arg-type]
    best = alone.match("count the lines in  a.txt!", "default").best
    assert best is not None
    assert (best.trace_id, best.stage, best.confidence) == (trace.trace_id, "exact", 1.0)
    assert best.slots == {"file": "a.txt"}


def test_a_known_alias_is_as_good_as_the_goal(shelf: Shelf, embedder: MiniLMEmbedder) -> None:
    shelf.add(trace_of("Create a calculator", aliases=("a number cruncher, please",)))
    best = matcher(shelf, embedder).match("A number cruncher, please", "default").best
    assert best is not None
    assert (best.stage, best.confidence) == ("alias", 1.0)


def test_rewordings_follow_one_trace_and_the_reason_is_told(
    shelf: Shelf, embedder: MiniLMEmbedder
) -> None:
    trace = shelf.add(trace_of("Create a Python calculator"))
    for goal in ("Build a calculator in Python", "Make a calc tool using python"):
        found = matcher(shelf, embedder).match(goal, "default")
        assert found.best is not None
        assert found.best.trace_id == trace.trace_id
        assert found.best.confidence >= FOLLOW
        assert found.best.stage == "structure"
        assert "Python" in found.best.agreed
        assert found.relatedness > 0.6


def test_a_look_alike_helps_but_is_not_followed(shelf: Shelf, embedder: MiniLMEmbedder) -> None:
    shelf.add(trace_of("Convert csv to json"))
    found = matcher(shelf, embedder).match("Convert json to csv", "default")
    assert found.best is not None
    assert found.best.confidence < FOLLOW
    assert found.relatedness > 0.9
    assert found.best.differed


def test_another_value_is_bound_to_the_slot(shelf: Shelf, embedder: MiniLMEmbedder) -> None:
    slots = [Slot(name="file", value="a.txt")]
    shelf.add(trace_of("Count the lines in a.txt", step(command="wc -l a.txt"), slots=slots))
    best = matcher(shelf, embedder).match("please count the lines in b.txt", "default").best
    assert best is not None
    assert best.stage == "template"
    assert best.confidence >= FOLLOW
    assert best.slots == {"file": "b.txt"}
    assert any("b.txt" in reason for reason in best.agreed)


def test_the_right_trace_comes_first_and_the_list_is_bounded(
    shelf: Shelf, embedder: MiniLMEmbedder
) -> None:
    for language in ("Python", "Rust", "Go", "Java", "Ruby", "Perl", "PHP", "Swift"):
        shelf.add(trace_of(f"Create a {language} calculator"))
    found = matcher(shelf, embedder).match("Build a calculator in Ruby", "default", top_k=3)
    assert len(found.candidates) == 3
    assert found.candidates[0].goal_text == "Create a Ruby calculator"
    assert [c.confidence >= FOLLOW for c in found.candidates] == [True, False, False]


def test_a_vetoed_pair_is_never_above_zero(shelf: Shelf, embedder: MiniLMEmbedder) -> None:
    goal = "Build a calculator in Python"
    shelf.add(trace_of("Create a Python calculator", vetoes=(goal_signature(goal),)))
    found = matcher(shelf, embedder).match(goal, "default")
    assert [c.confidence for c in found.candidates] == [0.0]
    assert VETOED in found.candidates[0].blockers
    other = matcher(shelf, embedder).match("Make a calc tool using python", "default").best
    assert other is not None
    assert other.confidence >= FOLLOW


def test_a_veto_also_stops_the_exact_wording(shelf: Shelf, embedder: MiniLMEmbedder) -> None:
    goal = "Create a Python calculator"
    shelf.add(trace_of(goal, vetoes=(goal_signature(goal),)))
    best = matcher(shelf, embedder).match(goal, "default").best
    assert best is None or best.confidence == 0.0


def test_a_rewording_does_not_overrule_the_goal_it_was_stored_for(
    shelf: Shelf, embedder: MiniLMEmbedder
) -> None:
    goal, alias = "Delete the first 3 rows of a.csv", "delete rows of a.csv"
    asked = "please remove rows of a.csv"
    shelf.add(trace_of(goal, aliases=(alias,)))
    best = matcher(shelf, embedder).match(asked, "default").best
    assert best is not None
    assert best.confidence < FOLLOW
    shelf.add(trace_of(alias, project="other"))
    best = matcher(shelf, embedder).match(asked, "other").best
    assert best is not None
    assert best.confidence >= FOLLOW


def test_projects_do_not_see_each_other(shelf: Shelf, embedder: MiniLMEmbedder) -> None:
    shelf.add(trace_of("Create a Python calculator", project="mine"))
    found = matcher(shelf, embedder).match("Create a Python calculator", "theirs")
    assert found.candidates == ()


def test_an_index_entry_without_its_trace_is_passed_over(
    shelf: Shelf, embedder: MiniLMEmbedder
) -> None:
    shelf.add(trace_of("Create a Python calculator"))
    shelf._traces.clear()
    found = matcher(shelf, embedder).match("Build a calculator in Python", "default")
    assert found.candidates == ()
    assert found.relatedness > 0.6
