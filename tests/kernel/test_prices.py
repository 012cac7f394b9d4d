"""Prices: exact, complete, and never a silent zero."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.contracts.errors import MalformedFile, UnknownModel
from llmos_workers.contracts.outcome import Usage
from llmos_workers.kernel.prices import Prices

PRICES = Prices.load()
MILLION = Usage(input_tokens=1_000_000)

TABLE = {  # dollars per million: input, output, 5-minute write, read
    "claude-fable-5-1": ("10", "50", "12.50", "0.25"),
    "claude-opus-5-5": ("4", "20", "5", "0.20"),
    "claude-opus-4-5": ("5", "25", "6.25", "0.50"),
    "claude-opus-5": ("5", "25", "6.25", "0.50"),
    "claude-sonnet-5-5": ("2", "10", "2.50", "0.10"),
    "claude-sonnet-5": ("2", "10", "2.50", "0.20"),
    "claude-sonnet-4-5": ("3", "15", "3.75", "0.30"),
    "claude-sonnet-4-6": ("3", "15", "3.75", "0.30"),
    "claude-haiku-5-5": ("0.10", "0.50", "0.125", "0.01"),
    "claude-haiku-4-5": ("1", "5", "1.25", "0.10"),
}


@pytest.mark.parametrize("model", TABLE)
def test_each_kind_of_token_has_its_price(model):
    prompt, output, write, read = (Fraction(x) for x in TABLE[model])
    kinds = {
        "input_tokens": prompt, "output_tokens": output, "cache_write_5m_tokens": write,
        "cache_write_1h_tokens": 2 * prompt, "cache_read_tokens": read,
    }  # fmt: skip
    for kind, price in kinds.items():
        assert PRICES.cost(model, Usage(**{kind: 80_000})) == price * 80_000


def test_haikus_long_prompts_cost_more_from_the_first_token_above():
    edge = Usage(input_tokens=60_000, cache_read_tokens=40_000, output_tokens=1_000)
    assert PRICES.cost("claude-haiku-5-5", edge) == 6_000 + 400 + 500
    above = edge.model_copy(update={"cache_read_tokens": 40_001})
    assert PRICES.cost("claude-haiku-5-5", above) == 30_000 + 2_001 + 2_500  # 2000.05 up
    hour = Usage(cache_write_1h_tokens=200_000)
    assert PRICES.cost("claude-haiku-5-5", hour) == 200_000


def test_a_cost_is_rounded_up_to_a_whole_micro_dollar():
    assert PRICES.cost("haiku", Usage(input_tokens=1)) == 1
    assert PRICES.cost("haiku", Usage(input_tokens=10)) == 1
    assert PRICES.cost("haiku", Usage(input_tokens=11)) == 2
    assert PRICES.cost("haiku", Usage()) == 0


def test_aliases_and_dated_snapshots_are_the_same_models():
    assert PRICES.resolve("haiku") == "claude-haiku-5-5"
    assert PRICES.resolve("sonnet") == "claude-sonnet-5-5"
    assert PRICES.resolve("opus") == "claude-opus-5-5"
    assert PRICES.resolve("claude-opus-5-20260901") == "claude-opus-5-20260901"
    assert PRICES.cost("claude-opus-5-20260901", MILLION) == 5_000_000
    assert PRICES.cost("claude-opus-5-5-latest", MILLION) == 4_000_000


def test_the_retired_default_is_accepted_and_its_replacement_named_once(caplog):
    prices = Prices.load()
    old = "claude-sonnet-4-5-20250929"
    assert prices.resolve(old) == old
    assert prices.cost(old, MILLION) == 3_000_000
    (warning,) = caplog.records
    assert "2026-11-30" in warning.getMessage()
    assert "claude-sonnet-5-5" in warning.getMessage()
    assert prices.notice("claude-sonnet-5-5") is None


@pytest.mark.parametrize("model", ["gpt-9", "", "claude-sonnet", "claude-opus-5-6", "claude"])
def test_an_unknown_model_is_an_error_that_names_the_file(model):
    for ask in (
        lambda: PRICES.resolve(model),
        lambda: PRICES.cost(model, MILLION),
        lambda: PRICES.bound(model, 1, 1),
    ):
        with pytest.raises(UnknownModel, match=r"prices\.toml"):
            ask()


usages = st.builds(
    Usage,
    input_tokens=st.integers(0, 300_000),
    output_tokens=st.integers(0, 60_000),
    cache_write_5m_tokens=st.integers(0, 300_000),
    cache_write_1h_tokens=st.integers(0, 300_000),
    cache_read_tokens=st.integers(0, 300_000),
)


@given(usage=usages, model=st.sampled_from(sorted(TABLE)), hour=st.booleans())
def test_money_no_call_costs_more_than_its_bound(usage, model, hour):
    if not hour:
        usage = usage.model_copy(update={"cache_write_1h_tokens": 0})
    bound = PRICES.bound(model, usage.prompt_tokens, usage.output_tokens, cache_1h=hour)
    assert PRICES.cost(model, usage) <= bound


@given(
    model=st.sampled_from(sorted(TABLE)),
    size=st.integers(0, 200_000),
    micro=st.integers(0, 5_000_000),
    hour=st.booleans(),
)
def test_money_the_affordable_tokens_are_exactly_the_last_that_fit(model, size, micro, hour):
    tokens = PRICES.affordable_tokens(model, size, micro, cache_1h=hour)
    if PRICES.bound(model, size, 0, cache_1h=hour) > micro:
        assert tokens == 0
        return
    assert PRICES.bound(model, size, tokens, cache_1h=hour) <= micro
    assert PRICES.bound(model, size, tokens + 1, cache_1h=hour) > micro


def test_money_a_bound_holds_the_dearest_price_a_prompt_can_have():
    fits = 100_000 - 1_024  # what an endpoint adds counts too
    assert PRICES.bound("haiku", fits, 0) == 12_500  # written to the cache for 5 minutes
    assert PRICES.bound("haiku", fits, 0, cache_1h=True) == 20_000
    assert PRICES.bound("haiku", fits + 1, 0) == 62_501  # 62,500.6 up: the long prompt's price
    assert PRICES.bound("haiku", fits + 1, 0, cache_1h=True) == 100_001
    assert PRICES.bound("haiku", fits + 1, 1_000) - PRICES.bound("haiku", fits + 1, 0) == 2_500


@given(a=usages, b=usages, model=st.sampled_from(sorted(TABLE)))
def test_more_tokens_never_cost_less(a, b, model):
    assert PRICES.cost(model, a) <= PRICES.cost(model, a + b)


def test_sizes_below_zero_are_refused():
    with pytest.raises(ValueError, match="negative"):
        PRICES.bound("haiku", -1, 5)


def test_a_file_of_the_users_adds_and_replaces(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        '[aliases]\nhaiku = "local"\n[models.local]\ninput = 0\noutput = 0\n'
        '[models."qwen2.5:7b"]\ninput = "0.04"\noutput = 0.1\n'
        '[models.mine]\nids = ["claude-opus-5-5"]\ninput = "1"\noutput = "1"\n'
    )
    prices = Prices.load(path)
    assert prices.resolve("haiku") == "local"
    assert prices.cost("local", MILLION) == 0
    assert prices.bound("local", 10**6, 10**6) == 0
    assert prices.affordable_tokens("local", 10**6, 0) is None
    assert prices.cost("qwen2.5:7b", MILLION) == 40_000
    assert prices.cost("qwen2.5:7b", Usage(cache_write_1h_tokens=1_000_000)) == 80_000
    assert prices.cost("opus", MILLION) == 1_000_000
    assert prices.cost("sonnet", MILLION) == 2_000_000
    with pytest.raises(UnknownModel, match=r"mine\.toml"):
        prices.resolve("nope")


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        "[model.x]\ninput = 1",
        "[models.x]\ninput = 1",
        "[models.x]\ninput = -1\noutput = 1",
        "[models.x]\ninput = nan\noutput = 1",
        "[models.x]\ninput = inf\noutput = 1",
        '[models.x]\ninput = "1.0000001"\noutput = 1',
        '[models.x]\ninput = "cheap"\noutput = 1',
        "[models.x]\ninput = true\noutput = 1",
        "[models.x]\ninput = 1\noutput = 1\ninptu = 2",
        "[models]\nx = 3",
        "[retired.x]\nuntil = 2026-01-01",
    ],
)
def test_a_malformed_price_file_is_refused_by_name(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(MalformedFile, match=r"mine\.toml"):
        Prices.load(path)


def test_a_missing_price_file_is_refused_by_name(tmp_path):
    with pytest.raises(MalformedFile, match="gone"):
        Prices.load(tmp_path / "gone.toml")
