"""How the runs of each agent came out: counters in Redis, for choosing among agents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from llmos_workers.kernel import keys
from llmos_workers.kernel.redis import Client


@dataclass(frozen=True)
class AgentRecord:
    """Runs of an agent in which a model thought."""

    succeeded: int = 0
    failed: int = 0

    @property
    def success_mean(self) -> float:
        """Mean of the Beta posterior of success over a flat prior; 0.5 without any run."""
        return (self.succeeded + 1) / (self.succeeded + self.failed + 2)


class AgentRecords:
    """Counts and reads. A count may be lost with a worker: it ranks, it decides nothing."""

    def __init__(self, redis: Client) -> None:
        self._redis = redis

    def count(self, agent: str, *, ok: bool) -> None:
        """One more run. Raises BrokerUnavailable."""
        self._redis.hincrby(keys.agent_record(agent), "succeeded" if ok else "failed", 1)

    def of(self, agents: Iterable[str]) -> dict[str, AgentRecord]:
        """Records by agent's name, zeros included. Raises BrokerUnavailable."""
        names = list(agents)
        with self._redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.hmget(keys.agent_record(name), ["succeeded", "failed"])
            found = pipe.execute()
        return {
            name: AgentRecord(int(good or 0), int(bad or 0))
            for name, (good, bad) in zip(names, found, strict=True)
        }
