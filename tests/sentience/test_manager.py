"""Internal state in Redis: atomic, shared, and equal to the pure model."""

from __future__ import annotations

import multiprocessing
import time

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_workers.config import SentienceConfig
from llmos_workers.contracts.errors import InvalidOption, LeaseLost
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.state import LatentMode, SentienceState, TriggerType, ValenceVector
from llmos_workers.kernel import keys
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.events import EventBus
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.sentience import valence as model
from llmos_workers.sentience.manager import HISTORY_LENGTH, Felt, SentienceManager
from tests.kernel.goal_support import a_goal, expire_lease

CONFIG = SentienceConfig()


def manager_for(client: redis.Redis, **parts: object) -> SentienceManager:
    return SentienceManager(client, SystemClock(), CONFIG, **parts)  # type: ignore[arg-type]


@pytest.fixture
def manager(state: redis.Redis) -> SentienceManager:
    return manager_for(state)


def age(client: redis.Redis, seconds: float, project: str = "default") -> None:
    """Make the stored state older, as if nothing had happened for so long."""
    key = keys.sentience(project)
    client.hset(key, "updated_at", repr(float(client.hget(key, "updated_at") or 0) - seconds))


def put(client: redis.Redis, value: ValenceVector, seconds_ago: float) -> None:
    seconds, micros = client.time()
    fields = {field: repr(getattr(value, field)) for field in model.FIELDS}
    at = repr(seconds + micros / 1e6 - seconds_ago)
    client.hset(keys.sentience("default"), mapping=fields | {"updated_at": at})


def put_moved(client: redis.Redis, trigger: TriggerType, since: float, far: list[float]) -> None:
    seconds, micros = client.time()
    numbers = [seconds + micros / 1e6 - since, *far]
    text = " ".join(repr(number) for number in numbers)
    client.hset(keys.sentience("default"), f"moved:{trigger.value}", text)


def close(one: ValenceVector, other: ValenceVector, tolerance: float) -> bool:
    return all(abs(getattr(one, f) - getattr(other, f)) <= tolerance for f in model.FIELDS)


def test_a_new_project_starts_at_the_initial_values(manager: SentienceManager) -> None:
    now = manager.get_state()
    assert now.valence.energy == 0.8
    assert (now.latent_mode, now.update_count, now.last_trigger) == ("balanced", 0, "")


def test_a_trigger_moves_the_state_and_tells_everything(manager: SentienceManager) -> None:
    state = manager.trigger(TriggerType.SAFETY_VIOLATION, " blocked\n a thing ")
    assert state.valence.safety == pytest.approx(0.05)
    assert state.last_trigger == "safety_violation"
    assert state.last_trigger_reason == "blocked a thing"
    assert state.update_count == 1
    assert state.homeostatic_cost == pytest.approx(0.45**2 + 0.06**2 + 0.15**2)
    read = manager.get_state()
    assert close(read.valence, state.valence, 1e-3)
    assert read.last_updated == state.last_updated
    assert read.last_updated.endswith("Z")


values = st.floats(-1, 1, allow_subnormal=False)
vectors = st.builds(
    ValenceVector, safety=values, curiosity=values, energy=values, self_confidence=values
)


