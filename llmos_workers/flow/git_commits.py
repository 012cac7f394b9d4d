"""Upkeep's commits: one for each trace that was learned, changed or forgotten, each agent, tool."""

from __future__ import annotations

import logging
from itertools import groupby

from llmos_workers.contracts.errors import LLMOSError
from llmos_workers.kernel.workspace_git import Changed, WorkspaceGit
from llmos_workers.learning.trace_folder import TraceFolder
from llmos_workers.learning.trace_prose import one_line
from llmos_workers.runtime import Runtime

log = logging.getLogger(__name__)

FOLDERS = ("agents", "memories/traces", "tools/generated")
MOST = 100
"""Commits of one round; the rest come with the next."""


def commit_workspace(runtime: Runtime) -> str:
    """Commit what changed, where ``learning.git_commit`` says so. Never raises for git's sake: what
    cannot be committed now is tried again in the next round.
    """
    settings = runtime.config.learning
    if not settings.git_commit:
        return "off"
    git = WorkspaceGit(runtime.workspace, settings.git_author)
    if not git.there:
        return "no repository"
    done = 0
    with git.alone() as mine:
        if not mine:
            return "somebody else does"
        try:
            changes = [c for c in git.changed(FOLDERS) if _counts(c.path)]
            units = [list(unit) for _, unit in groupby(changes, key=lambda c: _unit(c.path))]
            for together in units[:MOST]:
                git.commit([c.path for c in together], _message(runtime, together))
                done += 1
        except LLMOSError as error:
            log.info("the workspace is not committed now: %s", error.message)
            return f"{done} committed, then: {error.message}"
    return f"{done} committed"


def _counts(path: str) -> bool:
    """Old versions that llmos keeps itself are none of git's, and hidden files nobody's."""
    return "/history/" not in path and not any(p.startswith(".") for p in path.split("/"))


def _unit(path: str) -> str:
    """What belongs into one commit: a tool's source and its record do."""
    return path.rpartition(".")[0] if path.startswith("tools/") else path


def _message(runtime: Runtime, changes: list[Changed]) -> str:
    first = changes[0]
    verb = "Forget" if first.gone else "Learn" if first.new else "Change"
    if first.path.startswith("memories/traces/"):
        return _about_trace(runtime, first, verb)
    kind = "agent" if first.path.startswith("agents/") else "tool"
    verb = {"Learn": "Add", "Forget": "Remove"}.get(verb, verb)
    return f"{verb} {kind} {_unit(first.path).rpartition('/')[2].removesuffix('.md')}"


def _about_trace(runtime: Runtime, change: Changed, verb: str) -> str:
    name = change.path.rpartition("/")[2].removesuffix(".md")
    if change.gone:
        return f"{verb}: {name}"
    try:
        trace = TraceFolder(runtime.workspace).parse(change.path)
    except LLMOSError:
        return f"{verb}: {name} (it does not read)"
    facts = [f"Trace {trace.trace_id} of project {trace.project}, version {trace.version}."]
    if trace.learned_from:
        facts.append(f"Learned from goal {trace.learned_from}.")
    return f"{verb}: {one_line(trace.goal_text, 60)}\n\n" + "\n".join(facts)
