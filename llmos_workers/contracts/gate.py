"""What the gate decided about one tool call, as the audit log keeps it."""

from __future__ import annotations

from enum import StrEnum

from llmos_workers.contracts.base import Contract, Record


class GateDecision(StrEnum):
    """What became of a call."""

    ALLOW = "allow"
    DENY = "deny"
    ASK = "ask"
    """A person was asked and has not answered yet: the call did not run."""
    MODIFY = "modify"
    """Allowed with other arguments than the ones asked for."""


class GateRecord(Record):
    """One decision. Arguments are there by digest only: no secrets, no bulk."""

    decision: GateDecision
    rule: str = ""
    """What denied or asked, and what a person said yes to; empty when no rule had a word."""
    reason: str = ""
    tool: str
    digest: str
    """sha256 of tool and arguments as they were asked for."""
    ran: str = ""
    """The same as they run, where hooks changed them."""
    goal_id: str
    project: str
    agent: str
    mode: str
    source: str
    """``model``, ``trace`` for a replay, ``proof`` for a trial in a scratch copy of what was just
    learned; ``command``: a connection that a command wanted (tool ``egress``); ``person``: who
    trusted a tainted file."""


class LoggedDecision(Contract):
    """A decision with its place in the chain."""

    chain: str
    n: int
    """Number in the chain, from 1."""
    at: float
    """The server's Unix time in seconds."""
    hash: str
    record: GateRecord
