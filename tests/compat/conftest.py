"""The command line, as the tests of it run it."""

from tests.cli.conftest import bare_run, run

__all__ = ["bare_run", "run"]
