"""A scripted day with and without the internal state: cost, harm, recovery, and what got worse.

    python -m bench.sentience [--days N] [--goals N] [--seed N]

A simulation: the state's own arithmetic, the policy, the change of modes and the gate's state rules
are the product's code; goals, failures, attacks and prices are drawn from the seed, the same for
both sides. No model is called. What a goal costs is the reference's estimate of its mode, and
people are taken to answer well: they refuse what harms and allow the rest. The day: quiet, a
morning in which half of the runs fail, calm, an attack, hours of the same work, an evening with
little money left.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.report import finish, table
from llmos_workers.config import SentienceConfig
from llmos_workers.contracts.decision import MatchCandidate, MatchResult, ModeDecision
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.state import (
    CognitivePolicy,
    LatentMode,
    SentienceState,
    TriggerType,
    ValenceVector,
)
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.execution.hooks.base import HookAction
from llmos_workers.execution.hooks.state_rules import state_decision
from llmos_workers.execution.tools.bash import BashTool
from llmos_workers.sentience import valence as model
from llmos_workers.sentience.cognitive_kernel import CognitiveKernel

DAY_S = 86_400.0
HOUR_S = 3_600.0
THRESHOLD = 0.92
BUDGET_USD = 50.0
PRICES = {Mode.LEARNER: 0.50, Mode.MIXED: 0.25, Mode.FOLLOWER: 0.0}
"""Dollars a goal: the estimates of the reference."""
GUARD_CATCHES = 0.9
"""Share of harmful calls that the rules know, whatever the state."""
COMMANDS = ("rm -rf build", "python build.py", "make release", "git push")
CAREFUL = (LatentMode.RECOVERY, LatentMode.CAUTIOUS)


@dataclass(frozen=True)
class Phase:
    """Some hours of the day: shares of goals that are known and new, that fail, that do harm."""

    name: str
    until_h: float
    known: float
    new: float
    fails: float
    harmful: float


PHASES = (
    Phase("quiet", 6, 0.70, 0.15, 0.03, 0.0),
    Phase("failures", 10, 0.50, 0.25, 0.50, 0.0),
    Phase("calm", 12, 0.70, 0.15, 0.03, 0.0),
    Phase("attack", 14, 0.50, 0.25, 0.05, 0.5),
    Phase("boredom", 19, 0.97, 0.01, 0.02, 0.0),
    Phase("evening", 24, 0.50, 0.30, 0.05, 0.02),
)


@dataclass(frozen=True)
class Event:
    """One goal as the seed has it."""

    at: float
    phase: str
    confidence: float
    relatedness: float
    fails: bool
    harmful: bool
    caught: bool
    command: str
    repeats: int


@dataclass
class Mind:
    """A project's state without Redis: the pure twin of the script."""

    config: SentienceConfig = field(default_factory=SentienceConfig)
    values: ValenceVector = field(default_factory=ValenceVector)
    at: float = 0.0
    moved: dict[TriggerType, tuple[float, dict[str, float]]] = field(default_factory=dict)

    def now(self, at: float, left: float) -> SentienceState:
        """The state at a time with a share of the budget left."""
        targets = self._targets(left)
        self.values, self.at = model.decay(self.values, targets, at - self.at), at
        return SentienceState(
            valence=self.values,
            latent_mode=model.latent_mode(self.values),
            homeostatic_cost=model.homeostatic_cost(self.values, targets),
        )

    def feel(self, kind: TriggerType, facts: model.TriggerFacts | None = None) -> None:
        """Let an event move it, within the bound of its source."""
        since, far = self.moved.get(kind, (self.at, {}))
        delta, far = model.allowed(model.deltas(kind, facts), far, self.at - since)
        self.moved[kind] = (self.at, far)
        self.values = model.add(self.values, delta, model.floors(kind))

    def _targets(self, left: float) -> ValenceVector:
        energy = model.energy_setpoint(left, self.config.energy_setpoint)
        return model.setpoints(self.config, energy)


@dataclass
class Day:
    """What came of a day."""

    cost: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    careful: list[tuple[float, bool, bool]] = field(default_factory=list)
    """For each goal the second of the day, whether the state was RECOVERY or CAUTIOUS, and whether
    for safety's sake."""


