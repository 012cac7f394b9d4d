"""Errors that no command put into words: what the machine says, as llmos says it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llmos_workers.contracts.errors import (
    DataError,
    InfrastructureError,
    LLMOSError,
    ToolError,
    UsageError,
)

if TYPE_CHECKING:
    import click

FIXES: tuple[tuple[type[LLMOSError], str], ...] = (
    (UsageError, "See llmos {name} --help."),
    (DataError, "Correct the file."),
    (ToolError, "Check that it is there, and that you may read and write it."),
    (InfrastructureError, "llmos doctor says what is missing."),
)


@contextmanager
def worded(ctx: click.Context) -> Iterator[None]:
    """Run a command: failures of Redis and of files become errors of ours, and an error without a
    fix gets that of its kind. ``ctx`` is that of the first level; its object is the Session.
    """
    try:
        yield
    except LLMOSError as error:
        error.fix = error.fix or _fix(error, ctx.invoked_subcommand or "")
        raise
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is None:
            raise
        raise InfrastructureError(
            f"{error.filename}: {error.strerror or type(error).__name__}.",
            fix="Check that it is there, and that you may read and write it.",
        ) from error
    except Exception as error:
        if not type(error).__module__.startswith("redis."):
            raise
        from llmos_workers.client_connect import talking

        with talking(ctx.obj.client.place, f"running llmos {ctx.invoked_subcommand}"):
            raise


def _fix(error: LLMOSError, name: str) -> str:
    return next((fix.format(name=name) for kind, fix in FIXES if isinstance(error, kind)), "")
