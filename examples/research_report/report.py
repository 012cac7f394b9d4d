"""A report by several agents: a plan, its steps, a review. See README.md beside this."""

import shutil
from pathlib import Path

from llmos_workers import LLMOS

HERE = Path(__file__).parent
PROJECT = "research"
GOAL = (
    "Summarize market.csv into findings.md; extract the email addresses of contacts.txt into "
    "people.txt; copy findings.md to report.md; write a README for the project Market"
)
INPUTS = {
    "market.csv": "quarter,region,units\nQ1,north,120\nQ1,south,80\nQ2,north,150\nQ2,south,95\n",
    "contacts.txt": "Ann Lee <ann@example.org>\nBo Ek <bo@example.org>\n",
}

with LLMOS() as llmos:
    workspace = llmos.config.workspace
    folder = workspace / "projects" / PROJECT / "output"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in INPUTS.items():
        (folder / name).write_text(content)
    for name in ("analyst.md", "editor.md"):
        shutil.copy(HERE / name, workspace / "agents")

    outcome = llmos.submit(GOAL, project=PROJECT, mode="ORCHESTRATOR", budget_usd=1.0).result(600)
    print(f"{outcome.status}  {outcome.mode}  ${outcome.cost_micro / 1e6:.4f}  {outcome.reason}")
    for step in outcome.plan.steps if outcome.plan else ():
        who, cost = step["agent"] or "default", f"${step['cost_micro'] / 1e6:.4f}"
        print(f"  {step['layer']}  {who:8} {step['mode']:9} {cost}  {step['goal']}")
    if outcome.plan:
        missing = ", ".join(outcome.plan.missing) or "nothing"
        print(f"reviewed by: {outcome.plan.review}; missing: {missing}")
    for digest in outcome.files:
        print(f"  {folder / digest.path}")