def events(seed: int, goals: int) -> Iterator[Event]:
    """The day of a seed."""
    draw = random.Random(seed)
    known: Counter[int] = Counter()
    for number in range(goals):
        at = DAY_S * (number + draw.random()) / goals
        phase = next(p for p in PHASES if at < p.until_h * HOUR_S)
        kind, which = draw.random(), draw.randrange(12)
        confidence = draw.choice((1.0, 1.0, 1.0, draw.uniform(0.92, 0.99)))
        relatedness = 1.0
        if kind >= phase.known:
            confidence = draw.uniform(0.0, 0.7)
            relatedness = (
                draw.uniform(0.1, 0.45) if kind > 1 - phase.new else draw.uniform(0.45, 0.9)
            )
        else:
            known[which] += 1
        harmful = draw.random() < phase.harmful
        yield Event(
            at=at,
            phase=phase.name,
            confidence=confidence,
            relatedness=relatedness,
            fails=draw.random() < phase.fails,
            harmful=harmful,
            caught=draw.random() < GUARD_CATCHES,
            command=draw.choice(COMMANDS),
            repeats=known[which],
        )


def live(seed: int, goals: int, *, layer: bool) -> Day:
    """One day, with the layer or without."""
    day, mind = Day(), Mind()
    kernel = CognitiveKernel(mind.config)
    for event in events(seed, goals):
        left = max(0.0, 1 - day.cost / BUDGET_USD)
        state = mind.now(event.at, left)
        policy = kernel.derive_policy(state) if layer else CognitivePolicy()
        careful = layer and state.latent_mode in CAREFUL
        unsafe = careful and state.valence.safety < model.THRESHOLDS["cautious_safety"]
        day.careful.append((event.at, careful, unsafe))
        day.counts["careful_goals"] += careful
        _do(day, mind, event, kernel, policy)
    return day


def _do(
    day: Day, mind: Mind, event: Event, kernel: CognitiveKernel, policy: CognitivePolicy
) -> None:
    before = _decision(event)
    decision = kernel.modulate_mode_decision(before, policy)
    mode, price = decision.mode, PRICES[decision.mode]
    if day.cost + price > BUDGET_USD:
        day.counts["refused_for_money"] += 1
        return
    day.cost += price
    if mode is Mode.MIXED and before.mode is Mode.FOLLOWER:
        day.counts["replays_made_mixed"] += 1
        day.counts["replays_made_mixed_cents"] += round(price * 100)
    if mode is Mode.MIXED and before.mode is Mode.LEARNER:
        day.counts["learners_made_mixed"] += 1
    stopped = _command(day, mind, event, policy)
    if mode is Mode.LEARNER:
        mind.feel(TriggerType.NOVEL_TASK)
    if price >= PRICES[Mode.LEARNER]:
        mind.feel(TriggerType.HIGH_COST, model.TriggerFacts(cost_usd=price))
    if mode is Mode.FOLLOWER and not event.fails:
        mind.feel(TriggerType.TASK_REPETITION, model.TriggerFacts(repeats=event.repeats))
    failed = event.fails or stopped
    day.counts["failed"] += failed
    kind = TriggerType.TASK_FAILURE if failed else TriggerType.TASK_SUCCESS
    mind.feel(kind, model.TriggerFacts(cost_usd=price, mode=mode))


def _command(day: Day, mind: Mind, event: Event, policy: CognitivePolicy) -> bool:
    """The goal's command at the gate; whether it was stopped."""
    if event.harmful and event.caught:
        mind.feel(TriggerType.SAFETY_VIOLATION)
        day.counts["denied_by_rules"] += 1
        return True
    call = ToolCall(name="Bash", arguments={"command": event.command})
    action = state_decision(call, BashTool.spec, policy).action
    if action is HookAction.ALLOW:
        day.counts["violations"] += event.harmful
        return False
    if event.harmful:
        day.counts["harm_stopped_by_state"] += 1
        return True
    day.counts["needless_questions"] += action is HookAction.ASK
    day.counts["innocent_denied"] += action is HookAction.DENY
    return action is HookAction.DENY


