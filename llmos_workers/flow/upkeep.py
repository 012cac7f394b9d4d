"""The duties of the upkeep role: what keeps files and records in step. Each is idempotent."""

from __future__ import annotations

from collections.abc import Callable

from llmos_workers.contracts.errors import GoalNotFound
from llmos_workers.flow.approval import end_funded
from llmos_workers.flow.crystallize import crystallize_due
from llmos_workers.flow.feedback import drain_feedback
from llmos_workers.flow.git_commits import commit_workspace
from llmos_workers.flow.improve import find_improvements
from llmos_workers.flow.insights import extract_insights
from llmos_workers.flow.sessions import write_sessions
from llmos_workers.flow.toolsmith import generalize_due
from llmos_workers.kernel.gate_files import GateFiles
from llmos_workers.kernel.gate_log import GateLog
from llmos_workers.kernel.projects import ProjectManager
from llmos_workers.runtime import Runtime


def scan_traces(runtime: Runtime) -> str:
    """Pick up traces that people edited, added or removed."""
    found = runtime.traces.scan()
    return (
        f"{found.added} added, {found.changed} changed, {found.removed} removed, "
        f"{found.problems} unreadable"
    )


def flush_counters(runtime: Runtime) -> str:
    """Write the traces' counters into their files."""
    return f"{runtime.traces.flush_counters()} written"


def snapshot_state(runtime: Runtime) -> str:
    """Write each project's internal state to its ``state/sentience.json``; a project whose
    state Redis has lost gets it back from there.
    """
    written = restored = 0
    for folder in ProjectManager(runtime.workspace).list_projects():
        path = folder.state / "sentience.json"
        if runtime.sentience.get_state(folder.name).update_count:
            runtime.sentience.snapshot(folder.name, path)
            written += 1
        elif path.exists() and runtime.sentience.load(folder.name, path):
            restored += 1
    return f"{written} written, {restored} restored"


def reclaim_money(runtime: Runtime) -> str:
    """Give back what dead runs reserved and never sent; what they sent is in doubt."""
    counts = runtime.economy.reclaim()
    return ", ".join(f"{count} {what}" for what, count in counts.items())


def prune_goals(runtime: Runtime) -> str:
    """Forget finished goals that are past their retention."""
    return f"{runtime.goals.prune()} forgotten"


def expire_approvals(runtime: Runtime) -> str:
    """End requests for approval that nobody answered, whose goals go on without a yes, and
    those for money that is there by now.
    """
    expired = runtime.approvals.expire_due(runtime.clock.now())
    return f"{expired} expired, {end_funded(runtime.approvals, runtime.economy)} funded"


def send_webhooks(runtime: Runtime) -> str:
    """Tell the configured URLs which goals ended."""
    now = runtime.clock.now()
    found = runtime.webhooks.collect(now)
    return f"{found} new, {runtime.webhooks.deliver_due(now)}"


def sweep_stages(runtime: Runtime) -> str:
    """Remove the stages of ended goals, and finish commits that a dead worker left."""

    def ended(goal_id: str) -> bool:
        try:
            return runtime.goals.state(goal_id).final
        except GoalNotFound:
            return True

    removed = runtime.stages.sweep(ended)
    for folder in ProjectManager(runtime.workspace).list_projects():
        removed += runtime.boards.sweep(folder, ended)
    return f"{removed} removed"


def file_gate_log(runtime: Runtime) -> str:
    """Move the gate's decisions from Redis to the audit files."""
    return f"{GateFiles(runtime.workspace.audit).file_away(GateLog(runtime.redis))} filed"


DUTIES: dict[str, Callable[[Runtime], str]] = {
    "scan_traces": scan_traces,
    "flush_counters": flush_counters,
    "snapshot_state": snapshot_state,
    "reclaim_money": reclaim_money,
    "prune_goals": prune_goals,
    "sweep_stages": sweep_stages,
    "expire_approvals": expire_approvals,
    "send_webhooks": send_webhooks,
    "take_up_feedback": drain_feedback,
    "file_gate_log": file_gate_log,
    "crystallize": crystallize_due,
    "generalize": generalize_due,
    "write_sessions": write_sessions,
    "extract_insights": extract_insights,
    "improve": find_improvements,
    "commit_workspace": commit_workspace,
}
