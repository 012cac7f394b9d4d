"""``llmos explain``: what would be done with a goal, and why."""

from __future__ import annotations

from typing import Any

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit, exit_of
from llmos_cli.options import project_option, timeout_option
from llmos_cli.output import emit, json_option
from llmos_cli.progress import working
from llmos_cli.render import dry_run_lines, printable, short
from llmos_cli.waiting import asking, tell


@click.command()
@click.argument("goal")
@project_option("Project whose traces count (default: default).")
@timeout_option("Leave after so long (default: 30).")
@json_option
@click.pass_obj
def explain(
    session: Session, goal: str, project: str | None, timeout: float | None, as_json: bool
) -> int:
    """Tell how GOAL would run, and why.

    Each candidate, what agreed and differed, its confidence and threshold, what stands against it,
    and what a judge said. Runs nothing, asks no model.
    """
    wait_s = 30.0 if timeout is None else timeout
    with asking(session.client), working("waiting for a worker", quiet=as_json):
        outcome = session.client.explain(goal, project=project, timeout=wait_s)
    told = outcome.dry_run
    if told is None:
        tell(outcome, as_json=as_json)
        return exit_of(outcome)
    if as_json:
        emit(told)
    else:
        print("\n".join(printable(line) for line in lines(told)))
    return Exit.SUCCEEDED


def lines(told: dict[str, Any]) -> list[str]:
    """An explanation for people."""
    head = [f"{told['mode']}: {told['reason']}"]
    if told.get("to_judge"):
        head.append(f"a judge would be asked about trace {told['to_judge']} first")
    found = [line for c in told["candidates"] for line in ("", *candidate_lines(c))]
    return [*head, *(found or ["no candidates."]), "", *dry_run_lines(told)]


def candidate_lines(one: dict[str, Any]) -> list[str]:
    """One candidate: how it was found and how sure it is, then everything for and against."""
    found = f"trace {one['trace_id']}  {short(one['goal_text'], 80)}"
    sure = (
        f"  {one['stage']}: confidence {one['confidence']:.3f}, relatedness "
        f"{one['relatedness']:.2f}; followed from {_threshold(one)}"
    )
    facts = {
        "agreed": one["agreed"],
        "differed": one["differed"],
        "slots": [f"{name} = {value}" for name, value in one["slots"].items()],
        "against": one.get("against") or [],
        "judge": _verdict(one.get("verdict")),
    }
    shown = [f"  {name + ':':<9} {'; '.join(values)}" for name, values in facts.items() if values]
    return [found, sure, *shown]


def _threshold(one: dict[str, Any]) -> str:
    if "threshold" not in one:
        return "nowhere"
    outcomes = one["outcomes"]
    count = outcomes["right"] + outcomes["wrong"]
    at = f"{one['threshold']:.3g}" if one["threshold"] <= 1 else "nowhere for now"
    if not count:
        return f"{at} (no labelled outcomes)"
    return f"{at} ({outcomes['wrong']} of {count} labelled outcomes were wrong)"


def _verdict(verdict: dict[str, Any] | None) -> list[str]:
    if verdict is None:
        return []
    label = f", which was {verdict['label']}" if verdict["label"] else ""
    return [f"{verdict['judge']} said {verdict['answer']} on {verdict['at']}{label}",
            *verdict["reasons"]]  # fmt: skip
