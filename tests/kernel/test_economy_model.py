"""The economy's script against a pure Python model of it, under random use."""

from __future__ import annotations

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
from tests.kernel.economy_support import an_economy, ledger_sum, reserve, used
from tests.kernel.goal_support import a_goal, expire_lease

PROJECTS = ("p", "q")
START_LIMIT = 1_000


@dataclass
class Scope:
    limit: int | None = None
    spent: int = 0
    reserved: int = 0
    in_doubt: int = 0
    saved: int = 0

    def committed(self) -> int:
        return self.spent + self.reserved + self.in_doubt


@dataclass
class Call:
    scopes: list[str]
    bound: int
    goal: str
    fenced: bool
    state: str = "reserved"
    cost: int = 0


@dataclass
class Model:
    scopes: dict[str, Scope] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)

    def scope(self, name: str) -> Scope:
        return self.scopes.setdefault(name, Scope())

    def lacking(self, names: list[str], amount: int) -> str | None:
        for name in names:
            limit = self.scope(name).limit
            if limit is not None and self.scope(name).committed() + amount > limit:
                return name
        return None

    def add(self, names: list[str], what: str, amount: int) -> None:
        for name in names:
            setattr(self.scope(name), what, getattr(self.scope(name), what) + amount)


class EconomyMachine(RuleBasedStateMachine):
    client = None  # set by the test

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
        self.model = Model()
        self.model.scope("global").limit = START_LIMIT

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
        own = self.model.scope(names[2])
        if own.limit is None and budget is not None:
            own.limit = max(budget, own.committed())
        lacking = self.model.lacking(names, bound)
        if lacking:
            with pytest.raises(BudgetExceeded) as caught:
                reserve(self.economy, bound, **ask)
            assert caught.value.scope == lacking
            return multiple()
        call = reserve(self.economy, bound, **ask)
        self.model.add(names, "reserved", bound)
        self.model.calls[call] = Call(names, bound, goal.goal_id, fenced)
        return call

    @rule(call=calls)
    def sent(self, call):
        known = self.model.calls[call]
        if known.state == "reserved" and known.fenced and known.goal in self.dead:
            with pytest.raises(LeaseLost):
                self.economy.mark_sent(call)
            self.move(known, "reserved", None, "released")
        elif self.allowed(known, ("reserved", "sent"), lambda: self.economy.mark_sent(call)):
            known.state = "sent"

    @rule(call=calls)
    def release(self, call):
        known = self.model.calls[call]
        if self.allowed(known, ("reserved", "released"), lambda: self.economy.release(call)):
            self.move(known, "reserved", None, "released")

    @rule(call=calls)
    def doubt(self, call):
        known = self.model.calls[call]
        if self.allowed(known, ("sent", "doubt"), lambda: self.economy.in_doubt(call)):
            self.move(known, "sent", "in_doubt", "doubt")

    @rule(call=calls, cost=st.integers(0, 450))
    def settle(self, call, cost):
        known = self.model.calls[call]
        returned = self.economy.settle(call, usage=used(cost))
        if known.state == "settled":
            assert returned == known.cost
            return
        held = {"reserved": "reserved", "sent": "reserved", "doubt": "in_doubt"}.get(known.state)
        if held:
            self.model.add(known.scopes, held, -known.bound)
        self.model.add(known.scopes, "spent", cost)
        # What was above the bound, or released before, is beyond what any limit could stop.
        self.over_bound += max(0, cost - (known.bound if held else 0))
        known.state, known.cost = "settled", cost
        assert returned == cost

    @rule(
        scope=st.sampled_from(["global", "project:p", "project:q"]),
        limit=st.none() | st.integers(0, 3_000),
    )
    def set_limit(self, scope, limit):
        known = self.model.scope(scope)
        if limit is not None and limit < known.committed():
            with pytest.raises(InvalidOption):
                self.economy.set_limit(scope, limit)
            return
        self.economy.set_limit(scope, limit)
        known.limit = limit

    @rule(project=st.sampled_from(PROJECTS), micro=st.integers(1, 300))
    def deduct(self, project, micro):
        names = ["global", f"project:{project}"]
        amount = f"{micro / 1e6:.6f}"
        if self.model.lacking(names, micro):
            with pytest.raises(BudgetExceeded):
                self.economy.deduct(amount, "x", project=project)
            return
        self.economy.deduct(amount, "x", project=project)
        self.model.add(names, "spent", micro)

    @rule(project=st.sampled_from(PROJECTS), micro=st.integers(0, 300))
    def saved(self, project, micro):
        self.economy.record_saved(goal_id="any", project=project, mode="FOLLOWER", micro=micro)
        self.model.add(["global", f"project:{project}"], "saved", micro)

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
                    self.move(known, "reserved", None, "released")
                elif known.state == "sent":
                    self.move(known, "sent", "in_doubt", "doubt")

    def allowed(self, known, states, act) -> bool:
        """Do it; whether it was a legal thing to do in the call's state."""
        if known.state in states:
            act()
            return True
        with pytest.raises(IllegalTransition):
            act()
        return False

    def move(self, known, before, into, after):
        if known.state != before:
            return
        self.model.add(known.scopes, "reserved", -known.bound)
        if into:
            self.model.add(known.scopes, into, known.bound)
        known.state = after

    @invariant()
    def money_the_script_agrees_with_the_model(self):
        for name, known in self.model.scopes.items():
            assert self.economy.scope(name) == vars(known), name

    @invariant()
    def money_no_scope_is_above_its_limit(self):
        for name in self.model.scopes:
            found = self.economy.scope(name)
            if found["limit"] is not None:
                total = found["spent"] + found["reserved"] + found["in_doubt"]
                assert total <= found["limit"] + self.over_bound, name

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


def test_money_the_script_does_what_the_pure_model_does(state):
    machine = type("Machine", (EconomyMachine,), {"client": state})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
