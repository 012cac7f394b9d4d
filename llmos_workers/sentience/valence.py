"""The arithmetic of internal state, pure: decay, deltas, latent mode, homeostatic cost.

kernel/lua/valence.lua does the same atomically in Redis, with the tables of this module as
arguments; a property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmos_workers.config import SentienceConfig
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.state import LatentMode, TriggerType, ValenceVector

FIELDS = ("safety", "curiosity", "energy", "self_confidence")

SENSITIVITY = {"safety": 0.15, "curiosity": 0.12, "energy": 0.08, "self_confidence": 0.10}
HALF_LIFE_S = {"safety": 1800.0, "curiosity": 1200.0, "energy": 3600.0, "self_confidence": 1800.0}
"""Seconds in which half of the way back to the set point is gone."""

SPENT_ENERGY_SETPOINT = -0.6
"""Set point of energy when the budget is used up."""

SUCCESS_ENERGY_FLOOR = 0.0
"""Success tires, but never below this: a long streak of them is no reason to recover."""

MOVE_LIMIT = 0.9
"""How far one source, a kind of trigger in a project, may move a field: so far at once, and so far
again in each MOVE_WINDOW_S. Two safety violations count in full; a flood of them makes a project
cautious, but only together with another source does it get to recovery.
"""

MOVE_WINDOW_S = 3600.0

THRESHOLDS = {
    "recovery_energy": -0.5,
    "recovery_safety": -0.5,
    "cautious_safety": 0.0,
    "creative_curiosity": 0.3,
    "creative_confidence": 0.1,
    "contained_curiosity": -0.3,
    "contained_confidence": -0.2,
}

DELTAS: dict[TriggerType, dict[str, float]] = {
    TriggerType.TASK_SUCCESS: {"safety": 0.3, "energy": -0.5, "self_confidence": 1.5},
    TriggerType.TASK_FAILURE: {"safety": -0.5, "energy": -1, "self_confidence": -2},
    TriggerType.TASK_REPETITION: {"curiosity": -2, "self_confidence": 0.5},
    TriggerType.NOVEL_TASK: {"curiosity": 2, "self_confidence": -0.3},
    TriggerType.SAFETY_VIOLATION: {"safety": -3, "energy": -0.5, "self_confidence": -1.5},
    TriggerType.SAFETY_NEAR_MISS: {"safety": -1.5, "self_confidence": -0.5},
    TriggerType.HIGH_COST: {"energy": -2, "self_confidence": -0.3},
    TriggerType.USER_FEEDBACK_POSITIVE: {"safety": 0.5, "energy": 0.3, "self_confidence": 2.5},
    TriggerType.USER_FEEDBACK_NEGATIVE: {"safety": -1, "curiosity": -0.5, "self_confidence": -2.5},
    TriggerType.TOOL_DISCOVERY: {"curiosity": 1.5, "self_confidence": 0.5},
    TriggerType.SELF_MODIFICATION_OK: {"curiosity": 1, "self_confidence": 1},
    TriggerType.SELF_MODIFICATION_FAILED: {
        "safety": -0.5,
        "curiosity": -0.5,
        "self_confidence": -1,
    },
    TriggerType.TIMEOUT: {"energy": -1.5, "self_confidence": -0.5},
    TriggerType.EXTERNAL_INTERRUPTION: {"safety": -0.5, "curiosity": 0.3},
}
"""Multiples of the field's sensitivity. task_repetition and high_cost are scaled by facts."""


@dataclass(frozen=True)
class TriggerFacts:
    """What is known about an event beside its kind."""

    repeats: int = 1
    """How often the same thing was done (task_repetition)."""
    cost_usd: float | None = None
    """What it cost in dollars; None: not known."""
    mode: Mode | None = None
    """Mode of the run."""

    @property
    def free(self) -> bool:
        """Whether it is known to have cost nothing."""
        return self.cost_usd == 0 or (self.mode is not None and not self.mode.calls_model)


def setpoints(config: SentienceConfig, energy: float | None = None) -> ValenceVector:
    """Where each field returns to; ``energy`` overrides the configured one."""
    return ValenceVector(
        safety=config.safety_setpoint,
        curiosity=config.curiosity_setpoint,
        energy=config.energy_setpoint if energy is None else energy,
        self_confidence=config.self_confidence_setpoint,
    )


