"""A trace that was used often and well becomes a tool, which does what the trace does."""

import pytest

from llmos_workers.contracts.modes import Mode
from llmos_workers.flow.crystallize import crystallize_due
from tests.support.script import calls, says, text, use

DONE = says(text("Done."))
GOAL = "Copy sales.csv to backup.csv"
AUTO = {"dispatcher": {"auto_crystallization": True}}


@pytest.fixture
def sales(flow):
    (flow.area / "sales.csv").write_text("a,1\n")
    (flow.area / "prices.csv").write_text("b,2\n")
    flow.model(calls(use("Bash", command="cp sales.csv backup.csv")), DONE)
    assert flow.run(GOAL).ok
    yield flow
    flow.runtime.runners.close()


def used(flow, times=5):
    for _ in range(times):
        outcome = flow.run(GOAL)
        assert outcome.mode is Mode.FOLLOWER, outcome.reason


@pytest.mark.parametrize("flow", [AUTO], indirect=True)
def test_after_five_good_uses_a_trace_becomes_a_tool(sales):
    used(sales, 4)
    assert crystallize_due(sales.runtime) == "none due"
    used(sales, 1)
    ref = crystallize_due(sales.runtime)
    assert sales.trace(GOAL).crystallized_into_tool == ref
    (sales.area / "backup.csv").unlink()
    outcome = sales.run(GOAL)
    assert (outcome.mode, outcome.tool, outcome.llm_calls) == (Mode.CRYSTALLIZED, ref, 0)
    assert (sales.area / "backup.csv").read_text() == "a,1\n"
    other = sales.run("Copy prices.csv to saved.csv")
    assert (other.mode, other.tool) == (Mode.CRYSTALLIZED, ref), other.reason
    assert (sales.area / "saved.csv").read_text() == "b,2\n"
