"""A goal record as the fields of a Redis hash, and back.

Simple values are text; options, envelope, decision and outcome are JSON. One HGETALL reads
everything. Fields that only the scripts use (op, mode, idempotency) are passed over.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from llmos_workers.contracts.decision import ModeDecision
from llmos_workers.contracts.errors import CodecError, NewerFormat
from llmos_workers.contracts.events import GoalEvent
from llmos_workers.contracts.goal import (
    PAYLOAD_VERSION,
    GoalOptions,
    GoalRecord,
    GoalState,
    TaskEnvelope,
)
from llmos_workers.contracts.outcome import ErrorInfo, Outcome
from llmos_workers.kernel import keys

log = logging.getLogger(__name__)

Fields = Mapping[bytes, bytes]


def record_fields(record: GoalRecord) -> dict[str, str]:
    """The hash of a record. Absent values have no field."""
    fields = {
        "v": str(record.version),
        "text": record.text,
        "project": record.project,
        "options": record.options.model_dump_json(),
        "envelope": record.envelope.model_dump_json(),
        "state": record.state.value,
        "created_at": repr(record.created_at),
        "updated_at": repr(record.updated_at),
        "fence": str(record.fence),
        "deliveries": str(record.deliveries),
    }
    optional = {
        "traceparent": record.traceparent,
        "cancel": "1" if record.cancel_requested else None,
        "decision": record.decision.model_dump_json() if record.decision else None,
        "outcome": record.outcome.model_dump_json() if record.outcome else None,
        "lease_owner": record.lease_owner,
        "lease_until": None if record.lease_until is None else repr(record.lease_until),
        "parent": record.options.member.parent_id if record.options.member else None,
        "flight": record.flight,
        "flights": str(record.flights) if record.flights else None,
        "flight_failed": record.flight_failed.model_dump_json() if record.flight_failed else None,
    }
    fields |= {name: value for name, value in optional.items() if value is not None}
    if record.options.idempotency_key is not None:
        fields["idempotency"] = keys.idempotency(record.project, record.options.idempotency_key)
    return fields


def read_record(goal_id: str, fields: Fields) -> GoalRecord:
    """The record of a hash. Raises NewerFormat; CodecError when a broken writer made it."""
    version = int(fields.get(b"v", b"0"))
    if version > PAYLOAD_VERSION:
        raise NewerFormat(f"goal {goal_id}", version, PAYLOAD_VERSION)
    if version < 1:
        raise CodecError(f"goal {goal_id} is stored in the unknown version {version}.")
    decision, outcome, until = (fields.get(n) for n in (b"decision", b"outcome", b"lease_until"))
    vain = fields.get(b"flight_failed")
    try:
        return GoalRecord(
            goal_id=goal_id,
            text=fields[b"text"].decode(),
            options=GoalOptions.model_validate_json(fields[b"options"]),
            version=version,
            traceparent=_text(fields.get(b"traceparent")),
            state=GoalState(fields[b"state"].decode()),
            created_at=float(fields[b"created_at"]),
            updated_at=float(fields[b"updated_at"]),
            envelope=TaskEnvelope.model_validate_json(fields[b"envelope"]),
            decision=None if decision is None else ModeDecision.model_validate_json(decision),
            outcome=None if outcome is None else Outcome.model_validate_json(outcome),
            cancel_requested=fields.get(b"cancel") == b"1",
            deliveries=int(fields[b"deliveries"]),
            fence=int(fields[b"fence"]),
            lease_owner=_text(fields.get(b"lease_owner")),
            lease_until=None if until is None else float(until),
            flight=_text(fields.get(b"flight")),
            flights=int(fields.get(b"flights", b"0")),
            flight_failed=None if vain is None else ErrorInfo.model_validate_json(vain),
        )
    except (KeyError, ValueError, ValidationError) as error:
        raise CodecError(f"the record of goal {goal_id} cannot be read: {error}.") from error


def read_known(goal_id: str, fields: Fields) -> GoalRecord | None:
    """The same; None for one of a newer release, which is left to newer processes."""
    try:
        return read_record(goal_id, fields)
    except NewerFormat as error:
        log.warning("%s", error.message)
        return None


def pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """A hash that a script returned as name, value, name, value."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def read_event(goal_id: str, event_id: bytes, fields: Fields) -> GoalEvent:
    """One entry of a goal's stream."""
    return GoalEvent(
        event_id=event_id.decode(),
        goal_id=goal_id,
        kind=fields[b"kind"].decode(),
        at=float(fields[b"at"]),
        data=json.loads(fields[b"data"]),
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
