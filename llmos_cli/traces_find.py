"""How a person names a trace."""

from __future__ import annotations

from collections.abc import Sequence

from llmos_cli.context import Session
from llmos_cli.render import short
from llmos_workers.contracts.errors import InvalidOption, NotThere
from llmos_workers.contracts.goal import check_project_name
from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.contracts.watch import Watch, unwatched


def projects_of(session: Session, project: str | None) -> Sequence[str]:
    """The named project, or all that have traces. Raises InvalidOption."""
    if project is not None:
        return [check_project_name(project)]
    return session.client.trace_manager.projects()


def find(
    session: Session, trace_id: str, project: str | None, watch: Watch = unwatched
) -> ExecutionTrace:
    """The trace whose id is or begins with ``trace_id``. Raises NotThere, InvalidOption."""
    manager = session.client.trace_manager
    found = [t for name in projects_of(session, project) if (t := manager.get(name, trace_id))]
    if not found:  # a whole id of a trace that Redis knows needs no look at all the others
        manager.scan(watch)
        found = [
            trace for name in projects_of(session, project) for trace in manager.list(name)
            if trace_id and trace.trace_id.startswith(trace_id)
        ]  # fmt: skip
    if not found:
        where = f" in project {project}" if project else ""
        raise NotThere(f"no trace {short(trace_id)!r}{where}.", fix="See: llmos traces list.")
    if len(found) > 1:
        listed = ", ".join(f"{trace.project}/{trace.trace_id}" for trace in found[:5])
        raise InvalidOption(
            f"{short(trace_id)!r} names several traces: {listed}.",
            fix="Give more of the id, or --project.",
        )
    return found[0]
