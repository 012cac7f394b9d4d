"""Reports by the clock: reports.py add FILE CRON | show. See README.md beside this."""

import shutil
import sys
from pathlib import Path

from llmos_workers import LLMOS
from llmos_workers.contracts.goal import GoalOptions

PROJECT = "reports"


def add(llmos: LLMOS, source: Path, cron: str) -> None:
    """Place the file and make the schedule; one that is there already is left."""
    folder = llmos.config.workspace / "projects" / PROJECT / "output"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, folder)
    goal = f"Summarize {source.name} into {source.stem}_summary.md"
    if goal in {each.goal for each in llmos.schedules.list()}:
        print(f"{source.name} has a schedule.")
        return
    options = GoalOptions(project=PROJECT, budget_micro=500_000)  # half a dollar each at most
    made = llmos.schedules.add(cron, goal, options=options, zone="Europe/Vienna")
    print(f"{made.schedule_id}: {goal}, {made.cron} in {made.zone}")


def show(llmos: LLMOS) -> None:
    """What came of each firing, oldest first."""
    for record in reversed(llmos.list(project=PROJECT)):
        outcome = record.outcome
        if outcome is None:
            print(f"{record.state:10} {record.text}")
            continue
        mode, cost = outcome.mode or "-", f"${outcome.cost_micro / 1e6:.4f}"
        print(f"{outcome.status:10} {mode:9} {cost}  {outcome.text.splitlines()[0]}")


with LLMOS() as client:
    match sys.argv[1:]:
        case ["add", source, cron]:
            add(client, Path(source), cron)
        case ["show"]:
            show(client)
        case _:
            sys.exit(__doc__)
