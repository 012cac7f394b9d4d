"""``llmos webhooks``: deliveries that were given up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import limit_option
from llmos_cli.output import emit, json_option, moment
from llmos_cli.render import printable, short
from llmos_workers.client_connect import talking
from llmos_workers.contracts.errors import UsageError
from llmos_workers.kernel.clock import iso
from llmos_workers.kernel.webhooks import MAX_DEAD, Webhooks


@click.group()
def webhooks() -> None:
    """See to deliveries of webhooks that were given up."""


@webhooks.command(name="list")
@limit_option("Most deliveries to show.", MAX_DEAD)
@json_option
@click.pass_obj
def list_dead(session: Session, limit: int, as_json: bool) -> int:
    """List deliveries that were given up, newest first.

    The URL is shown, without its path, where this machine's settings name it.
    """
    with talking(session.client.place, "listing webhooks"):
        found = _store(session).dead(limit=limit)
    if as_json:
        for one in found:
            facts = {"at": moment(float(one["at"])), "attempts": int(one["attempts"] or 0)}
            emit(one | facts)
    else:
        print("\n".join(_rows(found)) if found else "no dead deliveries.")
    return Exit.SUCCEEDED


@webhooks.command()
@click.argument("delivery_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that were given up.")
@json_option
@click.pass_obj
def retry(session: Session, delivery_ids: Sequence[str], everything: bool, as_json: bool) -> int:
    """Send dead deliveries again, under the same id."""
    if everything == bool(delivery_ids):
        raise UsageError("name the deliveries, or say --all.", fix="See llmos webhooks list.")
    store = _store(session)
    with talking(session.client.place, "retrying webhooks"):
        chosen = delivery_ids or [one["delivery_id"] for one in store.dead(limit=MAX_DEAD)]
        for delivery_id in chosen:
            store.retry(delivery_id)
            if as_json:
                emit({"delivery_id": delivery_id})
            else:
                print(f"delivery {delivery_id} is tried again.")
    return Exit.SUCCEEDED


def _store(session: Session) -> Webhooks:
    client = session.client
    return Webhooks(client.redis, client.goals, client.clock, client.config.webhooks)


def _rows(found: Sequence[Mapping[str, str]]) -> list[str]:
    lines = [f"{'DELIVERY':<36}  {'GIVEN UP':<20}  ATTEMPTS  GOAL, URL AND ERROR"]
    for one in found:
        what = "  ".join(part for part in (one["goal_id"], one["url"], short(one["error"])) if part)
        head = f"{one['delivery_id']:<36}  {iso(float(one['at'])):<20}  {one['attempts']:>8}"
        lines.append(printable(f"{head}  {what}"))
    return lines
