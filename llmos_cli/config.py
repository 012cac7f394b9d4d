"""``llmos config show`` and ``llmos version``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import click

from llmos_cli.context import Session
from llmos_cli.output import emit_each, json_option, say
from llmos_workers.config_sources import describe_config

PARTS = ("celery", "redis", "anthropic", "qdrant-client")


@click.group()
def config() -> None:
    """Look at the settings."""


@config.command()
@json_option
@click.pass_obj
def show(session: Session, as_json: bool) -> int:
    """Print every setting with where it comes from.

    Secrets are masked.
    """
    rows = describe_config(session.config, session.sources)
    if as_json:
        emit_each({"name": key, "value": value, "source": source} for key, value, source in rows)
        return 0
    width = max(len(key) for key, _, _ in rows)
    for key, value, source in rows:
        print(f"{key:<{width}}  {value or '-':<28}  {source}")
    return 0


def _packages() -> Iterator[tuple[str, str]]:
    """Names and versions of PARTS; what belongs to an extra may not be there."""
    for name in PARTS:
        with suppress(PackageNotFoundError):
            yield name, installed(name)


@click.command()
@json_option
def version(as_json: bool) -> int:
    """Print the versions of llmos, Python and the parts that matter."""
    parts = {"llmos": installed("llmos-workers"), "python": sys.version.split()[0]}
    packages = dict(_packages())
    text = "\n".join(f"{name} {number}" for name, number in (parts | packages).items())
    say(parts | {"packages": packages}, text, as_json=as_json)
    return 0
