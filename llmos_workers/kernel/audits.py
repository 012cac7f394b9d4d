"""Verdicts of shadow audits, each counted once, written under the auditing run's lease."""

from __future__ import annotations

from typing import cast

import redis

from llmos_workers.contracts.audits import AuditCounts, AuditVerdict
from llmos_workers.contracts.errors import LeaseLost
from llmos_workers.kernel import keys, scripts
from llmos_workers.kernel.lease import Lease

KEPT = 1_000
"""Newest verdicts that can be listed; the counts go on for ever."""
REMEMBERED_SECS = 30 * 86_400
"""How long a goal is known to have been audited; longer than any goal is retained."""


class Audits:
    """The record of all shadow audits."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def add(self, verdict: AuditVerdict, *, lease: Lease) -> bool:
        """Count a verdict; False when this goal's was counted before. Raises LeaseLost."""
        names = (
            keys.audit_counts(verdict.project),
            keys.AUDIT_COUNTS,
            keys.AUDIT_VERDICTS,
            keys.AUDITED,
            keys.goal(lease.goal_id),
        )
        args = (
            lease.fence,
            lease.owner,
            verdict.goal_id,
            verdict.agreement,
            verdict.model_dump_json(),
            KEPT,
            REMEMBERED_SECS,
        )
        code = scripts.load("audits", include=("fence",)).run(self._redis, names, args)
        if code == b"fence":
            raise LeaseLost(f"the run of goal {lease.goal_id} lost its lease.")
        return bool(code == b"ok")

    def counts(self, project: str | None = None) -> AuditCounts:
        """Of one project, or of all."""
        name = keys.AUDIT_COUNTS if project is None else keys.audit_counts(project)
        found = cast("dict[bytes, bytes]", self._redis.hgetall(name))
        counts = {key.decode(): int(value) for key, value in found.items()}
        return AuditCounts(**{k: n for k, n in counts.items() if k in AuditCounts.model_fields})

    def newest(self, *, project: str | None = None, limit: int = 20) -> list[AuditVerdict]:
        """Verdicts, newest first."""
        found = (
            AuditVerdict.model_validate_json(each)
            for each in self._redis.lrange(keys.AUDIT_VERDICTS, 0, KEPT - 1)
        )
        mine = [verdict for verdict in found if project in (None, verdict.project)]
        return mine[:limit]
