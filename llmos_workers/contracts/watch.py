"""Work that grows with the data, and who looks on.

Such work passes what it goes through to a Watch, which hands it on and may tell how far it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Watch(Protocol):
    """Looks on while items are worked on."""

    def __call__(self, what: str, items: Iterable[T], total: int | None = None, /) -> Iterator[T]:
        """The items, one by one. ``what`` says what is done, as in "reading goals". How many there
        are is ``total``, or known of a collection that has a length.
        """
        ...


def unwatched(_what: str, items: Iterable[T], _total: int | None = None, /) -> Iterator[T]:
    """Nobody looks on."""
    return iter(items)
