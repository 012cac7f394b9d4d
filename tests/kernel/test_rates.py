"""Model rate limits: never more than the bucket over all processes; refusals cool everybody."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import uuid

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_workers.config import SDKConfig
from llmos_workers.contracts.errors import InvalidOption
from llmos_workers.kernel import keys
from llmos_workers.kernel.rates import LONGEST_PAUSE_SECS, Limits, ModelRates

MODEL = "claude-sonnet-5-5"
TIMES = ("at", "cool_until", "queue_until")


class Always(random.Random):
    """A chance that is none."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def random(self) -> float:
        return self.value


def rates(client: redis.Redis, *, chance: float = 1.0, **limits: int) -> ModelRates:
    return ModelRates(client, Limits(**limits), chance=Always(chance))


def pass_time(client: redis.Redis, seconds: float) -> None:
    """As if what the server remembers were older."""
    key = keys.rate(MODEL)
    for name in TIMES:
        value = client.hget(key, name)
        if value is not None:
            client.hset(key, name, f"{float(value) - seconds:.6f}")


def test_without_limits_everything_goes(state: redis.Redis) -> None:
    free = rates(state)
    assert [free.acquire(MODEL, 10**9, 10**9) for _ in range(100)] == [0] * 100


def test_a_minute_s_worth_goes_at_once_and_then_one_by_one(state: redis.Redis) -> None:
    limited = rates(state, rpm=60)
    assert [limited.acquire(MODEL, 1, 1) for _ in range(60)] == [0] * 60
    assert limited.acquire(MODEL, 1, 1) == pytest.approx(1, abs=0.3)
    pass_time(state, 2.01)
    assert [limited.acquire(MODEL, 1, 1) == 0 for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("name", ["itpm", "otpm"])
def test_tokens_are_limited_each_by_its_own_bucket(state: redis.Redis, name: str) -> None:
    limited = rates(state, **{name: 6_000})
    sizes = (4_000, 0) if name == "itpm" else (0, 4_000)
    assert limited.acquire(MODEL, *sizes) == 0
    assert limited.acquire(MODEL, *sizes) == pytest.approx(20, abs=1)
    assert limited.acquire(MODEL, *sizes[::-1]) == 0


def test_models_do_not_share_a_bucket(state: redis.Redis) -> None:
    limited = rates(state, rpm=1)
    assert [limited.acquire(f"model-{i}", 1, 1) for i in range(3)] == [0] * 3


def test_what_was_not_used_is_given_back(state: redis.Redis) -> None:
    limited = rates(state, otpm=8_000)
    assert limited.acquire(MODEL, 0, 8_000) == 0
    limited.settle(MODEL, input_tokens=0, output_tokens=-7_000)
    assert limited.acquire(MODEL, 0, 6_900) == 0
    limited.settle(MODEL, input_tokens=0, output_tokens=-(10**9))
    assert limited.status(MODEL).output_tokens == 8_000


def test_a_settlement_whose_answer_got_lost_counts_once(
    state: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """redis-py sends it twice."""
    limited = rates(state, otpm=8_000)
    limited.acquire(MODEL, 0, 8_000)
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=1))
    for _ in range(2):
        limited.settle(MODEL, input_tokens=0, output_tokens=-3_000)
    assert limited.status(MODEL).output_tokens == pytest.approx(3_000, abs=100)


def test_a_request_larger_than_its_bucket_goes_once_and_is_paid_off(state: redis.Redis) -> None:
    limited = rates(state, itpm=1_000)
    assert limited.acquire(MODEL, 3_000, 0) == 0
    assert limited.acquire(MODEL, 500, 0) == pytest.approx(150, abs=1)
    assert state.ttl(keys.rate(MODEL)) > 180


def test_those_who_wait_come_back_one_after_the_other(state: redis.Redis) -> None:
    """The limit allows one a second; so they are told."""
    limited = rates(state, rpm=60)
    for _ in range(60):
        limited.acquire(MODEL, 1, 1)
    told = [limited.acquire(MODEL, 1, 1) for _ in range(5)]
    gaps = [after - before for before, after in itertools.pairwise(told)]
    assert gaps == pytest.approx([1] * 4, abs=0.2)
    for _ in range(200):
        limited.acquire(MODEL, 1, 1)
    assert limited.acquire(MODEL, 1, 1) < 63


