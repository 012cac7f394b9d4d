"""``llmos metrics``: the system's figures for Prometheus, over HTTP."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.fleet import LOOPBACK
from llmos_workers.client_connect import talking
from llmos_workers.contracts.errors import ConfigError, InfrastructureError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


@click.command()
@click.option("--port", default=9464, show_default=True, type=click.IntRange(1, 65_535),
              help="Port to listen on.")  # fmt: skip
@click.option("--address", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--once", is_flag=True, help="Print the metrics once and end.")
@click.pass_obj
def metrics(session: Session, port: int, address: str, once: bool) -> int:
    """Serve the system's figures to Prometheus, on /metrics.

    It reads from Redis at each scrape; workers know nothing of it. Needs the extra
    llmos-workers[metrics]. Nobody is asked for a password: keep it on this machine or in a private
    network.
    """
    registry = _registry(session)
    if once:
        from prometheus_client import generate_latest

        with talking(session.client.place, "reading the figures"):
            session.client.redis.ping()
        sys.stdout.write(generate_latest(registry).decode())
        return Exit.SUCCEEDED
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(port, addr=address, registry=registry)
    except OSError as error:
        raise InfrastructureError(
            f"cannot listen on {address}:{port}: {error}.", fix="Choose another --port."
        ) from error
    print(f"metrics on http://{address}:{port}/metrics", flush=True)
    if address not in LOOPBACK:
        print("warning: whoever reaches this address reads the figures.", file=sys.stderr)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    server.shutdown()
    server.server_close()
    thread.join(5)
    return Exit.SUCCEEDED


def _registry(session: Session) -> CollectorRegistry:
    """A registry with the system in it alone. Raises ConfigError without the extra."""
    try:
        from prometheus_client import CollectorRegistry
    except ImportError:
        raise ConfigError(
            "prometheus-client is not installed.", fix="pip install 'llmos-workers[metrics]'"
        ) from None
    from llmos_workers.monitor.exposition import SystemCollector

    registry = CollectorRegistry()
    registry.register(SystemCollector(session.client))
    return registry