def energy_setpoint(share: float, full: float = 0.7) -> float:
    """Set point of energy for the share (0..1) of the budget that remains, linear in between."""
    share = min(1.0, max(0.0, share))
    return SPENT_ENERGY_SETPOINT + (full - SPENT_ENERGY_SETPOINT) * share


def deltas(trigger: TriggerType, facts: TriggerFacts | None = None) -> dict[str, float]:
    """What the trigger adds to each field, sensitivity included."""
    facts = facts or TriggerFacts()
    scale = dict.fromkeys(FIELDS, 1.0)
    if trigger is TriggerType.TASK_REPETITION:
        scale["curiosity"] = min(max(facts.repeats, 0) / 5, 1)
    elif trigger is TriggerType.HIGH_COST:
        scale = dict.fromkeys(FIELDS, min(max(facts.cost_usd or 0.0, 0.0), 2.0))
    elif trigger is TriggerType.TASK_SUCCESS and facts.free:
        scale["energy"] = 0.0
    multiples = DELTAS[trigger]
    return {f: multiples.get(f, 0.0) * scale[f] * SENSITIVITY[f] for f in FIELDS}


def floors(trigger: TriggerType) -> dict[str, float]:
    """Value below which a trigger's negative delta does not push a field."""
    lowest = dict.fromkeys(FIELDS, -1.0)
    if trigger is TriggerType.TASK_SUCCESS:
        lowest["energy"] = SUCCESS_ENERGY_FLOOR
    return lowest


def decay(valence: ValenceVector, targets: ValenceVector, elapsed_s: float) -> ValenceVector:
    """The valence after ``elapsed_s`` seconds in which nothing happened."""
    passed = max(0.0, elapsed_s)

    def relaxed(field: str) -> float:
        target: float = getattr(targets, field)
        value: float = target + (getattr(valence, field) - target) * 2 ** (
            -passed / HALF_LIFE_S[field]
        )
        return min(1.0, max(-1.0, value))

    return ValenceVector(**{field: relaxed(field) for field in FIELDS})


def add(valence: ValenceVector, delta: dict[str, float], lowest: dict[str, float]) -> ValenceVector:
    """The valence with deltas added, each field in [-1, 1] and no further down than its floor."""

    def moved(field: str) -> float:
        value: float = getattr(valence, field)
        return min(1.0, max(-1.0, value + delta[field], min(value, lowest[field])))

    return ValenceVector(**{field: moved(field) for field in FIELDS})


def allowed(
    delta: Mapping[str, float], moved: Mapping[str, float], elapsed_s: float
) -> tuple[dict[str, float], dict[str, float]]:
    """The part of ``delta`` that its source may still move, and how far it then has moved.

    ``moved`` is how far it had, ``elapsed_s`` seconds ago.
    """
    forgotten = MOVE_LIMIT * max(0.0, elapsed_s) / MOVE_WINDOW_S
    before = {f: max(0.0, moved.get(f, 0.0) - forgotten) for f in FIELDS}
    room = {f: max(0.0, MOVE_LIMIT - before[f]) for f in FIELDS}
    now = {f: min(room[f], max(-room[f], delta[f])) for f in FIELDS}
    return now, {f: before[f] + abs(now[f]) for f in FIELDS}


def latent_mode(valence: ValenceVector) -> LatentMode:
    """The behavioural mode that follows from the values; the first that matches."""
    t = THRESHOLDS
    if valence.energy < t["recovery_energy"] or valence.safety < t["recovery_safety"]:
        return LatentMode.RECOVERY
    if valence.safety < t["cautious_safety"]:
        return LatentMode.CAUTIOUS
    confident = valence.self_confidence > t["creative_confidence"]
    if valence.curiosity > t["creative_curiosity"] and confident:
        return LatentMode.AUTO_CREATIVE
    doubtful = valence.self_confidence < t["contained_confidence"]
    if valence.curiosity < t["contained_curiosity"] or doubtful:
        return LatentMode.AUTO_CONTAINED
    return LatentMode.BALANCED


def homeostatic_cost(valence: ValenceVector, targets: ValenceVector) -> float:
    """Sum of the squared distances from the set points."""
    return sum(float((getattr(valence, f) - getattr(targets, f)) ** 2) for f in FIELDS)
