"""The parts of a worker process that remember, beside traces."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from llmos_workers.execution.hooks.memory import MemoryProvider
from llmos_workers.learning.memory_files import FileMemory
from llmos_workers.learning.memory_search import MemorySearch
from llmos_workers.learning.noted import NotedNotes
from llmos_workers.learning.sessions import Sessions
from llmos_workers.runtime_evolution import EvolutionParts

if TYPE_CHECKING:
    from llmos_workers.learning.traces import TraceManager


class MemoryParts(EvolutionParts):
    """Part of a Runtime; each part is made when first asked for."""

    if TYPE_CHECKING:

        @property
        def traces(self) -> TraceManager:
            """See Runtime."""

    @cached_property
    def memory(self) -> MemoryProvider:
        """What models are told before they begin."""
        return self.memory_files

    @cached_property
    def memory_files(self) -> FileMemory:
        """Facts and insights."""
        across = self.config.memory.enable_cross_project_learning
        return FileMemory(self.workspace, across=across)

    @cached_property
    def noted(self) -> NotedNotes:
        """The notes that llmos makes."""
        return NotedNotes(self.workspace, self.clock)

    @cached_property
    def sessions(self) -> Sessions:
        """How goals went."""
        return Sessions(self.workspace)

    @cached_property
    def memory_search(self) -> MemorySearch:
        """All levels."""
        return MemorySearch(self.sessions, self.traces, self.memory_files)
