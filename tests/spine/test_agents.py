"""An agent that an agent made works at once, on every worker."""

from __future__ import annotations

from pathlib import Path

from llmos_workers.client import LLMOS
from llmos_workers.contracts.modes import Mode

TIMEOUT = 60


def test_the_goal_create_a_haiku_poet_agent_ends_in_an_agent_that_writes_a_haiku(
    llmos: LLMOS, project: str, output: Path
) -> None:
    made = llmos.submit("Create a haiku poet agent", project=project).result(TIMEOUT)
    assert made.status == "SUCCEEDED", made.error
    poet = llmos.agent_factory.loader.get("haiku-poet")
    assert poet.tools == ("Read", "Write")
    [version] = llmos.agent_factory.history.versions("haiku-poet")
    assert (version.by, version.goal_id) == ("agent system-agent", made.goal_id)

    goal = llmos.submit("Write a haiku about autumn", project=project, agent="haiku-poet")
    outcome = goal.result(TIMEOUT)
    assert outcome.status == "SUCCEEDED", outcome.error
    assert (output / "haiku.txt").read_text().startswith("Autumn")
    assert llmos.agent_records.of(["haiku-poet"])["haiku-poet"].succeeded == 1

    # Who makes agents is no file of the project: it is not replayed, and a name is taken once.
    again = llmos.submit("Create a haiku poet agent", project=project).result(TIMEOUT)
    assert again.mode is not Mode.FOLLOWER
    assert len(llmos.agent_factory.history.versions("haiku-poet")) == 1


def test_the_agent_that_fits_best_thinks_where_a_goal_asks_for_that(
    llmos: LLMOS, project: str
) -> None:
    goal = llmos.submit("Create a Python calculator", project=project, agent="auto", mode="LEARNER")
    assert goal.result(TIMEOUT).status == "SUCCEEDED"
    told = [event.data.get("message", "") for event in goal.events()]
    assert any("chosen for this goal" in words for words in told)
