"""Numbers of edge bundles: each export of a project has a higher one than all before."""

from __future__ import annotations

from llmos_workers.kernel import keys
from llmos_workers.kernel.redis import Client


class EdgeCounters:
    """Counts in Redis. A device refuses a bundle with a lower number than it has seen."""

    def __init__(self, redis: Client) -> None:
        self._redis = redis

    def next(self, project: str) -> int:
        """The number of the next bundle, from 1. Raises BrokerUnavailable."""
        return int(self._redis.hincrby(keys.EDGE_COUNTERS, project, 1))
