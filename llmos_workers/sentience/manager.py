"""Internal state per project, shared by all workers through Redis.

Every change is one atomic script (kernel/lua/valence.lua), so no trigger of any process is
lost. Reading writes nothing: the state is decayed to now on the way out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from redis import Redis
from redis.client import Pipeline

from llmos_workers.config import SentienceConfig
from llmos_workers.contracts.errors import InvalidOption, LeaseLost
from llmos_workers.contracts.events import Topic
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.state import SentienceState, TriggerType, ValenceVector
from llmos_workers.kernel import keys, scripts
from llmos_workers.kernel.clock import Clock, iso
from llmos_workers.kernel.events import EventBus
from llmos_workers.kernel.lease import Lease
from llmos_workers.sentience import valence as model
from llmos_workers.sentience.cognitive_kernel import internal_state_block
from llmos_workers.sentience.snapshot import Snapshot, read_snapshot, write_snapshot

HISTORY_LENGTH = 100
MAX_REASON_CHARS = 300

SETPOINT_SECS = 1.0
"""How long a project's energy set point is kept: energy moves over minutes, and asking the
budget costs round trips on every goal.
"""
MAX_SETPOINTS = 1_000


@dataclass(frozen=True)
class Felt:
    """One event that moves a state: its kind, why, and what is known about it."""

    trigger: TriggerType
    reason: str = ""
    facts: model.TriggerFacts = field(default_factory=model.TriggerFacts)

    def tidied(self) -> Felt:
        """With a short reason on one line. Raises InvalidOption for a cost that is no number."""
        if self.facts.cost_usd is not None and math.isnan(self.facts.cost_usd):
            raise InvalidOption("the cost of a trigger must be a number.")
        return replace(self, reason=" ".join(self.reason.split())[:MAX_REASON_CHARS])


class SentienceManager:
    """Moves and reads internal state. With sentience switched off it neither reads nor writes.

    ``energy_setpoint`` gives the set point of a project's energy from its budget (see
    valence.energy_setpoint); None: the configured constant. ``bus`` hears MODE_CHANGED.
    """

    def __init__(
        self,
        redis: Redis,
        clock: Clock,
        config: SentienceConfig,
        *,
        energy_setpoint: Callable[[str], float] | None = None,
        bus: EventBus | None = None,
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._config = config
        self._energy_setpoint = energy_setpoint
        self._bus = bus
        self._known_setpoints: dict[str, tuple[float, float]] = {}

    def trigger(
        self,
        trigger: TriggerType,
        reason: str = "",
        *,
        project: str = "default",
        repeats: int = 1,
        cost_usd: float | None = None,
        mode: Mode | None = None,
    ) -> SentienceState:
        """Let an event move the state; returns the new one.

        ``repeats`` counts for task_repetition, ``cost_usd`` for high_cost; a success that cost
        $0 or ran in a mode without a model takes no energy. Raises InvalidOption for a cost
        that is no number.
        """
        facts = model.TriggerFacts(repeats=repeats, cost_usd=cost_usd, mode=mode)
        return self.trigger_all([Felt(trigger, reason, facts)], project=project)

    def trigger_all(
        self, events: Sequence[Felt], *, project: str = "default", lease: Lease | None = None
    ) -> SentienceState:
        """Let events move the state, one after the other, in one round trip; the last state.

        What a run felt is written under its ``lease``. Raises LeaseLost: nothing moved then.
        """
        if not self._config.enable_sentience:
            return self._neutral()
        events = [event.tidied() for event in events]
        goal = keys.goal(lease.goal_id) if lease else keys.NO_GOAL
        reply = scripts.load("valence", include=("fence",)).run(
            self._redis,
            [keys.sentience(project), keys.sentience_history(project), goal],
            [
                HISTORY_LENGTH,
                json.dumps(model.THRESHOLDS),
                model.MOVE_LIMIT,
                model.MOVE_WINDOW_S,
                *((str(lease.fence), lease.owner) if lease else ("", "")),
                *(text for event in events for text in self._event(event, project)),
            ],
        )
        if reply == b"fence":
            raise LeaseLost("the run lost its lease; what it felt is not noted.")
        state = self._neutral()
        for event, parts in zip(events, reply, strict=True):
            *values, now_mode, before, cost, count, at = (part.decode() for part in parts)
            state = SentienceState(
                valence=ValenceVector(**dict(zip(model.FIELDS, map(float, values), strict=True))),
                latent_mode=now_mode,
                last_trigger=event.trigger.value,
                last_trigger_reason=event.reason,
                update_count=int(count),
                last_updated=iso(float(at)),
                homeostatic_cost=float(cost),
            )
            if self._bus is not None and before != now_mode:
                data = {"project": project, "before": before, "after": now_mode}
                self._bus.publish(Topic.MODE_CHANGED, data | {"trigger": event.trigger.value})
        return state

    def get_state(self, project: str = "default") -> SentienceState:
        """The project's state, decayed to now."""
        if not self._config.enable_sentience:
            return self._neutral()
        pipe: Pipeline = self._redis.pipeline(transaction=False)
        pipe.hgetall(keys.sentience(project))
        pipe.time()
        raw, (seconds, micros) = pipe.execute()
        stored = {name.decode(): value.decode() for name, value in raw.items()}
        targets = self._setpoints(project)
        values, elapsed = ValenceVector(), 0.0
        if "updated_at" in stored:
            values = ValenceVector(**{f: float(stored[f]) for f in model.FIELDS})
            elapsed = seconds + micros / 1e6 - float(stored["updated_at"])
        values = model.decay(values, targets, elapsed)
        return _state(stored).model_copy(
            update={
                "valence": values,
                "latent_mode": model.latent_mode(values),
                "homeostatic_cost": model.homeostatic_cost(values, targets),
            }
        )

    def to_prompt_injection(self, project: str = "default") -> str:
        """The ``[INTERNAL_STATE]`` block of the project."""
        return internal_state_block(self.get_state(project))

    def history(self, project: str = "default") -> list[SentienceState]:
        """The last states, as each trigger left them, oldest first; at most 100."""
        entries = self._redis.lrange(keys.sentience_history(project), 0, HISTORY_LENGTH - 1)
        return [_state(json.loads(entry)) for entry in reversed(entries)]

    def reset(self, project: str) -> None:
        """Begin again at the initial values; history and bounds are forgotten too."""
        self._redis.delete(keys.sentience(project), keys.sentience_history(project))

    def snapshot(self, project: str, path: Path) -> None:
        """Write the state to ``path`` (sentience.json) for people. Raises WorkspaceUnwritable."""
        write_snapshot(path, self.get_state(project))

    def load(self, project: str, path: Path) -> bool:
        """Take the state over from a snapshot if Redis knows none; whether it did.

        A missing file is nothing; one that is torn, hostile or of another form is left alone
        with a warning in the log.
        """
        if not self._config.enable_sentience or self._redis.exists(keys.sentience(project)):
            return False
        snapshot = read_snapshot(path)
        if snapshot is None:
            return False
        return self._restore(keys.sentience(project), snapshot)

    def _restore(self, key: str, snapshot: Snapshot) -> bool:
        """Write the snapshot unless another process wrote a state meanwhile."""
        now = self._clock.now()
        fields: dict[Any, Any] = {
            **{f: repr(getattr(snapshot.valence, f)) for f in model.FIELDS},
            "latent_mode": model.latent_mode(snapshot.valence).value,
            "last_trigger": snapshot.last_trigger,
            "last_trigger_reason": snapshot.last_trigger_reason,
            "update_count": snapshot.update_count,
            # A time in the future would stop the decay until then.
            "updated_at": min(snapshot.updated_at(default=now), now),
        }

        def write(pipe: Pipeline) -> None:
            known = pipe.exists(key)
            pipe.multi()
            if not known:
                pipe.hset(key, mapping=fields)

        return bool(self._redis.transaction(write, key))

    def _setpoints(self, project: str) -> ValenceVector:
        if self._energy_setpoint is None:
            return model.setpoints(self._config)
        now = self._clock.steady()
        asked, energy = self._known_setpoints.get(project, (-math.inf, 0.0))
        if now - asked >= SETPOINT_SECS:
            energy = self._energy_setpoint(project)
            if len(self._known_setpoints) >= MAX_SETPOINTS:
                self._known_setpoints = {}
            self._known_setpoints[project] = (now, energy)
        return model.setpoints(self._config, energy)

    def _event(self, event: Felt, project: str) -> list[str]:
        """The script's words and five numbers for each field, with all their digits."""
        initial, targets = ValenceVector(), self._setpoints(project)
        delta, floor = model.deltas(event.trigger, event.facts), model.floors(event.trigger)
        return [event.trigger.value, event.reason] + [
            repr(float(number))
            for field in model.FIELDS
            for number in (
                getattr(initial, field),
                getattr(targets, field),
                model.HALF_LIFE_S[field],
                delta[field],
                floor[field],
            )
        ]

    def _neutral(self) -> SentienceState:
        """At the set points: what a switched-off layer feels."""
        return SentienceState(valence=model.setpoints(self._config))


def _state(stored: Mapping[str, Any]) -> SentienceState:
    """The stored fields of the hash, or of a history entry, as a state."""
    if "updated_at" not in stored:
        return SentienceState()
    return SentienceState(
        valence=ValenceVector(**{f: float(stored[f]) for f in model.FIELDS}),
        latent_mode=stored["latent_mode"],
        last_trigger=stored["last_trigger"],
        last_trigger_reason=stored["last_trigger_reason"],
        update_count=int(stored["update_count"]),
        last_updated=iso(float(stored["updated_at"])),
        homeostatic_cost=float(stored.get("homeostatic_cost", 0.0)),
    )
