"""What judges said, and how far each is trusted: by evidence, not by name.

A verdict holds for one goal's wording and one trace with the calls it had then; it is given once
in the fleet's life. How a yes came out (the model, asked anew, made the same calls or others; a
person's feedback) labels it, and the labels are the judge's record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import redis
from pydantic import Field

from llmos_workers.contracts.base import Micro, Record
from llmos_workers.contracts.errors import LeaseLost
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.kernel import keys, scripts
from llmos_workers.kernel.lease import Lease
from llmos_workers.learning.followable import changed_slots
from llmos_workers.learning.judge import YES
from llmos_workers.learning.posterior import upper_bound

RIGHT, WRONG, MISSED = "right", "wrong", "missed"
"""Labels: a yes that was right, a yes that was wrong, a no or unsure where yes was right."""

CLAIM_SECS = 60
"""Longest that others wait for a verdict that somebody is asking for."""

ATTEMPTS = 5


class StoredVerdict(Record):
    """A verdict on a wording and a trace."""

    judge: str
    answer: str
    """yes, no or unsure."""
    calls: str
    """Digest of the trace's calls that were judged."""
    slots: dict[str, str] = Field(default_factory=dict)
    """The values they were judged with, where these are not the recorded ones."""
    reasons: tuple[str, ...] = ()
    at: str = ""
    """ISO 8601, UTC."""
    cost_micro: Micro = 0
    label: str = ""
    """right, wrong, missed, or nothing yet."""
    goal: str = Field(default="", max_length=400)
    """The wording, shortened, for people."""


@dataclass(frozen=True, slots=True)
class JudgeRecord:
    """How a judge did so far."""

    name: str
    yes: int = 0
    no: int = 0
    unsure: int = 0
    right: int = 0
    wrong: int = 0
    missed: int = 0
    cost_micro: int = 0

    @property
    def labelled(self) -> int:
        """Positive verdicts that came out."""
        return self.right + self.wrong

    @property
    def false_bound(self) -> float:
        """Upper 95 % bound of the share of wrong ones among positive verdicts; 1 unknown."""
        return upper_bound(self.wrong, self.labelled)

    def trusted(self, max_error: float) -> bool:
        """Whether its yes may be followed at once."""
        return self.false_bound <= max_error


class Verdicts:
    """Stores verdicts and the judges' records. Raises redis errors as they come."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def get(
        self, trace: ExecutionTrace, signature: str, slots: Mapping[str, str] | None = None
    ) -> StoredVerdict | None:
        """What was said of the wording and the trace as it is with these values in its slots;
        None: nothing yet, or of other calls than it has now.
        """
        found = self._read(trace, signature)[1]
        if found is None or found.calls != calls_digest(trace):
            return None
        return found if found.slots == changed_values(trace, slots or {}) else None

    def keep(
        self,
        trace: ExecutionTrace,
        signature: str,
        verdict: StoredVerdict,
        *,
        lease: Lease | None = None,
    ) -> StoredVerdict:
        """Store a verdict; the first one on these calls stands and comes back. Raises LeaseLost."""
        for _ in range(ATTEMPTS):
            before, known = self._read(trace, signature)
            if known is not None and (known.calls, known.slots) == (verdict.calls, verdict.slots):
                return known
            code, _stands = self._run(
                trace, verdict.judge, lease,
                "keep", _field(trace, signature), verdict.model_dump_json(), before,
                verdict.judge, verdict.answer, verdict.cost_micro,
                "" if lease is None else lease.fence, "" if lease is None else lease.owner,
            )  # fmt: skip
            if code == b"fence":
                raise LeaseLost("the run lost its lease before its verdict was stored.")
            if code == b"ok":
                break
        return verdict

    def label(
        self, trace: ExecutionTrace, signature: str, *, right: bool, lease: Lease | None = None
    ) -> bool:
        """Say how a verdict came out; a later word replaces an earlier one. False: there is no
        verdict on this wording, or it said no and that was right. Raises LeaseLost for a run
        that lost its ``lease``.
        """
        for _ in range(ATTEMPTS):
            before, known = self._read(trace, signature)
            if known is None or known.calls != calls_digest(trace):
                return False
            label = (RIGHT if right else WRONG) if known.answer == YES else MISSED
            if known.answer != YES and not right:
                return False
            if known.label == label:
                return True
            new = known.model_copy(update={"label": label})
            code = self._run(
                trace, known.judge, lease,
                "label", _field(trace, signature), new.model_dump_json(), before,
                label, known.label,
                "" if lease is None else lease.fence, "" if lease is None else lease.owner,
            )  # fmt: skip
            if code == b"fence":
                raise LeaseLost("the run lost its lease before its verdict was labelled.")
            if code == b"ok":
                return True
        return False

    def record(self, name: str) -> JudgeRecord:
        """How a judge did so far."""
        stored = cast(dict[bytes, bytes], self._redis.hgetall(keys.judge(name)))
        counts = {key.decode(): int(value) for key, value in stored.items()}
        known = {field: counts.get(field, 0) for field in _COUNTED}
        return JudgeRecord(name, **known)

    def records(self) -> list[JudgeRecord]:
        """All judges that ever gave a verdict, by name."""
        names = cast(set[bytes], self._redis.smembers(keys.JUDGES))
        return [self.record(name) for name in sorted(name.decode() for name in names)]

    def claim(self, trace: ExecutionTrace, signature: str, owner: str) -> bool:
        """Become the one that asks about this wording now; False while another one does."""
        name = keys.judging(trace.project, trace.trace_id, signature)
        if self._redis.set(name, owner, nx=True, ex=CLAIM_SECS):
            return True
        return self._redis.get(name) == owner.encode()

    def give_up(self, trace: ExecutionTrace, signature: str, owner: str) -> None:
        """Let others ask."""
        name = keys.judging(trace.project, trace.trace_id, signature)
        if self._redis.get(name) == owner.encode():
            self._redis.delete(name)

    def _read(self, trace: ExecutionTrace, signature: str) -> tuple[str, StoredVerdict | None]:
        stored = cast(
            "bytes | None",
            self._redis.hget(keys.verdicts(trace.project), _field(trace, signature)),
        )
        if stored is None:
            return "", None
        return stored.decode(), StoredVerdict.model_validate_json(stored)

    def _run(
        self, trace: ExecutionTrace, judge: str, lease: Lease | None, *args: scripts.Argument
    ) -> Any:
        names = [keys.verdicts(trace.project), keys.judge(judge), keys.JUDGES]
        names.append(keys.goal(lease.goal_id) if lease else keys.NO_GOAL)
        return scripts.load("judge", include=("fence",)).run(self._redis, names, args)


_COUNTED = ("yes", "no", "unsure", "right", "wrong", "missed", "cost_micro")


def calls_digest(trace: ExecutionTrace) -> str:
    """What a verdict holds for: exactly these calls, in this order."""
    calls = json.dumps([step.call.digest() for step in trace.steps])
    return hashlib.sha256(calls.encode()).hexdigest()[:16]


def changed_values(trace: ExecutionTrace, slots: Mapping[str, str]) -> dict[str, str]:
    """The values that are not the recorded ones."""
    return {slot.name: slots[slot.name] for slot in changed_slots(trace, slots)}


def _field(trace: ExecutionTrace, signature: str) -> str:
    return f"{trace.trace_id}:{signature}"
