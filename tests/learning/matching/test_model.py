from __future__ import annotations

import json

import numpy as np
import pytest

from bench.matching import calibration_error, slots_for, upper95
from llmos_workers.contracts.errors import DataError
from llmos_workers.learning.matching.features import FEATURES, HARD, STRONG
from llmos_workers.learning.matching.lexicon import lexicon
from llmos_workers.learning.matching.model import FOR, fit, read_model, shipped_model
from llmos_workers.learning.matching.typos import edit_distance


def test_shipped_weights_speak_for_a_pair_only_where_they_may() -> None:
    for name, weight in shipped_model().weights.items():
        assert weight >= 0 if name in FOR else weight <= 0


def test_fitting_keeps_the_signs_even_against_the_data() -> None:
    rng = np.random.default_rng(1)
    rows = rng.random((200, len(FEATURES)))
    labels = (rows[:, list(FEATURES).index("negation")] > 0.5).astype(float)
    model = fit(rows, labels, steps=300)
    assert model.weights["negation"] == 0.0
    assert fit(rows, labels, steps=300) == model


def test_weights_of_other_features_are_refused() -> None:
    with pytest.raises(DataError, match="another version"):
        read_model(json.dumps({"bias": 0, "weights": {"cosine": 1}}))
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
