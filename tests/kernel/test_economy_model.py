"""The economy's script against a pure Python model of it, under random use."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from llmos_workers.contracts.errors import (
    BudgetExceeded,
    IllegalTransition,
    InvalidOption,
    LeaseLost,
)
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from tests.kernel.economy_support import (
    Calendar,
    alerts_on_bus,
    an_economy,
    ledger_sum,
    reserve,
    used,
)
from tests.kernel.goal_support import a_goal, expire_lease

PROJECTS = ("p", "q")
START_LIMIT = 1_000
START_DAY = "2026-11-29"


@dataclass
class Call:
    """Also a direct charge, which is settled at once."""

    scopes: list[str]
    bound: int
    goal: str
    fenced: bool
    day: str
    state: str = "reserved"
    cost: int = 0
    corrected: bool = False

    def holds(self, state: str) -> int:
        """What it adds to spent, reserved or in_doubt."""
        held = {"reserved": "reserved", "sent": "reserved", "doubt": "in_doubt"}
        if self.state == "settled":
            return self.cost if state == "spent" else 0
        return self.bound if held.get(self.state) == state else 0


@dataclass
class Model:
    """Nothing is added up on the way: all sums are of the calls as they are."""

    today: str = START_DAY
    limits: dict[tuple[str, str], int | None] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    saved: dict[str, int] = field(default_factory=dict)
    told: dict[tuple[str, str, str], int] = field(default_factory=dict)
    alerts: list[tuple[str, str, str, int]] = field(default_factory=list)

    def period(self, window: str) -> str:
        return {"": "", "day": self.today, "month": self.today[:7]}[window]

    def sums(self, scope: str, window: str) -> tuple[int, int, int]:
        mine = [
            call
            for call in self.calls.values()
            if scope in call.scopes and call.day.startswith(self.period(window))
        ]
        kinds = ("spent", "reserved", "in_doubt")
        return tuple(sum(call.holds(kind) for call in mine) for kind in kinds)

    def committed(self, scope: str, window: str = "") -> int:
        return sum(self.sums(scope, window))

    def lacking(self, names: list[str], amount: int) -> tuple[str, str] | None:
        for name in names:
            for window in windows_of(name):
                limit = self.limits.get((name, window))
                if limit is not None and self.committed(name, window) + amount > limit:
                    return name, window
        return None

    def watch(self, names: list[str]) -> None:
        for name in names:
            for window in windows_of(name):
                self._watch(name, window)

    def _watch(self, name: str, window: str) -> None:
        limit, key = self.limits.get((name, window)), (name, window, self.period(window))
        spent, _, in_doubt = self.sums(name, window)
        for share in (80, 95):
            reached = limit and (spent + in_doubt) * 100 >= share * limit
            if reached and self.told.get(key, 0) < share:
                self.told[key] = share
                self.alerts.append((*key, share))

    def new_limit(self, name: str, window: str, limit: int | None) -> None:
        self.limits[name, window] = limit
        spent, _, in_doubt = self.sums(name, window)
        share = (spent + in_doubt) * 100 / limit if limit else 0
        key = (name, window, self.period(window))
        told = self.told.get(key, 0)
        self.told[key] = min(told, 95 if share >= 95 else 80 if share >= 80 else 0)
        self._watch(name, window)


def windows_of(scope: str) -> tuple[str, ...]:
    return ("",) if scope.startswith("goal:") else ("", "day", "month")


class EconomyMachine(RuleBasedStateMachine):
    client = calendar = None  # set by the test

    calls = Bundle("calls")

    def __init__(self):
        super().__init__()
        self.client.flushdb()
        self.folder = tempfile.TemporaryDirectory()
        self.economy = an_economy(self.client, Path(self.folder.name), START_LIMIT)
        self.store = GoalStore(self.client, SystemClock())
        self.goals = [a_goal(project=project) for project in PROJECTS]
        self.store.create_many(self.goals)
        self.leases = [self.store.acquire(g.goal_id, owner="w")[0] for g in self.goals]
        self.dead: set[str] = set()
        self.over_bound = 0
        self.calendar.go_to(START_DAY)
        self.model = Model()
        self.model.limits["global", ""] = START_LIMIT
        self.charges = 0

    def teardown(self):
        self.folder.cleanup()

    @rule(
        target=calls,
        which=st.sampled_from((0, 1)),
        bound=st.integers(0, 400),
        fenced=st.booleans(),
        budget=st.none() | st.integers(0, 500),
    )
    def reserve(self, which, bound, fenced, budget):
        goal, lease = self.goals[which], self.leases[which]
        names = ["global", f"project:{goal.project}", f"goal:{goal.goal_id}"]
        ask = {"goal": goal.goal_id, "project": goal.project, "budget": budget}
        ask["fence"] = lease.fence if fenced else None
        if fenced and goal.goal_id in self.dead:
            with pytest.raises(LeaseLost):
                reserve(self.economy, bound, **ask)
            return multiple()
        if budget is not None:
            first = max(budget, self.model.committed(names[2]))
            self.model.limits.setdefault((names[2], ""), first)
        lacking = self.model.lacking(names, bound)
        if lacking:
            with pytest.raises(BudgetExceeded) as caught:
                reserve(self.economy, bound, **ask)
            assert (caught.value.scope, caught.value.window) == lacking
            return multiple()
        call = reserve(self.economy, bound, **ask)
        self.model.calls[call] = Call(names, bound, goal.goal_id, fenced, self.model.today)
        return call

    @rule(call=calls)
    def sent(self, call):
        known = self.model.calls[call]
        if known.state == "reserved" and known.fenced and known.goal in self.dead:
            with pytest.raises(LeaseLost):
                self.economy.mark_sent(call)
            self.move(known, "reserved", "released")
        elif self.allowed(known, ("reserved", "sent"), lambda: self.economy.mark_sent(call)):
            known.state = "sent"

    @rule(call=calls)
    def release(self, call):
        known = self.model.calls[call]
        if self.allowed(known, ("reserved", "released"), lambda: self.economy.release(call)):
            self.move(known, "reserved", "released")

    @rule(call=calls)
    def doubt(self, call):
        known = self.model.calls[call]
        if self.allowed(known, ("sent", "doubt"), lambda: self.economy.in_doubt(call)):
            self.move(known, "sent", "doubt")

    @rule(call=calls, cost=st.integers(0, 450))
    def settle(self, call, cost):
        known = self.model.calls[call]
        returned = self.economy.settle(call, usage=used(cost))
        if known.state == "settled":
            assert returned == known.cost
            return
        self.charged(known, cost)
        assert returned == cost

    @rule(call=calls, cost=st.integers(0, 450))
    def correct(self, call, cost):
        known = self.model.calls[call]
        repeated = known.state == "settled" and known.corrected and known.cost == cost
        states = ("doubt", "settled") if repeated else ("doubt",)
        correct = lambda: self.economy.correct(call, cost, why="the bill")  # noqa: E731
        if self.allowed(known, states, correct) and not repeated:
            self.charged(known, cost)
            known.corrected = True

    def charged(self, known, cost):
        # What was above the bound, or released before, is beyond what any limit could stop.
        held = 0 if known.state == "released" else known.bound
        self.over_bound += max(0, cost - held)
        known.state, known.cost = "settled", cost
        self.model.watch(known.scopes)

    @rule(
        scope=st.sampled_from(["global", "project:p", "project:q"]),
        window=st.sampled_from([None, "day", "month"]),
        limit=st.none() | st.integers(0, 3_000),
    )
    def set_limit(self, scope, window, limit):
        if limit is not None and limit < self.model.committed(scope, window or ""):
            with pytest.raises(InvalidOption):
                self.economy.set_limit(scope, limit, window=window)
            return
        self.economy.set_limit(scope, limit, window=window)
        self.model.new_limit(scope, window or "", limit)

    @rule(project=st.sampled_from(PROJECTS), micro=st.integers(1, 300))
    def deduct(self, project, micro):
        names = ["global", f"project:{project}"]
        amount = f"{micro / 1e6:.6f}"
        if self.model.lacking(names, micro):
            with pytest.raises(BudgetExceeded):
                self.economy.deduct(amount, "x", project=project)
            return
        self.economy.deduct(amount, "x", project=project)
        self.charges += 1
        charge = Call(names, micro, "", False, self.model.today, "settled", micro)
        self.model.calls[f"charge {self.charges}"] = charge
        self.model.watch(names)

    @rule(project=st.sampled_from(PROJECTS), micro=st.integers(0, 300))
    def saved(self, project, micro):
        self.economy.record_saved(goal_id="any", project=project, mode="FOLLOWER", micro=micro)
        for name in ("global", f"project:{project}"):
            self.model.saved[name] = self.model.saved.get(name, 0) + micro

    @rule(days=st.sampled_from((1, 1, 30)))
    def time_passes(self, days):
        self.calendar.forward(days)
        self.model.today = self.calendar.today

    @precondition(lambda self: len(self.dead) < 2)
    @rule(which=st.sampled_from((0, 1)))
    def a_run_dies(self, which):
        goal_id = self.goals[which].goal_id
        if goal_id not in self.dead:
            expire_lease(self.client, goal_id)
            self.dead.add(goal_id)

    @rule()
    def reclaim(self):
        self.economy.reclaim()
        for known in self.model.calls.values():
            if known.fenced and known.goal in self.dead:
                if known.state == "reserved":
                    self.move(known, "reserved", "released")
                elif known.state == "sent":
                    self.move(known, "sent", "doubt")

    def allowed(self, known, states, act) -> bool:
        """Do it; whether it was a legal thing to do in the call's state."""
        if known.state in states:
            act()
            return True
        with pytest.raises(IllegalTransition):
            act()
        return False

    def move(self, known, before, after):
        if known.state == before:
            known.state = after
            if after == "doubt":
                self.model.watch(known.scopes)

    @invariant()
    def money_the_script_agrees_with_the_model(self):
        names = ["global", *(f"project:{p}" for p in PROJECTS)]
        names += [f"goal:{goal.goal_id}" for goal in self.goals]
        for state in self.economy.states(names):
            assert state.saved_micro == self.model.saved.get(state.scope, 0)
            for sums in state.all_sums:
                told = (sums.spent_micro, sums.reserved_micro, sums.in_doubt_micro)
                assert told == self.model.sums(state.scope, sums.window), (state.scope, sums)
                assert sums.limit_micro == self.model.limits.get((state.scope, sums.window))
                if sums.limit_micro is not None:
                    assert sums.committed_micro <= sums.limit_micro + self.over_bound, sums

    @invariant()
    def each_alert_is_told_once(self):
        told = [
            (a["scope"], a["window"], a["period"], a["share"]) for a in alerts_on_bus(self.client)
        ]
        assert sorted(told) == sorted(self.model.alerts)

    @invariant()
    def money_the_ledger_sums_up_to_what_was_spent(self):
        assert ledger_sum(self.client) == self.economy.scope("global")["spent"]
        for project in PROJECTS:
            spent = self.economy.scope(f"project:{project}")["spent"]
            assert ledger_sum(self.client, project) == spent

    @invariant()
    def open_calls_are_listed(self):
        expected = {
            call: known.state
            for call, known in self.model.calls.items()
            if known.state in ("reserved", "sent", "doubt")
        }
        assert {r.reservation_id: r.state for r in self.economy.reservations()} == expected


def test_money_the_script_does_what_the_pure_model_does(state, monkeypatch, caplog):
    caplog.set_level(logging.ERROR)
    parts = {"client": state, "calendar": Calendar(state, monkeypatch)}
    machine = type("Machine", (EconomyMachine,), parts)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
