"""``llmos undo | why``: what goals did to a project's files, and taking it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import by_option, offers, project_option
from llmos_cli.output import data_of, emit, json_option
from llmos_cli.render import printable
from llmos_workers.client_connect import talking
from llmos_workers.contracts.commits import Commit, CommittedFile, FileKind, FileState
from llmos_workers.contracts.errors import GoalNotFound, InvalidOption
from llmos_workers.kernel import paths, tree
from llmos_workers.kernel.clock import iso
from llmos_workers.kernel.commits import CommitLog
from llmos_workers.kernel.projects import ProjectManager
from llmos_workers.kernel.workspace import Workspace

MOST_FILES = 50


@click.command()
@click.argument("goal_id", metavar="GOAL", shell_complete=offers("goals"))
@project_option("Its project, when its record is gone.")
@by_option("Who takes it back")
@json_option
@click.pass_obj
def undo(session: Session, goal_id: str, project: str | None, by: str | None, as_json: bool) -> int:
    """Take back the files that goal GOAL published.

    Only when they all are as the goal left them; otherwise it says which are not, and does
    nothing.
    """
    from llmos_workers.kernel.approvals import who
    from llmos_workers.kernel.publish import Publisher
    from llmos_workers.kernel.undo import Undoer

    client = session.client
    workspace, log = Workspace(client.config.workspace), CommitLog(client.redis)
    with talking(client.place, "undoing a goal"):
        name = project or _project_of(session, goal_id, log)
        ProjectManager(workspace).get_project(name)
        publisher = Publisher(workspace, log, client.clock)
        commits = Undoer(workspace, publisher, client.clock).undo(
            name, goal_id, approver=by or who()
        )
    if as_json:
        emit({"goal_id": goal_id, "project": name, "commits": _data(commits)})
        return Exit.SUCCEEDED
    files = [file for commit in commits for file in commit.files]
    for file in files[:MOST_FILES]:
        print(printable(f"{_verb(file, undoing=True):9} {file.path}"))
    if len(files) > MOST_FILES:
        print(f"… and {len(files) - MOST_FILES:,} more")
    print(f"goal {goal_id} is undone.")
    return Exit.SUCCEEDED


@click.command()
@click.argument("file", metavar="FILE", shell_complete=offers("files"))
@project_option("Project of FILE (default: the one it lies in, else default).")
@click.option(
    "--trust",
    is_flag=True,
    help="Vouch for FILE as it is: whoever reads it holds nothing from outside by it.",
)
@json_option
@click.pass_obj
def why(session: Session, file: str, project: str | None, trust: bool, as_json: bool) -> int:
    """Say which goals made FILE what it is, newest first.

    FILE is a path within the project's output folder, or the way to it from here. Each line
    names goal, trace, step, model call and who approved it. A file that a run with content from
    outside published says so, and taints whoever reads it until somebody looks at it and trusts it.
    """
    client = session.client
    workspace = Workspace(client.config.workspace)
    name, path = _locate(workspace, file, project)
    with talking(client.place, "reading the log of commits"):
        log = CommitLog(client.redis)
        commits = log.why(name, path)
        now = tree.state_at(workspace.peek(name).output, path)
        taint = log.tainted(name).of(path, now.digest if now else "")
        if trust:
            _trust(session, name, path, now)
            taint = None
    if as_json:
        data: dict[str, Any] = {"project": name, "path": path}
        for key, fact in (("now", now), ("tainted", taint)):
            data[key] = fact and data_of(fact)
        emit(data | {"commits": _data(commits)})
        return Exit.SUCCEEDED
    told = _lines(path, now, commits)
    if taint is not None:
        told[1:1] = [
            f"    holds content from outside, by goal {taint.goal_id}: {taint.source}",
            "    whoever reads it is tainted; once you have looked at it: llmos why FILE --trust",
        ]
    print(printable("\n".join(["trusted as it is.", *told] if trust else told)))
    return Exit.SUCCEEDED


def _trust(session: Session, project: str, path: str, now: FileState | None) -> None:
    """Take the taint from a file, on record first. Raises InvalidOption."""
    from llmos_workers.contracts.gate import GateDecision, GateRecord
    from llmos_workers.kernel.approvals import who
    from llmos_workers.kernel.gate_log import GateLog

    client, digest = session.client, now.digest if now else ""
    log, known = CommitLog(client.redis), CommitLog(client.redis).tainted(project)
    taint = known.of(path, digest)
    if taint is None:
        raise InvalidOption(f"{path} of project {project} is not tainted.")
    GateLog(client.redis).append(
        GateRecord(
            decision=GateDecision.ALLOW,
            rule="taint:trusted",
            reason=f"{path} is trusted by {who()}",
            tool="(person)",
            digest=digest,
            goal_id=taint.goal_id,
            project=project,
            agent=who(),
            mode="person",
            source="person",
        )
    )
    if not log.trust(project, path, known.paths.get(path), digest):
        raise InvalidOption(
            f"{path} has just been published again, tainted.", fix="Look at it again."
        )


def _project_of(session: Session, goal_id: str, log: CommitLog) -> str:
    """The project that a goal published in. Raises GoalNotFound."""
    try:
        return session.client.goals.get(goal_id).project
    except GoalNotFound:
        workspace = Workspace(session.client.config.workspace)
        for folder in ProjectManager(workspace).list_projects():
            if log.of_goal(folder.name, goal_id):
                return folder.name
        raise


def _locate(workspace: Workspace, file: str, project: str | None) -> tuple[str, str]:
    """Project and path in it of what a person named. Raises InvalidOption, ToolError."""
    try:
        inside = Path(file).absolute().relative_to(workspace.projects)
    except ValueError:
        inside = None
    if inside is not None and len(inside.parts) > 2 and inside.parts[1] == "output":
        if project not in (None, inside.parts[0]):
            raise InvalidOption(f"{file} lies in project {inside.parts[0]}, not {project}.")
        return inside.parts[0], "/".join(inside.parts[2:])
    path = paths.plain(file)
    if path.split("/")[0] in ("..", "."):
        raise InvalidOption(
            f"{file} is not in the output folder of a project.",
            fix="Name a file of a project, and its --project.",
        )
    return workspace.peek(project or "default").name, path


def _data(commits: list[Commit]) -> list[dict[str, Any]]:
    return [data_of(commit) for commit in commits]


def _verb(file: CommittedFile, *, undoing: bool = False) -> str:
    if file.before is None:
        return "restored" if undoing else "made"
    if file.after is None:
        return "removed"
    return "restored" if undoing else "changed"


def _lines(path: str, now: FileState | None, commits: list[Commit]) -> list[str]:
    """What is known of a path, for people."""
    if not commits:
        there = "nobody published it through llmos" if now else "it is not there, and never was"
        return [f"{path}: {there} (as far as the log goes back)."]
    newest = next(file for file in commits[0].files if file.path == path)
    found = [f"{path}: {_standing(now, newest.after)}"]
    for commit in commits:
        file = next(file for file in commit.files if file.path == path)
        found += ["", *_about(commit, file)]
    return found


def _standing(now: FileState | None, left: FileState | None) -> str:
    if now is None and left is None:
        return "removed"
    if now == left:
        return f"{now.kind}, {now.size:,} bytes" if now and now.kind is FileKind.FILE else "there"
    return "changed since by someone outside llmos"


def _about(commit: Commit, file: CommittedFile) -> list[str]:
    """One commit's part in a file."""
    what = (
        f"undone by {commit.approver or '?'}: goal" if commit.undoes else f"{_verb(file)} by goal"
    )
    lines = [f"{iso(commit.at)}  {what} {commit.goal_id}"]
    facts = []
    if commit.mode and not commit.undoes:
        facts.append(commit.mode.value)
    if commit.trace_id:
        version = f" version {commit.trace_version}" if commit.trace_version else ""
        facts.append(f"trace {commit.trace_id}{version}")
    if file.step is not None:
        facts.append(f"step {file.step + 1}")
    if file.model_call:
        facts.append(f"model call {file.model_call}")
    if commit.approver and not commit.undoes:
        facts.append(f"approved by {commit.approver}")
    if file.tainted:
        facts.append(f"content from outside: {file.tainted}")
    if facts:
        lines.append(f"    {', '.join(facts)}")
    if file.after is not None and file.after.digest:
        lines.append(f"    sha256 {file.after.digest}")
    return lines
