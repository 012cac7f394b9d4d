"""``llmos judge stats``: how the judges of new wordings did so far."""

from __future__ import annotations

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.output import emit, json_option
from llmos_workers.contracts.base import format_usd


@click.group()
def judge() -> None:
    """See how the models did that judge new wordings of known goals."""


@judge.command()
@json_option
@click.pass_obj
def stats(session: Session, as_json: bool) -> int:
    """Show each judge's verdicts and how they came out.

    And whether its yes is followed at once.
    """
    from llmos_workers.client_connect import talking
    from llmos_workers.learning.verdicts import Verdicts

    allowed = session.config.dispatcher.max_replay_error
    with talking(session.client.place, "reading the judges' records"):
        records = Verdicts(session.client.redis).records()
    if as_json:
        for r in records:
            emit({
                "judge": r.name, "yes": r.yes, "no": r.no, "unsure": r.unsure,
                "right": r.right, "wrong": r.wrong, "missed": r.missed,
                "false_bound": round(r.false_bound, 5), "max_replay_error": allowed,
                "trusted": r.trusted(allowed), "cost_micro": r.cost_micro,
            })  # fmt: skip
        return Exit.SUCCEEDED
    for r in records:
        standing = "followed at once" if r.trusted(allowed) else "on probation"
        print(
            f"{r.name}: {standing}\n"
            f"  verdicts  {r.yes} yes, {r.no} no, {r.unsure} unsure; {format_usd(r.cost_micro)}\n"
            f"  came out  {r.right} right, {r.wrong} wrong, {r.missed} missed\n"
            f"  error     at most {r.false_bound:.2%} of its yes are wrong (95 %), "
            f"{allowed:.2%} is allowed"
        )
    if not records:
        print("no judge has said anything yet.")
    return Exit.SUCCEEDED
