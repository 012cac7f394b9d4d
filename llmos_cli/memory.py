"""``llmos memory``: what is remembered beside traces, and forgetting it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import limit_option, project_option
from llmos_cli.output import emit, emit_each, json_option
from llmos_cli.progress import at_work
from llmos_cli.render import printable
from llmos_workers.contracts.errors import LLMOSError, NotThere
from llmos_workers.contracts.memory import Level

if TYPE_CHECKING:
    from llmos_workers.execution.tools.base import Tool
    from llmos_workers.learning.memory_files import FileMemory
    from llmos_workers.learning.noted import NotedNotes
    from llmos_workers.learning.sessions import Sessions

_project = project_option("Whose memory.", default="default")


@click.group()
def memory() -> None:
    """Search, show and forget what is remembered.

    Sessions, traces, facts and insights.
    """


@memory.command()
@click.argument("query", default="")
@_project
@click.option("--level", type=click.Choice([level.value for level in Level]), help="Only this one.")
@limit_option("Most to show.", 200)
@json_option
@click.pass_obj
def search(
    session: Session, /, *, query: str, project: str, level: str | None, limit: int, as_json: bool
) -> int:
    """Find what has words in common with QUERY, else the newest."""
    from llmos_workers.learning.memory_search import MemorySearch

    levels = [Level(level)] if level else list(Level)
    held = _memory(session)
    finder = MemorySearch(held.sessions, session.client.trace_manager, held.files)
    with at_work(session.client, "searching memory", quiet=as_json):
        hits = finder.search(project, query, levels=levels, limit=limit)
    if as_json:
        emit_each(hits)
        return Exit.SUCCEEDED
    for hit in hits:
        mark = " (from outside)" if hit.tainted else ""
        print(printable(f"{hit.level:8}  {hit.name}{mark}\n          {hit.text}"))
    if not hits:
        print("nothing remembered fits.")
    return Exit.SUCCEEDED


@memory.command()
@click.argument("name")
@_project
@json_option
@click.pass_obj
def show(session: Session, name: str, project: str, as_json: bool) -> int:
    """Show a note, or the session of a goal.

    A note is facts/NAME.md or insights/NAME.md.
    """
    from llmos_workers.learning.session_file import render_session

    held = _memory(session)
    if "/" in name:
        note = next((n for n in held.files.notes(project) if n.path == name), None)
        if note is None:
            raise NotThere(
                f"there is no note {name!r} that project {project} sees.",
                fix="See llmos memory search.",
            )
        if as_json:
            facts = {"path": note.path, "text": note.text, "tainted": note.tainted}
            emit(facts | {"noted": note.noted, "projects": sorted(note.projects)})
            return Exit.SUCCEEDED
        by = "llmos" if note.noted else "a person"
        print(printable(f"{note.path}, by {by}, for {', '.join(sorted(note.projects))}"))
        for field in ("kind", "noted", "seen"):
            if field in note.fields:
                print(printable(f"{field}: {note.fields[field]}"))
        sources = note.fields.get("sources") or []
        if sources:
            print(printable(f"sources: {', '.join(map(str, sources))}"))
        print(printable(f"\n{note.text}"))
        return Exit.SUCCEEDED
    found = held.sessions.get(project, name)
    if as_json:
        emit(found)
    else:
        print(printable(render_session(found)), end="")
    return Exit.SUCCEEDED


@memory.command()
@click.argument("names", nargs=-1, required=True)
@_project
@json_option
@click.pass_obj
def forget(session: Session, names: tuple[str, ...], project: str, as_json: bool) -> int:
    """Remove the notes or sessions NAMES. A note that llmos made does not come back.

    Traces are forgotten by llmos traces rm.
    """
    held = _memory(session)
    done: dict[str, str] = {}
    for name in names:
        try:
            note = "/" in name
            there = held.noted.forget(name) if note else held.sessions.remove(project, name)
            done[name] = "forgotten" if there else "not there"
        except LLMOSError as error:
            done[name] = error.message
    if as_json:
        emit_each({"name": name, "what": what} for name, what in done.items())
    else:
        for name, what in done.items():
            print(printable(f"{name}: {what}"))
    return Exit.SUCCEEDED if set(done.values()) == {"forgotten"} else Exit.USAGE


@dataclass(frozen=True)
class _Memory:
    """What the commands need; traces are asked for only where they are searched."""

    sessions: Sessions
    files: FileMemory
    noted: NotedNotes


def memory_tools_of(session: Session) -> list[Tool]:
    """The tools over memory, for the registry of this process."""
    from llmos_workers.learning.memory_search import MemorySearch
    from llmos_workers.learning.memory_tools import memory_tools

    held = _memory(session)
    finder = MemorySearch(held.sessions, session.client.trace_manager, held.files)
    return memory_tools(finder, held.noted)


def _memory(session: Session) -> _Memory:
    from llmos_workers.kernel.workspace import Workspace
    from llmos_workers.learning.memory_files import FileMemory
    from llmos_workers.learning.noted import NotedNotes
    from llmos_workers.learning.sessions import Sessions

    workspace = Workspace(session.config.workspace)
    across = session.config.memory.enable_cross_project_learning
    return _Memory(
        Sessions(workspace),
        FileMemory(workspace, across=across),
        NotedNotes(workspace, session.client.clock),
    )
