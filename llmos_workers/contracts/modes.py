"""The five execution modes and the names by which people ask for them."""

from __future__ import annotations

from enum import StrEnum

from llmos_workers.contracts.errors import InvalidOption


class Mode(StrEnum):
    """How a goal is executed, cheapest first."""

    CRYSTALLIZED = "CRYSTALLIZED"
    """A compiled Python tool; no model."""
    FOLLOWER = "FOLLOWER"
    """A proved trace is replayed; no model."""
    MIXED = "MIXED"
    """A model works with the help of a similar trace."""
    LEARNER = "LEARNER"
    """A model works from nothing."""
    ORCHESTRATOR = "ORCHESTRATOR"
    """A plan of sub-goals, each a goal of its own."""

    @property
    def calls_model(self) -> bool:
        """Whether a run in this mode may spend tokens."""
        return self not in REPLAYS


REPLAYS = frozenset({Mode.CRYSTALLIZED, Mode.FOLLOWER})
"""Modes that do what a trace did, without a model."""


class RequestedMode(StrEnum):
    """What a submitter may ask for. AUTO lets the strategy decide."""

    AUTO = "AUTO"
    CRYSTALLIZED = "CRYSTALLIZED"
    FOLLOWER = "FOLLOWER"
    MIXED = "MIXED"
    LEARNER = "LEARNER"
    ORCHESTRATOR = "ORCHESTRATOR"

    @classmethod
    def parse(cls, text: str) -> RequestedMode:
        """Read a mode in any letter case. Raises InvalidOption naming the known ones."""
        try:
            return cls(text.strip().upper())
        except (ValueError, AttributeError):
            known = ", ".join(m.value.lower() for m in cls)
            raise InvalidOption(f"unknown mode {text!r}.", fix=f"Use one of: {known}.") from None
