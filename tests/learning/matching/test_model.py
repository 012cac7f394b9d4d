from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.matching import calibration_error, upper95
from bench.pair_slots import slots_for
from llmos_workers.contracts.errors import DataError
from llmos_workers.learning.matching.features import FEATURES, HARD, STRONG
from llmos_workers.learning.matching.lexicon import lexicon
from llmos_workers.learning.matching.model import (
    DOUBT_CAP,
    KNOWN,
    fit,
    read_model,
    shipped_model,
)
from llmos_workers.learning.matching.typos import edit_distance


def evidence(**given: float) -> dict[str, float]:
    return dict.fromkeys(FEATURES, 0.0) | given


LOOKS = st.floats(0, 1)


@given(LOOKS, LOOKS, LOOKS, st.sampled_from(["doubt", "plural", "mass_added"]))
def test_only_a_clean_pair_comes_near_following(
    cosine: float, overlap: float, containment: float, objection: str
) -> None:
    looks = {"cosine": cosine, "overlap": overlap, "containment": containment}
    clean = float(objection != "mass_added")
    found = evidence(**looks, **{objection: 1.0}, clean=clean)
    assert shipped_model().probability(found) <= DOUBT_CAP
    assert shipped_model().probability(evidence(**looks, clean=1.0)) > 0.95


def test_a_look_alike_is_told_from_a_rewording_by_how_much_is_repeated() -> None:
    repeated = evidence(cosine=0.9, overlap=0.9, containment=0.9, doubt=1.0)
    reworded = evidence(cosine=0.9, overlap=0.2, containment=0.3, doubt=1.0)
    unrelated = evidence(cosine=0.1, doubt=1.0)
    shipped = shipped_model().probability
    assert shipped(unrelated) < 0.02
    assert shipped(repeated) < 0.1
    assert shipped(reworded) > 0.3


def test_fitting_finds_the_share_that_is_right_and_repeats_itself() -> None:
    rng = np.random.default_rng(1)
    rows = np.zeros((900, len(FEATURES)))
    rows[:, list(FEATURES).index("cosine")] = rng.random(900)
    rows[:100, list(FEATURES).index("clean")] = 1.0
    labels = (rng.random(900) < 0.2).astype(float)
    labels[:100] = 1.0
    model = fit(rows, labels)
    assert model.clean == pytest.approx(101 / 102)
    grey = model.probability(evidence(cosine=0.5))
    # As if a fifth of the clean pairs, all right, were grey ones.
    assert grey == pytest.approx((0.2 * 800 + KNOWN * 100) / (800 + KNOWN * 100), abs=0.03)
    assert fit(rows, labels) == model


def test_weights_of_other_features_are_refused() -> None:
    with pytest.raises(DataError, match="another version"):
        read_model(json.dumps({"clean": 1, "bias": 0, "weights": {"cosine": 1}}))
    shipped = shipped_model()
    assert read_model(shipped.to_json()) == shipped


def test_objections_are_features() -> None:
    assert set(STRONG) <= set(HARD) <= set(FEATURES)


def test_the_tables_name_only_known_classes() -> None:
    lex = lexicon()
    actions = set(lex.tables["action"].values())
    for name in ("light", "informing", "destructive", "directed", "format_blind", "basic"):
        assert lex.classes[name] <= actions, name
    assert all(pair <= actions for pair in lex.compatible)
    assert lex.classes["currency"] <= set(lex.tables["unit"].values())
    assert set(lex.date_kind) <= set(lex.tables["date"].values())


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("calcualtor", "calculator"),
        ("direcotry", "directory"),
        ("pyhton", "python"),
        ("cat", "cat"),
    ],
)
def test_slips_are_put_right_and_words_left_alone(word: str, meant: str) -> None:
    context = frozenset({"python"})
    assert lexicon().speller.respell(word, context) == meant


def test_a_swap_of_neighbours_is_one_edit() -> None:
    assert edit_distance("teh", "the") == 1
    assert edit_distance("", "abc") == 3
    assert edit_distance("kitten", "sitting") == 3


def test_the_bench_bounds_rates_and_declares_slots_once() -> None:
    assert upper95(0, 100) == pytest.approx(1 - 0.05 ** (1 / 100))
    assert upper95(3, 3) == 1.0
    assert calibration_error([]) == 0.0
    slots = slots_for("Call the bank at the bank", ["bank", "the bank", "shop"])
    assert [slot.value for slot in slots] == ["the bank"]
