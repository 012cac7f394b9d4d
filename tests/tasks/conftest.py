"""The hops on the layers of the flow's tests."""

from tests.flow.conftest import flow, world

__all__ = ["flow", "world"]
