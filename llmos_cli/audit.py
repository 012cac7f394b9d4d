"""``llmos audit``: the live rate of wrong replays, as shadow audits found it."""

from __future__ import annotations

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import project_option
from llmos_cli.output import data_of, emit, json_option
from llmos_cli.render import printable, short
from llmos_workers.client_connect import talking
from llmos_workers.contracts.audits import AuditCounts, AuditVerdict
from llmos_workers.kernel.audits import Audits
from llmos_workers.learning.posterior import upper_bound


@click.command()
@project_option("Only audits of this project.")
@click.option("--limit", metavar="N", default=10, show_default=True, type=click.IntRange(0, 1000),
              help="Most verdicts to show.")  # fmt: skip
@json_option
@click.pass_obj
def audit(session: Session, project: str | None, limit: int, as_json: bool) -> int:
    """Tell how often a replay was wrong.

    The sample is dispatcher.audit_share of all replayed goals, within
    dispatcher.audit_usd_per_day. Differences that may be a matter of wording are unclear: they
    are listed, and count neither way.
    """
    with talking(session.client.place, "asking about audits"):
        audits = Audits(session.client.redis)
        counts, verdicts = audits.counts(project), audits.newest(project=project, limit=limit)
    figures = rate(counts)
    if as_json:
        emit(figures | {"verdicts": [data_of(verdict) for verdict in verdicts]})
        return Exit.SUCCEEDED
    print("\n".join(_lines(counts, figures, verdicts)))
    return Exit.SUCCEEDED


def rate(counts: AuditCounts) -> dict[str, float | int | None]:
    """The figures: counts, the share that disagreed (None without audits), and its one-sided
    95 % upper bound.
    """
    share = counts.disagreed / counts.decided if counts.decided else None
    return {
        **counts.model_dump(),
        "wrong_rate": share,
        "wrong_rate_upper_95": upper_bound(counts.disagreed, counts.decided),
    }


def _lines(
    counts: AuditCounts, figures: dict[str, float | int | None], verdicts: list[AuditVerdict]
) -> list[str]:
    if not counts.decided and not counts.unclear:
        return [
            "no replay was audited yet. dispatcher.audit_share sets the share of replayed goals",
            "that a model runs again to compare (0 is off).",
        ]
    lines = [
        f"audited replays: {counts.agreed} agreed, {counts.disagreed} disagreed, "
        f"{counts.unclear} unclear",
    ]
    if figures["wrong_rate"] is not None:
        lines.append(
            f"wrong replays: {figures['wrong_rate']:.2%}, "
            f"at most {figures['wrong_rate_upper_95']:.2%} (95 %)"
        )
    for verdict in verdicts:
        lines.append(
            f"  {verdict.agreement:9}  {verdict.goal_id}  {printable(short(verdict.goal_text, 60))}"
        )
        lines += [f"             {printable(reason)}" for reason in verdict.why]
    return lines
