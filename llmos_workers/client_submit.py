"""Getting goals recorded and queued, one or many, in few round trips."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from llmos_workers.client_connect import RedisPlace, talking
from llmos_workers.contracts.errors import (
    BrokerUnavailable,
    InvalidOption,
    LLMOSError,
    UsageError,
)
from llmos_workers.contracts.goal import GoalRecord, GoalState
from llmos_workers.contracts.payload import FIELDS
from llmos_workers.kernel import wire
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.redis import Client

ITEM_FIELDS = FIELDS - {"v", "seal"}

Item = str | Mapping[str, Any]
"""A goal's text, or a mapping with ``goal`` and any option of a goal."""

Sent = tuple[GoalRecord, bool]
"""A goal that is on record, and whether this submission made it."""


@dataclass(frozen=True)
class Submitter:
    """Records goals first and queues their messages then, so that none is lost between."""

    goals: GoalStore
    broker: Client
    place: RedisPlace
    make: Callable[..., GoalRecord]
    """Checks a goal's text and options and makes its record."""

    def check_all(self, items: Iterable[Item], common: Mapping[str, Any]) -> list[GoalRecord]:
        """The records of all items. Raises the first wrong one's error, with its number."""
        records = []
        for number, item in enumerate(items, 1):
            try:
                records.append(self.check(item, common))
            except UsageError as error:
                raise type(error)(f"goal {number}: {error.message}", fix=error.fix) from None
        return records

    def check(self, item: object, common: Mapping[str, Any]) -> GoalRecord:
        """The record of one item. Raises InvalidGoal, InvalidOption or UnknownAgent."""
        if isinstance(item, str):
            return self.make(item, **common)
        if not isinstance(item, Mapping):
            raise InvalidOption(
                f"a goal is a text, or an object with the field 'goal', not {item!r:.40}."
            )
        if unknown := sorted(str(key) for key in item.keys() - ITEM_FIELDS):
            raise InvalidOption(
                f"unknown field {', '.join(map(repr, unknown))}.",
                fix=f"Known: {', '.join(sorted(ITEM_FIELDS))}.",
            )
        if "goal" not in item:
            raise InvalidOption("the field 'goal' is missing.")
        return self.make(**(dict(common) | dict(item)))

    def send(self, records: list[GoalRecord]) -> list[Sent]:
        """Record, then queue. Raises InvalidOption for a key that stands for another goal."""
        with talking(self.place, "submitting"):
            kept = self.goals.create_many(records)
        # Found as ACCEPTED: its message may never have been sent; a second one does no harm.
        self.queue(record for record, new in kept if new or record.state is GoalState.ACCEPTED)
        return kept

    def queue(self, records: Iterable[GoalRecord]) -> None:
        """Send the messages of goals that are on record. Raises BrokerUnavailable."""
        distinct = {record.goal_id: record for record in records}
        try:
            with talking(self.place, "queueing a goal"):
                wire.publish(self.broker, distinct.values())
        except BrokerUnavailable as error:
            ids = ", ".join([*distinct][:3]) + (", …" if len(distinct) > 3 else "")
            raise BrokerUnavailable(
                f"{error.message} On record, but perhaps not queued: {ids}.",
                fix="When Redis answers again, submit it again under its idempotency key; without "
                "one, cancel it (llmos cancel ID) and submit it anew.",
            ) from error

    def send_each(
        self, items: Iterable[Item | LLMOSError], common: Mapping[str, Any], batch: int
    ) -> Iterator[Sent | LLMOSError]:
        """One result per item, in order; a wrong item stops no other. Raises BrokerUnavailable."""
        rest = iter(items)
        while chunk := list(islice(rest, batch)):
            checked = [self._check_or_error(item, common) for item in chunk]
            sent = iter(self._send_good([c for c in checked if isinstance(c, GoalRecord)]))
            for one in checked:
                yield next(sent) if isinstance(one, GoalRecord) else one

    def _check_or_error(self, item: object, common: Mapping[str, Any]) -> GoalRecord | LLMOSError:
        if isinstance(item, LLMOSError):
            return item
        try:
            return self.check(item, common)
        except UsageError as error:
            return error

    def _send_good(self, records: list[GoalRecord]) -> list[Sent | LLMOSError]:
        try:
            return [*self.send(records)]
        except UsageError:  # A key stands for another goal: find out which.
            return [self._send_one(record) for record in records]

    def _send_one(self, record: GoalRecord) -> Sent | LLMOSError:
        try:
            return self.send([record])[0]
        except UsageError as error:
            return error
