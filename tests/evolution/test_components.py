"""Agents and generated tools in one list, as they are now."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from llmos_workers.evolution.agents import AgentLoader
from llmos_workers.evolution.components import ComponentKind, ComponentRegistry
from llmos_workers.evolution.generated import GeneratedTools
from llmos_workers.kernel.agent_records import AgentRecords
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.signing import KeyRing
from llmos_workers.kernel.workspace import Workspace

POET = (
    "---\nname: poet\ndescription: Writes haikus.\ntools: [Write]\n"
    "capabilities: [Haiku, rhyme]\n---\nYou write.\n"
)


@pytest.fixture
def registry(state: redis.Redis, tmp_path: Path) -> ComponentRegistry:
    workspace = Workspace(tmp_path)
    workspace.agents.mkdir(parents=True, exist_ok=True)
    (workspace.agents / "poet.md").write_text(POET)
    shelf = GeneratedTools(workspace, KeyRing(workspace.keys, clock=SystemClock()))
    return ComponentRegistry(AgentLoader(workspace), AgentRecords(state), shelf)


def test_an_agent_is_listed_with_its_rights_and_its_record(registry, state) -> None:
    AgentRecords(state).count("poet", ok=True)
    AgentRecords(state).count("poet", ok=False)
    [poet] = registry.components("demo")
    assert (poet.kind, poet.name, poet.uses) == (ComponentKind.AGENT, "poet", ("Write",))
    assert (poet.succeeded, poet.failed) == (1, 1)
    assert registry.find("poet") == poet
    assert registry.find("nobody") is None
    assert registry.able_to("haiku ") == [poet]
    assert registry.able_to("sonnets") == []


def test_what_is_added_later_is_seen_at_once_and_chosen_where_it_fits(registry, tmp_path) -> None:
    other = POET.replace("poet", "cook").replace("Writes haikus", "Cooks soups and stews")
    goal = "Cook a stew of soups"
    assert registry.agent_for(goal, otherwise="system-agent") == "system-agent"
    (Workspace(tmp_path).agents / "cook.md").write_text(other)
    assert registry.agent_for(goal, otherwise="system-agent") == "cook"
    assert [fit.agent.name for fit in registry.rank(goal)] == ["cook"]