def test_a_refusal_cools_everybody_as_long_as_the_endpoint_said(state: redis.Redis) -> None:
    one, other = rates(state), rates(state)
    assert one.cool_down(MODEL, 7.5) == pytest.approx(7.5, abs=0.1)
    assert other.acquire(MODEL, 1, 1) == pytest.approx(7.5, abs=0.5)
    assert other.acquire("another", 1, 1) == 0
    assert other.cool_down(MODEL, 2) > 7
    assert other.cool_down(MODEL, 20) == pytest.approx(20, abs=0.1)
    pass_time(state, 20)
    assert other.acquire(MODEL, 1, 1) == 0


def test_without_a_time_pauses_double_up_to_a_minute(state: redis.Redis) -> None:
    hot, pauses = rates(state), []
    for _ in range(9):
        pauses.append(hot.cool_down(MODEL, None))
        assert hot.cool_down(MODEL, None) <= pauses[-1]  # of the same burst
        pass_time(state, pauses[-1] + 0.01)
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60], abs=0.1)
    assert hot.status(MODEL).streak == 9
    hot.settle(MODEL, input_tokens=0, output_tokens=0)
    assert hot.cool_down(MODEL, None) == pytest.approx(1, abs=0.1)


def test_an_answer_from_before_a_cooldown_does_not_end_the_streak(state: redis.Redis) -> None:
    hot = rates(state)
    hot.cool_down(MODEL, None)
    hot.settle(MODEL, input_tokens=0, output_tokens=0)
    pass_time(state, 1.01)
    assert hot.cool_down(MODEL, None) == pytest.approx(2, abs=0.1)


def test_jitter_takes_off_up_to_a_half(state: redis.Redis) -> None:
    assert rates(state, chance=0).cool_down(MODEL, None) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("nonsense", [-1.0, float("nan"), float("inf")])
def test_a_senseless_time_counts_as_none(state: redis.Redis, nonsense: float) -> None:
    assert 0 < rates(state).cool_down(MODEL, nonsense) <= LONGEST_PAUSE_SECS


def test_a_day_is_not_believed(state: redis.Redis) -> None:
    assert rates(state).cool_down(MODEL, 86_400) <= 3_600


def test_an_unused_model_leaves_nothing_behind(state: redis.Redis) -> None:
    limited = rates(state, rpm=60, itpm=100, otpm=100)
    limited.acquire(MODEL, 50, 50)
    limited.cool_down(MODEL, 30)
    assert 30 < state.ttl(keys.rate(MODEL)) <= 200


def test_status_tells_and_changes_nothing(state: redis.Redis) -> None:
    limited = rates(state, rpm=60, itpm=1_000)
    limited.status(MODEL)
    assert not state.exists(keys.rate(MODEL))
    limited.acquire(MODEL, 400, 5)
    told = limited.status(MODEL)
    assert told.requests == pytest.approx(59, abs=0.5)
    assert told.input_tokens == pytest.approx(600, abs=5)
    assert (told.output_tokens, told.cooling_s, told.streak) == (None, 0, 0)


def test_negative_tokens_are_refused(state: redis.Redis) -> None:
    with pytest.raises(InvalidOption):
        rates(state, itpm=1).acquire(MODEL, -1, 0)


def test_the_limits_come_from_the_settings() -> None:
    assert Limits.of(SDKConfig(rpm=1, otpm=3)) == Limits(1, None, 3)


# -- against a pure model ----------------------------------------------------------------------


