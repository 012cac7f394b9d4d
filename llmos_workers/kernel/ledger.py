"""What the economy writes down: ledger entries and open reservations, as they are read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import redis

from llmos_workers.contracts.base import Contract, Micro
from llmos_workers.contracts.outcome import Usage
from llmos_workers.kernel import keys

PAGE = 1_000
"""Ledger lines that are read at once."""


class LedgerEntry(Contract):
    """One line of the ledger. The sum of ``micro`` over all lines is what was spent."""

    entry_id: str
    """Id in the stream; begins with the time in milliseconds."""
    kind: str
    """settle: a call's cost; doubt: sent without an answer, ``bound_micro`` is held; deduct: a
    direct charge; correct: a call in doubt charged by hand, ``why`` says on what evidence; saved:
    what a replay saved; over_bound: a remark that a charge was above what was held, by
    ``over_micro``."""
    reservation_id: str
    goal_id: str = ""
    project: str = ""
    mode: str = ""
    model: str = ""
    purpose: str = ""
    usage: Usage = Usage()
    micro: Micro = 0
    saved_micro: int = 0
    bound_micro: Micro = 0
    over_micro: Micro = 0
    why: str = ""
    day: str = ""
    """UTC day whose limits the charge counts in: the one its reservation was made on."""
    above: tuple[str, ...] = ()
    """Ids of the goals whose plans the goal is a part of: it spends their money, too."""

    @property
    def at(self) -> float:
        """Unix time in seconds."""
        return int(self.entry_id.split("-")[0]) / 1000


class Reservation(Contract):
    """Money that is held for a call: ``state`` is reserved, sent or doubt while it is open."""

    reservation_id: str
    goal_id: str
    project: str
    state: str
    bound_micro: Micro
    model: str
    purpose: str
    mode: str
    fence: int | None
    at: float
    """Unix time of reserving."""
    day: str = ""
    """UTC day whose limits it counts in."""
    above: tuple[str, ...] = ()
    """As in LedgerEntry."""


def make_id(nonce: str, project: str, goal_id: str) -> str:
    """A reservation id. It names its scopes, so that nothing has to be looked up to find them."""
    return f"{nonce}/{project}/{goal_id}"


def parts_of(reservation_id: str) -> tuple[str, str]:
    """Project and goal id of a reservation. Raises ValueError for what is none."""
    _, project, goal_id = reservation_id.split("/", 2)
    return project, goal_id


def read_entry(entry_id: bytes, fields: Mapping[bytes, bytes]) -> LedgerEntry:
    """A ledger line of its stream entry."""
    text = {name.decode(): value.decode() for name, value in fields.items()}
    return LedgerEntry(
        entry_id=entry_id.decode(),
        kind=text["kind"],
        reservation_id=text["id"],
        goal_id=text["goal"],
        project=text["project"],
        mode=text.get("mode", ""),
        model=text.get("model", ""),
        purpose=text.get("purpose", ""),
        usage=Usage(
            input_tokens=int(text.get("input", 0)),
            output_tokens=int(text.get("output", 0)),
            cache_write_5m_tokens=int(text.get("write_5m", 0)),
            cache_write_1h_tokens=int(text.get("write_1h", 0)),
            cache_read_tokens=int(text.get("read", 0)),
        ),
        micro=int(text["micro"]),
        saved_micro=int(text.get("saved", 0)),
        bound_micro=int(text.get("bound", 0)),
        over_micro=int(text.get("over", 0)),
        why=text.get("why", ""),
        day=text.get("day", ""),
        above=tuple(text.get("above", "").split()),
    )


def read_reservation(reservation_id: str, fields: Mapping[bytes, bytes]) -> Reservation:
    """A reservation of its hash."""
    text = {name.decode(): value.decode() for name, value in fields.items()}
    project, goal_id = parts_of(reservation_id)
    return Reservation(
        reservation_id=reservation_id,
        goal_id=goal_id,
        project=project,
        state=text["state"],
        bound_micro=int(text["bound"]),
        model=text["model"],
        purpose=text["purpose"],
        mode=text["mode"],
        fence=int(text["fence"]) if text["fence"] else None,
        at=float(text["at"]),
        day=text.get("day", ""),
        above=tuple(text.get("above", "").split()),
    )


def read_ledger(
    client: redis.Redis, *, after: str = "", since: float | None = None
) -> Iterator[LedgerEntry]:
    """All lines, oldest first, read in pages: those behind an entry id, or from a Unix time on."""
    start = f"({after}" if after else "-" if since is None else str(max(0, int(since * 1000)))
    while True:
        page = cast(Any, client.xrange(keys.LEDGER, min=start, count=PAGE))
        for entry_id, fields in page:
            yield read_entry(entry_id, fields)
        if len(page) < PAGE:
            return
        start = f"({page[-1][0].decode()}"


def read_open(client: redis.Redis) -> list[Reservation]:
    """All reservations that are open, oldest first."""
    ids = [m.decode() for m in cast(list[bytes], client.zrange(keys.RESERVATIONS, 0, -1))]
    with client.pipeline(transaction=False) as pipe:
        for each in ids:
            pipe.hgetall(keys.reservation(each))
        found = zip(ids, pipe.execute(), strict=True)
        # One that ended since the list was read is open no more.
        kept = [read_reservation(each, fields) for each, fields in found if fields]
    return [each for each in kept if each.state in ("reserved", "sent", "doubt")]
