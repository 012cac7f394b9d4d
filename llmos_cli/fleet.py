"""``llmos up | worker | flower``: the processes of the system."""

from __future__ import annotations

import importlib.util
import os
import secrets
import sys
from pathlib import Path

import click

from llmos_cli.context import Session
from llmos_cli.options import offers
from llmos_workers.contracts.errors import ConfigError, InvalidOption

FLOWER_DEFAULTS = {
    # /metrics and /healthcheck ask nobody for a password: they stay on this machine.
    "FLOWER_ADDRESS": "127.0.0.1",
    "FLOWER_PORT": "5555",
    "FLOWER_MAX_TASKS": "20000",
    "FLOWER_PURGE_OFFLINE_WORKERS": "300",
    "FLOWER_NATURAL_TIME": "true",
    # Its buttons and API start tasks and stop workers.
    "FLOWER_READ_ONLY": "true",
}
FLOWER_USER = "llmos"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command()
@click.option("--concurrency", multiple=True, metavar="ROLE=N", help="Slots of a role; repeat.")
@click.pass_obj
def up(session: Session, concurrency: tuple[str, ...]) -> int:
    """Run everything on this machine: Redis and all workers.

    In the foreground; the Redis is private.

    With ANTHROPIC_API_KEY or a base_url goals are answered by that model; with neither by the
    rehearsal model, which is scripted and knows a few job families only. Ctrl-C stops all.
    """
    from llmos_cli.up import run

    return run(session.config, slots(concurrency))


@click.command()
@click.argument("role", metavar="ROLE", shell_complete=offers("roles"))
@click.option("--concurrency", type=int, metavar="N", help="Tasks at a time (default: the role's).")
@click.option("--log-level", help="Least level that is logged (default: logging.level).")
@click.pass_obj
def worker(session: Session, role: str, concurrency: int | None, log_level: str | None) -> int:
    """Run one worker of ROLE: dispatch, llm, replay or upkeep.

    TERM ends it without losing what it works on.
    """
    from llmos_workers.worker import exec_worker, worker_arguments

    worker_arguments(role, concurrency)  # refuses an unknown role before anything is replaced
    session.export()
    exec_worker(role, concurrency, log_level=log_level)
    return 0


@click.command()
@click.option("--port", type=click.IntRange(1, 65_535), help="Port (default: 5555).")
@click.option("--address", help="Address to listen on (default: 127.0.0.1).")
@click.option("--read-only/--control", default=None,
              help="Only look (default), or also change workers and start tasks.")  # fmt: skip
@click.pass_obj
def flower(session: Session, port: int | None, address: str | None, read_only: bool | None) -> int:
    """Run Flower, the web view of workers and tasks.

    Read-only and behind a password.

    User and password come from FLOWER_BASIC_AUTH (user:password), or from the file that
    FLOWER_BASIC_AUTH_FILE names; without them a password is made and shown once. All other
    FLOWER_* variables are Flower's own. Needs the extra llmos-workers[flower].
    """
    if importlib.util.find_spec("flower") is None:
        raise ConfigError("Flower is not installed.", fix="pip install 'llmos-workers[flower]'")
    given = {
        "FLOWER_PORT": port, "FLOWER_ADDRESS": address, "FLOWER_READ_ONLY": read_only,
    }  # fmt: skip
    os.environ.update({name: str(value) for name, value in given.items() if value is not None})
    password = flower_environment(os.environ)
    url = f"http://{os.environ['FLOWER_ADDRESS']}:{os.environ['FLOWER_PORT']}"
    login = f"user {FLOWER_USER}, password {password}" if password else "login: FLOWER_BASIC_AUTH"
    print(f"Flower on {url}\n{login}", flush=True)
    if os.environ["FLOWER_ADDRESS"] not in LOOPBACK:
        print(
            "warning: /metrics and /healthcheck are open to whoever reaches this address, and "
            "the password travels unencrypted; put a TLS proxy in front.",
            file=sys.stderr,
        )
    session.export()
    argv = [sys.executable, "-m", "celery", "-A", "llmos_workers", "flower"]
    os.execv(argv[0], argv)  # noqa: S606 - a fresh interpreter is the point


def flower_environment(env: os._Environ[str] | dict[str, str]) -> str | None:
    """Fill in what Flower reads from its environment; the password if one had to be made.

    Raises ConfigError for a file with the login that cannot be read.
    """
    if path := env.pop("FLOWER_BASIC_AUTH_FILE", None):
        env["FLOWER_BASIC_AUTH"] = _login_of(path)
    for name, value in FLOWER_DEFAULTS.items():
        env.setdefault(name, value)
    if env.get("FLOWER_BASIC_AUTH") or env.get("FLOWER_AUTH_PROVIDER"):
        return None
    password = secrets.token_urlsafe(12)
    env["FLOWER_BASIC_AUTH"] = f"{FLOWER_USER}:{password}"
    return password


def _login_of(path: str) -> str:
    try:
        login = Path(path).read_text().strip()
    except OSError as error:
        words = f"FLOWER_BASIC_AUTH_FILE: {path} cannot be read: {error.strerror}."
        raise ConfigError(words) from None
    if not all(login.partition(":")):
        raise ConfigError(f"FLOWER_BASIC_AUTH_FILE: {path} holds no user:password.")
    return login


def slots(pairs: tuple[str, ...]) -> dict[str, int | None]:
    """``ROLE=N`` pairs over the roles' own numbers. Raises InvalidOption, ConfigError."""
    from llmos_workers.worker import ROLES, find_role

    wanted: dict[str, int | None] = dict.fromkeys(ROLES)
    for pair in pairs:
        role, _, number = pair.partition("=")
        find_role(role)
        if not number.isdecimal() or int(number) < 1:
            raise InvalidOption(f"{pair!r} is no concurrency.", fix="Write ROLE=N, as in llm=8.")
        wanted[role] = int(number)
    return wanted