class Model:
    """The same in Python, by the times that the server says."""

    def __init__(self, **limits: int) -> None:
        self.limits = limits
        self.level = dict.fromkeys(limits, 0.0) | {k: float(v) for k, v in limits.items()}
        self.at: float | None = None
        self.cool_until = self.queue_until = 0.0
        self.streak = 0

    def refill(self, at: float) -> None:
        for name, most in self.limits.items():
            gained = (at - (self.at if self.at is not None else at)) * most / 60
            self.level[name] = min(most, self.level[name] + gained)
        self.at = at

    def acquire(self, at: float, inputs: int, outputs: int) -> float:
        self.refill(at)
        needs = {"rpm": 1, "itpm": inputs, "otpm": outputs}
        wait = max(0.0, self.cool_until - at)
        for name, most in self.limits.items():
            short = min(needs[name], most) - self.level[name]
            if short > 1e-6:
                wait = max(wait, short * 60 / most)
        if not wait:
            for name in self.limits:
                self.level[name] -= needs[name]
            return 0.0
        share = max([0.02, *(needs[name] * 60 / most for name, most in self.limits.items())])
        slot = max(at + wait, self.queue_until)
        self.queue_until = max(self.queue_until, min(slot + share, at + wait + 60))
        return slot - at

    def settle(self, at: float, inputs: int, outputs: int) -> None:
        self.refill(at)
        more = {"rpm": 0, "itpm": inputs, "otpm": outputs}
        for name, most in self.limits.items():
            self.level[name] = min(most, self.level[name] - more[name])
        if at >= self.cool_until:
            self.streak = 0

    def cool(self, at: float, asked: float | None) -> float:
        self.refill(at)
        fresh = at >= self.cool_until
        self.streak += fresh
        if asked is not None:
            self.cool_until = max(self.cool_until, at + asked)
        elif fresh:
            self.cool_until = at + min(60.0, 2.0 ** (self.streak - 1))
        return max(0.0, self.cool_until - at)


tokens = st.integers(0, 3_000)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("acquire"), tokens, tokens),
        st.tuples(st.just("settle"), st.integers(-3_000, 3_000), st.integers(-3_000, 3_000)),
        st.tuples(st.just("cool"), st.none() | st.integers(0, 90), st.none()),
        st.tuples(st.just("pass"), st.integers(1, 90), st.none()),
    ),
    max_size=25,
)
limits = st.fixed_dictionaries(
    {},
    optional={
        "rpm": st.integers(1, 10),
        "itpm": st.integers(1, 2_000),
        "otpm": st.integers(1, 2_000),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(limits=limits, steps=steps)
def test_the_script_does_as_the_pure_model(
    state: redis.Redis, limits: dict[str, int], steps: list[tuple]
) -> None:
    state.delete(keys.rate(MODEL))
    real, model, passed = rates(state, **limits), Model(**limits), 0.0
    for op, one, two in steps:
        if op == "pass":
            pass_time(state, one)
            passed += one if state.exists(keys.rate(MODEL)) else 0
            continue
        if op == "acquire":
            wait, at = (float(each) for each in real._run("acquire", MODEL, one, two))
            # Off by what the server's stamps round away.
            assert wait == pytest.approx(model.acquire(at + passed, one, two), abs=0.02)
        elif op == "settle":
            at = float(real._run("settle", MODEL, one, two)[0])
            model.settle(at + passed, one, two)
        else:
            args = ("" if one is None else one, 1.0, 1.0, 60.0)
            left, at = (float(each) for each in real._run("cool", MODEL, *args))
            assert left == pytest.approx(model.cool(at + passed, one), abs=0.02)
        status = real.status(MODEL)
        assert status.streak == model.streak
        for name, told in zip(
            ("rpm", "itpm", "otpm"), list(vars(status).values())[:3], strict=True
        ):
            if name in limits:
                assert told == pytest.approx(model.level[name], abs=limits[name] / 60 * 0.5 + 0.01)


# -- processes ---------------------------------------------------------------------------------

HAMMER = """
import sys, redis
from llmos_workers.kernel.rates import Limits, ModelRates
rates = ModelRates(redis.Redis.from_url(sys.argv[1]), Limits(rpm=120, itpm=60_000))
sys.stdin.readline()
taken = [size for size in (100 + 7 * i for i in range(300)) if rates.acquire("m", size, 1) == 0]
print(len(taken), sum(taken))
"""


@pytest.mark.process
def test_eight_processes_never_take_more_than_the_bucket(
    redis_server: str, state: redis.Redis
) -> None:
    command = [sys.executable, "-c", HAMMER, f"{redis_server}/2"]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    begin = state.time()
    told = [worker.communicate("go\n", timeout=60)[0].split() for worker in workers]
    end = state.time()
    secs = end[0] - begin[0] + (end[1] - begin[1]) / 1e6
    requests, used = (sum(int(each[i]) for each in told) for i in (0, 1))
    assert 60 < requests <= 120 + 2 * secs + 1
    assert 50_000 < used <= 60_000 + 1_000 * secs
    assert all(worker.returncode == 0 for worker in workers)
