"""Counters of traces outside of Redis: ``state/counters/<project>.json``.

Use changes them all the time, so they stand in no trace's file: a workspace in git stays quiet.
They are written now and then, and read when a trace is taken up that Redis does not know.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from llmos_workers.contracts.errors import ToolError
from llmos_workers.contracts.goal import check_project_name
from llmos_workers.contracts.trace import ExecutionTrace, TraceCounters
from llmos_workers.kernel.workspace import Workspace
from llmos_workers.learning.trace_fields import COUNTERS

log = logging.getLogger(__name__)

FOLDER = "counters"


class CounterFiles:
    """The files of a workspace, one for each project."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def write(self, project: str, traces: Mapping[str, ExecutionTrace]) -> int:
        """Write the counters of a project's traces, by id, where they changed; of how many they
        did. Raises WorkspaceUnwritable.
        """
        known = self._read(project)
        found = {
            trace_id: {name: getattr(trace, name) for name in COUNTERS}
            for trace_id, trace in sorted(traces.items())
            if trace.usage_count or trace.evidence
        }
        changed = [each for each in {*known, *found} if known.get(each) != found.get(each)]
        if changed:
            text = json.dumps(found, indent=1, sort_keys=True)
            self._workspace.write_atomic(self._path(project), text.encode() + b"\n")
        return len(changed)

    def of(self, trace: ExecutionTrace) -> ExecutionTrace:
        """The trace with the counters that were written of it; with its own where none were."""
        found = self._read(trace.project).get(trace.trace_id)
        if not isinstance(found, dict):
            return trace
        try:
            counters = TraceCounters.model_validate(found)
        except ValidationError:
            log.warning("the counters of trace %s do not read", trace.trace_id)
            return trace
        return trace.model_copy(update={name: getattr(counters, name) for name in COUNTERS})

    def _path(self, project: str) -> str:
        folder = self._workspace.state / FOLDER
        return self._workspace.relative(folder / f"{check_project_name(project)}.json")

    def _read(self, project: str) -> dict[str, Any]:
        try:
            found = json.loads(self._workspace.read(self._path(project)))
        except (ToolError, OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}
