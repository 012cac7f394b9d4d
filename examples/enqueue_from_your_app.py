"""Enqueue goals from any Python program, and print what came of them.

Start a stack first (`llmos up`), then: python examples/enqueue_from_your_app.py
"""

from llmos_workers import LLMOS

GOALS = [
    "Create a Python calculator",
    "Build a calculator in Python",
]

with LLMOS() as llmos:
    handles = [llmos.submit(goal, project="example") for goal in GOALS]
    for handle in handles:
        outcome = handle.result(timeout=300)
        dollars = outcome.cost_micro / 1e6
        print(f"{outcome.status}  {outcome.mode}  ${dollars:.4f}  {outcome.text}")
