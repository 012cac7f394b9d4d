"""What the economy writes down: ledger entries and open reservations, as they are read back."""

from __future__ import annotations

from collections.abc import Mapping

from llmos_workers.contracts.base import Contract, Micro
from llmos_workers.contracts.outcome import Usage


class LedgerEntry(Contract):
    """One line of the ledger. The sum of ``micro`` over all lines is what was spent."""

    entry_id: str
    """Id in the stream; begins with the time in milliseconds."""
    kind: str
    """settle: a call's cost; doubt: sent without an answer, ``bound_micro`` is held; deduct: a
    direct charge; saved: what a replay saved; over_bound: a remark that a settled cost was
    above its reservation."""
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
    )
