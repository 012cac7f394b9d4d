"""``llmos config show`` and ``llmos version``."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed

import click

from llmos_cli.context import Session
from llmos_cli.options import json_option
from llmos_cli.render import to_json
from llmos_workers.config_sources import describe_config


@click.group()
def config() -> None:
    """Look at the settings."""


@config.command()
@json_option
@click.pass_obj
def show(session: Session, as_json: bool) -> int:
    """Print every setting with where it comes from; secrets are masked."""
    rows = describe_config(session.config, session.sources)
    if as_json:
        print(to_json({key: {"value": value, "source": source} for key, value, source in rows}))
        return 0
    width = max(len(key) for key, _, _ in rows)
    for key, value, source in rows:
        print(f"{key:<{width}}  {value or '-':<28}  {source}")
    return 0


@click.command()
@json_option
def version(as_json: bool) -> int:
    """Print the versions of llmos, Python and the parts that matter."""
    parts = {"llmos": installed("llmos-workers"), "python": sys.version.split()[0]}
    parts |= {name: installed(name) for name in ("celery", "redis", "anthropic", "qdrant-client")}
    print(to_json(parts) if as_json else "\n".join(f"{n} {v}" for n, v in parts.items()))
    return 0