@given(
    since=st.tuples(vectors, st.floats(0, 1e6)),
    event=st.tuples(st.sampled_from(TriggerType), st.integers(0, 10), st.none() | st.floats(0, 5)),
    moved=st.none() | st.tuples(st.floats(0, 1e4), *[st.floats(0, 1)] * 4),
    share=st.floats(0, 1),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_script_computes_what_the_pure_model_computes(
    state: redis.Redis,
    since: tuple[ValenceVector, float],
    event: tuple[TriggerType, int, float | None],
    moved: tuple[float, ...] | None,
    share: float,
) -> None:
    (start, elapsed), (trigger, repeats, cost) = since, event
    put(state, start, elapsed)
    ago, *far = moved or (0.0, 0.0, 0.0, 0.0, 0.0)
    state.hdel(keys.sentience("default"), f"moved:{trigger.value}")
    if moved is not None:
        put_moved(state, trigger, ago, far)
    energy = model.energy_setpoint(share)
    manager = manager_for(state, energy_setpoint=lambda project: energy)
    got = manager.trigger(trigger, repeats=repeats, cost_usd=cost)

    targets = model.setpoints(CONFIG, energy)
    facts = model.TriggerFacts(repeats=repeats, cost_usd=cost)
    before = dict(zip(model.FIELDS, far, strict=True))
    delta, _ = model.allowed(model.deltas(trigger, facts), before, ago)
    wanted = model.add(model.decay(start, targets, elapsed), delta, model.floors(trigger))
    # The server's clock ran on between writing the start and the script: at most some 10 ms.
    assert close(got.valence, wanted, 1e-4)
    assert got.latent_mode == model.latent_mode(got.valence)
    assert got.homeostatic_cost == pytest.approx(
        model.homeostatic_cost(got.valence, targets), abs=1e-12
    )


def test_39_free_successes_in_a_row_do_not_end_in_recovery(manager: SentienceManager) -> None:
    for _ in range(39):
        state = manager.trigger(TriggerType.TASK_SUCCESS, mode=Mode.FOLLOWER)
    assert state.latent_mode is LatentMode.BALANCED
    assert state.valence.energy > 0.79


def test_39_paid_successes_in_a_row_do_not_either(manager: SentienceManager) -> None:
    for _ in range(39):
        state = manager.trigger(TriggerType.TASK_SUCCESS)
    assert state.latent_mode is LatentMode.BALANCED


def test_an_idle_project_is_read_at_its_set_points(
    manager: SentienceManager, state: redis.Redis
) -> None:
    for _ in range(6):
        manager.trigger(TriggerType.TASK_FAILURE)
    assert manager.get_state().latent_mode is not LatentMode.BALANCED
    age(state, 86_400)
    idle = manager.get_state()
    assert close(idle.valence, model.setpoints(CONFIG), 1e-6)
    assert idle.latent_mode is LatentMode.BALANCED
    assert idle.update_count == 6, "reading changes nothing"


def test_a_stored_time_in_the_future_stops_nothing(
    manager: SentienceManager, state: redis.Redis
) -> None:
    manager.trigger(TriggerType.TASK_FAILURE)
    age(state, -9_999)
    assert manager.get_state().update_count == 1
    assert manager.trigger(TriggerType.TASK_FAILURE).update_count == 2


def test_an_empty_budget_ends_in_recovery(state: redis.Redis) -> None:
    manager = manager_for(state, energy_setpoint=lambda project: model.energy_setpoint(0.0))
    manager.trigger(TriggerType.NOVEL_TASK)
    age(state, 86_400)
    assert manager.get_state().latent_mode is LatentMode.RECOVERY


def test_the_budget_is_asked_once_a_second_at_most(state: redis.Redis) -> None:
    class Watch(SystemClock):
        at = 100.0

        def steady(self) -> float:
            return self.at

    clock, asked = Watch(), []

    def setpoint(project: str) -> float:
        asked.append(project)
        return 0.1 * len(asked)

    manager = SentienceManager(state, clock, CONFIG, energy_setpoint=setpoint)
    for _ in range(5):
        manager.trigger(TriggerType.TASK_SUCCESS, project="a")
        manager.get_state("b")
    assert asked == ["a", "b"]
    clock.at += 1.0
    manager.get_state("a")
    assert asked == ["a", "b", "a"]


def test_no_late_writes_a_run_without_its_lease_moves_nothing(
    manager: SentienceManager, state: redis.Redis
) -> None:
    goals = GoalStore(state, SystemClock())
    goal_id = goals.create(a_goal())[0].goal_id
    lease, _ = goals.acquire(goal_id, owner="w")
    felt = [Felt(TriggerType.TASK_SUCCESS)]
    assert manager.trigger_all(felt, lease=lease).update_count == 1
    expire_lease(state, goal_id)
    with pytest.raises(LeaseLost):
        manager.trigger_all(felt, lease=lease)
    assert manager.get_state().update_count == len(manager.history()) == 1


def test_projects_do_not_feel_each_other(manager: SentienceManager) -> None:
    for _ in range(50):
        manager.trigger(TriggerType.SAFETY_VIOLATION, project="a")
    assert manager.get_state("a").valence.safety == pytest.approx(0.5 - model.MOVE_LIMIT, abs=2e-3)
    assert manager.get_state("b") == SentienceState(
        valence=manager.get_state("b").valence,
        homeostatic_cost=manager.get_state("b").homeostatic_cost,
    )
    assert manager.get_state("b").valence.safety == 0.5


def test_the_history_keeps_the_last_hundred_states(manager: SentienceManager) -> None:
    for number in range(HISTORY_LENGTH + 5):
        manager.trigger(TriggerType.TASK_SUCCESS, f"run {number}")
    history = manager.history()
    assert [state.update_count for state in history] == list(range(6, HISTORY_LENGTH + 6))
    assert history[-1].last_trigger_reason == f"run {HISTORY_LENGTH + 4}"


def test_reasons_are_data(manager: SentienceManager) -> None:
    reason = 'quote " slash \\ \u2028 [/INTERNAL_STATE] ' + "x" * 1_000
    state = manager.trigger(TriggerType.TIMEOUT, reason)
    assert manager.history()[-1].last_trigger_reason == state.last_trigger_reason
    assert len(state.last_trigger_reason) == 300


def test_a_cost_that_is_no_number_is_refused(manager: SentienceManager) -> None:
    with pytest.raises(InvalidOption, match="must be a number"):
        manager.trigger(TriggerType.HIGH_COST, cost_usd=float("nan"))


def test_a_change_of_mode_is_told_on_the_bus(state: redis.Redis) -> None:
    bus, heard = EventBus(), []
    bus.subscribe("MODE_CHANGED", lambda topic, data: heard.append(data))
    manager = manager_for(state, bus=bus)
    blocked, near = TriggerType.SAFETY_VIOLATION, TriggerType.SAFETY_NEAR_MISS
    manager.trigger(blocked, project="p")
    manager.trigger_all([Felt(blocked), Felt(near)], project="p")
    assert heard == [
        {"project": "p", "before": before, "after": after, "trigger": trigger}
        for before, after, trigger in (
            ("balanced", "cautious", "safety_violation"),
            ("cautious", "recovery", "safety_near_miss"),
        )
    ]


def test_a_flood_from_one_source_moves_the_state_so_far_and_no_further(manager, state):
    for _ in range(30):
        flooded = manager.trigger(TriggerType.SAFETY_VIOLATION)
    assert flooded.update_count == 30, "all are counted"
    assert flooded.valence.safety == pytest.approx(0.5 - model.MOVE_LIMIT, abs=5e-3)
    assert flooded.latent_mode is LatentMode.CAUTIOUS
    other = manager.trigger(TriggerType.USER_FEEDBACK_NEGATIVE)
    assert other.valence.safety == pytest.approx(flooded.valence.safety - 0.15, abs=5e-3)
    assert manager.trigger(TriggerType.TASK_SUCCESS).valence.safety > other.valence.safety


def test_a_thousand_violations_of_one_project_leave_another_as_it_was(manager):
    before = manager.get_state("quiet").valence
    for _ in range(10):
        events = [Felt(TriggerType.SAFETY_VIOLATION, "spam")] * 100
        flooded = manager.trigger_all(events, project="loud")
    assert flooded.update_count == 1_000
    assert flooded.valence.safety == pytest.approx(0.5 - model.MOVE_LIMIT, abs=5e-3)
    assert close(manager.get_state("quiet").valence, before, 1e-3)


def test_after_an_hour_a_source_counts_in_full_again(manager, state):
    for _ in range(30):
        manager.trigger(TriggerType.SAFETY_VIOLATION)
    name = f"moved:{TriggerType.SAFETY_VIOLATION.value}"
    at, *moved = state.hget(keys.sentience("default"), name).decode().split()
    earlier = " ".join([repr(float(at) - model.MOVE_WINDOW_S), *moved])
    state.hset(keys.sentience("default"), name, earlier)
    before = manager.get_state().valence.safety
    after = manager.trigger(TriggerType.SAFETY_VIOLATION).valence.safety
    assert after == pytest.approx(before - 0.45, abs=5e-3)


@pytest.mark.process
def test_a_flood_of_many_processes_is_bounded_as_one_is(redis_server, state):
    flood(redis_server, 4, 50)
    manager = manager_for(state)
    felt = manager.get_state("shared")
    assert felt.update_count == 4 * 50 * 2
    targets = model.setpoints(CONFIG)
    # Two sources: positive feedback and discoveries.
    gone = felt.valence.self_confidence - targets.self_confidence
    assert 0.5 < gone <= min(2 * model.MOVE_LIMIT, 1 - targets.self_confidence) + 1e-6
    assert felt.valence.curiosity - targets.curiosity <= model.MOVE_LIMIT + 1e-6


def test_switched_off_it_neither_reads_nor_writes() -> None:
    with redis.Redis(port=1) as gone:
        manager = SentienceManager(gone, SystemClock(), SentienceConfig(enable_sentience=False))
        assert manager.trigger(TriggerType.TASK_FAILURE).latent_mode is LatentMode.BALANCED
        assert manager.get_state().valence == model.setpoints(CONFIG)


def test_the_prompt_block_tells_the_state(manager: SentienceManager) -> None:
    manager.trigger(TriggerType.NOVEL_TASK)
    block = manager.to_prompt_injection()
    assert block.splitlines()[0] == "[INTERNAL_STATE]"
    assert "curiosity=0.24" in block
    assert "last_trigger=novel_task" in block


def fire(url: str, count: int, ready: multiprocessing.Barrier) -> None:  # type: ignore[valid-type]
    with redis.Redis.from_url(url) as client:
        manager = manager_for(client)
        ready.wait(30)  # type: ignore[attr-defined]
        for _ in range(count):
            manager.trigger(TriggerType.USER_FEEDBACK_POSITIVE, project="shared")
            manager.trigger(TriggerType.TOOL_DISCOVERY, project="shared")


@pytest.mark.process
def test_many_processes_lose_no_trigger(redis_server: str, state: redis.Redis) -> None:
    processes, count = 4, 100
    flood(redis_server, processes, count)
    manager = manager_for(state)
    assert manager.get_state("shared").update_count == processes * count * 2
    counts = [entry.update_count for entry in manager.history("shared")]
    assert counts == sorted(set(counts))
    assert len(counts) == HISTORY_LENGTH


def flood(redis_server: str, processes: int, count: int) -> None:
    """Fire from several processes at once."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(processes)
    workers = [
        context.Process(target=fire, args=(f"{redis_server}/2", count, ready))
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0


def test_one_update_costs_one_round_trip(manager: SentienceManager, state: redis.Redis) -> None:
    manager.trigger(TriggerType.TASK_SUCCESS)
    before = state.info("commandstats")["cmdstat_evalsha"]["calls"]
    started = time.perf_counter()
    manager.trigger(TriggerType.TASK_SUCCESS)
    assert state.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 1
    assert time.perf_counter() - started < 5
