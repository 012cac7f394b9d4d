"""``llmos tools``: what agents may be granted, and what traces were compiled into."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.output import data_of, emit, emit_each, json_option, say
from llmos_cli.render import printable, short
from llmos_cli.tools_generated import (
    disable,
    generalize,
    generated,
    rollback,
    show_generated,
)
from llmos_workers.contracts.errors import InvalidOption, NotThere

if TYPE_CHECKING:
    from llmos_workers.contracts.tools import ToolSpec


@click.group()
def tools() -> None:
    """See what agents may be granted, and what traces became.

    Needs the workspace on this machine. An agent uses a tool when its front matter names it.
    """


@tools.command("list")
@json_option
@click.pass_obj
def list_tools(session: Session, as_json: bool) -> int:
    """List all tools.

    Built in, from installed packages, from workspace/tools.
    """
    return _print(session.registry.specs(), as_json=as_json)


@tools.command()
@click.argument("name")
@json_option
@click.pass_obj
def show(session: Session, name: str, as_json: bool) -> int:
    """Show what model and gate know of the tool NAME.

    Of a generated one its source.
    """
    tool = session.registry.find(name)
    if tool is None and (shown := show_generated(session, name, as_json=as_json)) is not None:
        return shown
    if tool is None:
        raise NotThere(f"there is no tool {short(name)!r}.", fix="See: llmos tools list.")
    if as_json:
        emit(_data(tool.spec))
        return Exit.SUCCEEDED
    spec = tool.spec
    print(printable(f"{spec.name}  {spec.effect.value}  version {spec.version}"))
    print(printable(spec.description))
    print(json.dumps(spec.input_schema, ensure_ascii=False, indent=2))
    return Exit.SUCCEEDED


@tools.command()
@click.argument("query", nargs=-1, required=True)
@click.option(
    "--limit", metavar="N", type=click.IntRange(1, 20), help="How many (default: execution.top_k)."
)
@click.option("--words", is_flag=True, help="Compare words only, not meanings.")
@json_option
@click.pass_obj
def search(
    session: Session, query: tuple[str, ...], limit: int | None, words: bool, as_json: bool
) -> int:
    """Find the tools that fit a need.

    As an agent with many tools does.
    """
    from llmos_workers.execution.tools.search_engine import ToolSearchEngine
    from llmos_workers.learning.matching.embedder import load_embedder
    from llmos_workers.runtime_tools import embed_with

    config = session.config
    meanings = config.execution.search_embeddings and not words
    embed = embed_with(load_embedder(config.index)) if meanings else None
    engine = ToolSearchEngine(session.registry.specs(), embed=embed)
    found = engine.search_tools(" ".join(query), limit or config.execution.top_k)
    return _print([one.spec for one in found], as_json=as_json)


@tools.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@click.pass_obj
def sign(session: Session, file: Path, as_json: bool) -> int:
    """Vouch for a Python file of workspace/tools as it stands.

    Its code runs in the workers.
    """
    from llmos_workers.execution.tools.plugins import sign_file

    folder = session.config.workspace / "tools"
    if file.resolve().parent != folder.resolve() or file.suffix != ".py":
        raise InvalidOption(f"{short(str(file))!r} is no Python file of {folder}.")
    made = sign_file(file, session.client.keys)
    say({"signed": str(file), "signature": str(made)}, f"wrote {made}", as_json=as_json)
    return Exit.SUCCEEDED


tools.add_command(generated)
tools.add_command(disable)
tools.add_command(rollback)
tools.add_command(generalize)


def _print(specs: list[ToolSpec], *, as_json: bool) -> int:
    if as_json:
        emit_each(_data(spec) for spec in specs)
        return Exit.SUCCEEDED
    for spec in specs:
        print(
            printable(f"{spec.name:24} {spec.effect.value:11} {spec.description.splitlines()[0]}")
        )
    if not specs:
        print("no tool fits.")
    return Exit.SUCCEEDED


def _data(spec: ToolSpec) -> dict[str, Any]:
    return data_of(spec) | {"version": spec.version}
