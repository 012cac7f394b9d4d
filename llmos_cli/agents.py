"""``llmos agents``: the Markdown agents of a workspace and their versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmos_cli.agents_render import agent_data, agent_lines, table, version_line
from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import offers
from llmos_cli.output import emit, emit_each, json_option, say
from llmos_cli.render import printable
from llmos_workers.contracts.errors import InvalidOption, UsageError

if TYPE_CHECKING:
    from llmos_workers.contracts.agents import AgentDefinition
    from llmos_workers.evolution.agent_factory import AgentFactory


@click.group()
def agents() -> None:
    """See and change who thinks: agents and their versions.

    An agent is a Markdown file of the workspace; a change is a new version, and counts at the next
    goal on every worker. Needs the workspace on this machine.
    """


@agents.command("list")
@json_option
@click.pass_obj
def list_agents(session: Session, as_json: bool) -> int:
    """List the agents that can be used, with how their runs came out."""
    loader = _factory(session).loader
    found = loader.load_agents()
    records = session.client.agent_records.of(agent.name for agent in found)
    if as_json:
        emit_each(agent_data(agent, records[agent.name]) for agent in found)
        return Exit.SUCCEEDED
    print(printable("\n".join(table(found, records))))
    for problem in loader.problems():
        print(printable(f"cannot be used: {problem}"))
    return Exit.SUCCEEDED


@agents.command()
@click.argument("name", shell_complete=offers("agents"))
@json_option
@click.pass_obj
def show(session: Session, name: str, as_json: bool) -> int:
    """Show the agent NAME: what it may use, and its prompt."""
    agent = _factory(session).loader.get(name)
    record = session.client.agent_records.of([name])[name]
    if as_json:
        emit(agent_data(agent, record))
    else:
        print(printable("\n".join(agent_lines(agent, record))))
    return Exit.SUCCEEDED


def _fields(command: Any) -> Any:
    """The options that say what an agent is."""
    for option in reversed(
        [
            click.option("--description", help="One line: what it is for."),
            click.option("--prompt", help="Its system prompt."),
            click.option(
                "--prompt-file",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                help="Its system prompt, from a file.",
            ),
            click.option(
                "--tool", "tools", multiple=True, help="A tool it may use; repeat for more."
            ),
            click.option("--no-tools", is_flag=True, help="It may use no tool."),
            click.option("--model", help="Model id, or haiku, sonnet, opus."),
            click.option(
                "--capability", "capabilities", multiple=True, help="A word by which it is found."
            ),
            click.option(
                "--file",
                metavar="FILE",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                help="The whole agent, as a Markdown file.",
            ),
            click.option("--why", default="", metavar="TEXT", help="Reason, for the history."),
            json_option,
        ]
    ):
        command = option(command)
    return command


@agents.command()
@click.argument("name")
@_fields
@click.pass_obj
def create(session: Session, /, name: str, why: str, as_json: bool, **given: Any) -> int:
    """Create the agent NAME, from options or from a file."""
    from llmos_workers.contracts.agents import AgentDefinition
    from llmos_workers.evolution.agent_rules import Author

    factory = _factory(session)
    if given["file"]:
        if (factory.loader.folder / f"{name}.md").exists():
            raise InvalidOption(f"there is already an agent {name!r}.", fix="See agents edit.")
        made = factory.write_text(name, _text(given["file"]), why=why)
        return _told(session, made, "created", as_json=as_json)
    changes = _changes(given)
    missing = [option for option in ("description", "prompt") if option not in changes]
    if missing:
        raise UsageError(f"--{missing[0]} is missing.", fix="Or give --file FILE.")
    made = factory.create_agent(AgentDefinition(name=name, **changes), Author(), why=why)
    return _told(session, made, "created", as_json=as_json)


@agents.command()
@click.argument("name", shell_complete=offers("agents"))
@click.option("--status", type=click.Choice(["active", "disabled"]), help="Whether it is used.")
@_fields
@click.pass_obj
def edit(
    session: Session, /, name: str, status: str | None, why: str, as_json: bool, **given: Any
) -> int:
    """Change the agent NAME; without options, in your $EDITOR."""
    from llmos_workers.evolution.agent_rules import Author

    factory = _factory(session)
    path = factory.loader.folder / f"{name}.md"
    if not path.exists():  # a file that cannot be read is there, and may be mended by this
        factory.loader.get(name)
    changes = _changes(given) | ({"status": status} if status else {})
    if given["file"]:
        made = factory.write_text(name, _text(given["file"]), why=why)
    elif changes:
        made = factory.modify_agent(name, changes, Author(), why=why)
    else:
        before = _text(path) if path.exists() else factory.loader.get(name).prompt
        after = click.edit(before, extension=".md")
        if after is None or after == before:
            now = {} if not as_json else agent_data(factory.loader.get(name))
            say(now, "nothing was changed.", as_json=as_json)
            return Exit.SUCCEEDED
        made = factory.write_text(name, after, why=why)
    return _told(session, made, "changed", as_json=as_json)


@agents.command()
@click.argument("name", shell_complete=offers("agents"))
@json_option
@click.pass_obj
def history(session: Session, name: str, as_json: bool) -> int:
    """Show who changed the agent NAME, when and why."""
    versions = _factory(session).history.versions(name)
    if as_json:
        emit_each(vars(version) for version in versions)
    elif not versions:
        print(printable(f"llmos has not changed {name} yet."))
    else:
        print(printable("\n".join(version_line(version) for version in versions)))
    return Exit.SUCCEEDED


@agents.command()
@click.argument("name", shell_complete=offers("agents"))
@click.argument("before", type=click.IntRange(1))
@click.argument("after", type=click.IntRange(1))
@json_option
@click.pass_obj
def diff(session: Session, name: str, before: int, after: int, as_json: bool) -> int:
    """Show what changed in the agent NAME between two versions."""
    told = printable(_factory(session).history.diff(name, before, after))
    facts = {"name": name, "from": before, "to": after, "diff": told.splitlines()}
    say(facts, told, as_json=as_json)
    return Exit.SUCCEEDED


@agents.command()
@click.argument("name", shell_complete=offers("agents"))
@click.argument("version", type=click.IntRange(1))
@click.option("--why", default="", metavar="TEXT", help="Reason, for the history.")
@json_option
@click.pass_obj
def rollback(session: Session, name: str, version: int, why: str, as_json: bool) -> int:
    """Bring VERSION of the agent NAME into force again.

    It may be a draft, and becomes a new version.
    """
    from llmos_workers.evolution.agent_rules import Author

    made = _factory(session).rollback(name, version, Author(), why=why)
    return _told(session, made, f"as version {version}:", as_json=as_json)


@agents.command()
@click.argument("names", nargs=-1, shell_complete=offers("agents"))
@json_option
@click.pass_obj
def lint(session: Session, names: tuple[str, ...], as_json: bool) -> int:
    """Check agents: their files, tools and models."""
    from llmos_workers.evolution.agent_lint import lint_agents

    faults = lint_agents(_factory(session).loader, session.registry, names)
    if as_json:
        emit_each(vars(fault) for fault in faults)
    else:
        for fault in faults:
            print(printable(f"{fault.agent}: {fault.problem}"))
        if not faults:
            print("no fault found.")
    return Exit.FAILED if faults else Exit.SUCCEEDED


@agents.command()
@click.argument("goal")
@json_option
@click.pass_obj
def choose(session: Session, goal: str, as_json: bool) -> int:
    """Rank the agents that fit GOAL, as --agent auto does."""
    ranked = session.client.components.rank(goal)
    if as_json:
        emit_each({"name": fit.agent.name, "score": round(fit.score, 4)} for fit in ranked)
        return Exit.SUCCEEDED
    for fit in ranked:
        print(printable(f"{fit.score:7.3f}  {fit.agent.name:20} {fit.agent.description}"))
    if not ranked:
        print("no agent has anything in common with it: the default one would think.")
    return Exit.SUCCEEDED


def _factory(session: Session) -> AgentFactory:
    return session.client.agent_factory


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InvalidOption(f"{file} is not UTF-8 text.") from None


def _changes(given: dict[str, Any]) -> dict[str, Any]:
    """What the options say, as fields of an agent."""
    if given["prompt"] and given["prompt_file"]:
        raise UsageError("--prompt and --prompt-file are both given.", fix="Leave one out.")
    if given["tools"] and given["no_tools"]:
        raise UsageError("--tool and --no-tools are both given.", fix="Leave one out.")
    prompt = _text(given["prompt_file"]) if given["prompt_file"] else given["prompt"]
    said = {
        "description": given["description"],
        "prompt": prompt,
        "tools": given["tools"] or (() if given["no_tools"] else None),
        "model": given["model"],
        "capabilities": given["capabilities"] or None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _told(session: Session, agent: AgentDefinition, what: str, *, as_json: bool) -> int:
    """Say what is in force now, and what of it will not work."""
    from llmos_workers.evolution.agent_lint import lint_agents

    if as_json:
        emit(agent_data(agent))
        return Exit.SUCCEEDED
    print(printable(f"{what} {agent.name}, version {agent.version}"))
    for fault in lint_agents(_factory(session).loader, session.registry, (agent.name,)):
        print(printable(f"warning: {fault.problem}"))
    return Exit.SUCCEEDED
