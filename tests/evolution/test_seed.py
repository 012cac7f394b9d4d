"""The shipped agents are sound, and come into a workspace that has none."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from llmos_workers.contracts.errors import LLMOSError
from llmos_workers.evolution.agents import AgentLoader
from llmos_workers.evolution.seed import install_seed_agents, seed_folder
from llmos_workers.execution.tools.registry import ToolRegistry
from llmos_workers.kernel.workspace import Workspace

CONTROL = {"create_agent", "modify_agent", "list_agents"}
SHIPPED = [
    "coder",
    "data-analyst",
    "researcher",
    "reviewer",
    "system-agent",
    "toolsmith",
    "writer",
]


def test_a_fresh_workspace_gets_all_shipped_agents(tmp_path: Path) -> None:
    assert install_seed_agents(tmp_path / "ws") == SHIPPED
    loader = AgentLoader(tmp_path / "ws")
    assert [agent.name for agent in loader.load_agents()] == SHIPPED
    assert loader.problems() == []
    assert install_seed_agents(tmp_path / "ws") == []


def test_what_is_there_is_left_alone_and_what_was_deleted_stays_away(tmp_path: Path) -> None:
    install_seed_agents(tmp_path)
    (tmp_path / "agents" / "writer.md").unlink()
    (tmp_path / "agents" / "coder.md").write_text("mine")
    assert install_seed_agents(tmp_path) == []
    assert not (tmp_path / "agents" / "writer.md").exists()
    assert (tmp_path / "agents" / "coder.md").read_text() == "mine"


def test_a_worker_that_starts_while_another_installs_waits_for_all_agents(tmp_path: Path) -> None:
    found: list[str] = []

    def start() -> None:
        install_seed_agents(tmp_path)
        found.extend(agent.name for agent in AgentLoader(tmp_path).load_agents())

    second = threading.Thread(target=start)

    class Interrupted(Workspace):
        def write_atomic(self, path: Path | str, data: bytes) -> Path:
            written = super().write_atomic(path, data)
            if second.ident is None:
                second.start()
                second.join(0.3)  # without a lock it is done by then, having seen one agent
            return written

    install_seed_agents(Interrupted(tmp_path))
    second.join(20)
    assert found == SHIPPED


def test_shipped_agents_are_granted_only_tools_that_exist() -> None:
    known = set(ToolRegistry.builtin().versions()) | CONTROL
    for agent in AgentLoader(seed_folder().parent).load_agents():
        assert set(agent.tools) <= known, agent.name
        assert len(agent.prompt) > 1_000, agent.name


def test_the_default_agent_has_the_basic_tools_and_may_make_agents() -> None:
    agent = AgentLoader(seed_folder().parent).get("system-agent")
    assert set(agent.tools) == {"Read", "Write", "Edit", "Glob", "Grep", "Bash"} | CONTROL

    assert agent.model is None


def test_the_reviewer_cannot_write() -> None:
    agent = AgentLoader(seed_folder().parent).get("reviewer")
    assert not {"Write", "Edit"} & set(agent.tools)


def test_an_unwritable_workspace_is_told(tmp_path: Path) -> None:
    (tmp_path / "agents").write_text("a file in the way")
    with pytest.raises(LLMOSError, match="agents"):
        install_seed_agents(tmp_path)