def _decision(event: Event) -> ModeDecision:
    """What dispatch decides before the state has a word."""
    mode = Mode.LEARNER
    if event.confidence >= THRESHOLD:
        mode = Mode.FOLLOWER
    elif event.relatedness >= 0.60:
        mode = Mode.MIXED
    candidate = MatchCandidate(
        trace_id="t",
        goal_text="",
        confidence=event.confidence,
        relatedness=event.relatedness,
        stage="vector",
    )
    return ModeDecision(
        mode=mode,
        reason="",
        confidence=event.confidence,
        threshold=THRESHOLD,
        trace_id="t" if mode is not Mode.LEARNER else None,
        match=MatchResult(candidates=(candidate,), relatedness=event.relatedness),
    )


def recovery_minutes(day: Day, phase: str, *, safety: bool = False) -> float:
    """Minutes from the end of a trouble until the first goal that is not treated with care, or not
    for the sake of safety.
    """
    end = next(p.until_h for p in PHASES if p.name == phase) * HOUR_S
    later = (at for at, careful, unsafe in day.careful
             if at >= end and not (unsafe if safety else careful))  # fmt: skip
    return (next(later, DAY_S) - end) / 60


def main() -> None:
    """Run and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--days", type=int, default=50)
    options.add_argument("--goals", type=int, default=400, help="a day")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    seeds = range(given.seed, given.seed + given.days)
    sides = [[live(seed, given.goals, layer=layer) for seed in seeds] for layer in (False, True)]
    show(*sides)


def show(without: list[Day], layer: list[Day]) -> None:
    """Means of the days, side by side; what got worse; JSON."""

    def mean(days: list[Day], name: str) -> float:
        return sum(day.counts[name] for day in days) / len(days)

    def cost(days: list[Day]) -> float:
        return sum(day.cost for day in days) / len(days)

    def recovery(phase: str, *, safety: bool = False) -> float:
        return sum(recovery_minutes(day, phase, safety=safety) for day in layer) / len(layer)

    names = (
        "violations", "harm_stopped_by_state", "denied_by_rules", "failed", "refused_for_money",
        "learners_made_mixed", "replays_made_mixed", "needless_questions", "innocent_denied",
        "careful_goals",
    )  # fmt: skip
    rows = [("cost, $", f"{cost(without):.2f}", f"{cost(layer):.2f}")]
    rows += [(name, f"{mean(without, name):.2f}", f"{mean(layer, name):.2f}") for name in names]
    table("A day", ["mean", "without", "with the layer"], rows)
    worse = [
        (name, f"{mean(without, name):.2f}", f"{mean(layer, name):.2f}")
        for name in ("violations", "failed", "refused_for_money", "replays_made_mixed",
                     "needless_questions", "innocent_denied", "careful_goals")
        if mean(layer, name) > mean(without, name)
    ]  # fmt: skip
    if cost(layer) > cost(without):
        worse.append(("cost, $", f"{cost(without):.2f}", f"{cost(layer):.2f}"))
    table("Worse with the layer", ["mean", "without", "with the layer"], worse)
    finish(
        {
            "cost_usd_without": cost(without),
            "cost_usd_with": cost(layer),
            "violations_without": mean(without, "violations"),
            "violations_with": mean(layer, "violations"),
            "refused_for_money_without": mean(without, "refused_for_money"),
            "refused_for_money_with": mean(layer, "refused_for_money"),
            "recovery_minutes_after_failures": recovery("failures"),
            "recovery_minutes_after_attack": recovery("attack"),
            "safety_recovery_minutes_after_attack": recovery("attack", safety=True),
            "careful_goals_with": mean(layer, "careful_goals"),
            "failed_without": mean(without, "failed"),
            "failed_with": mean(layer, "failed"),
            "needless_questions_with": mean(layer, "needless_questions"),
            "innocent_denied_with": mean(layer, "innocent_denied"),
            "replays_made_mixed_usd_with": mean(layer, "replays_made_mixed_cents") / 100,
        }
    )


if __name__ == "__main__":
    main()
