"""Agents are made, changed and taken back; nobody gives more than they have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_workers.contracts.agents import AgentDefinition
from llmos_workers.contracts.errors import (
    InvalidOption,
    MalformedFile,
    NotThere,
    ToolDenied,
    UnknownAgent,
)
from llmos_workers.evolution.agent_factory import AgentFactory
from llmos_workers.evolution.agent_file import parse_agent, render_agent
from llmos_workers.evolution.agent_rules import Author
from llmos_workers.evolution.agents import AgentLoader
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.events import EventBus
from llmos_workers.kernel.workspace import Workspace

PERSON = Author()
WRITER = Author(agent="writer", grants=frozenset({"Read", "Write"}), goal_id="g1")


def poet(**changes: Any) -> AgentDefinition:
    fields = {"name": "poet", "description": "Writes poems.", "prompt": "You write.",
              "tools": ("Write",)}  # fmt: skip
    return AgentDefinition(**fields | changes)


@pytest.fixture
def factory(tmp_path: Path) -> AgentFactory:
    workspace = Workspace(tmp_path).ensure()
    return AgentFactory(workspace, AgentLoader(workspace), SystemClock(), bus=EventBus())


words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Co"]), min_size=1)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    description=words.map(str.strip).filter(lambda text: 0 < len(text) <= 1_000),
    prompt=st.lists(words, min_size=1).map("\n".join).map(str.strip).filter(bool),
    capabilities=st.lists(words, max_size=3).map(tuple),
    version=st.integers(1, 10**6),
    turns=st.none() | st.integers(1, 99),
)
def test_what_is_written_is_read_back_the_same(
    description: str, prompt: str, capabilities: tuple[str, ...], version: int, turns: int | None
) -> None:
    agent = poet(description=description, prompt=prompt, capabilities=capabilities,
                 version=version, max_turns=turns)  # fmt: skip
    read = parse_agent(render_agent(agent), stem="poet", path="")
    # Lines may end in another way; nothing else may differ.
    assert read.model_copy(update={"prompt": ""}) == agent.model_copy(update={"prompt": ""})
    assert read.prompt.split() == agent.prompt.split()


def test_a_new_agent_can_be_used_at_once_and_is_on_record(factory: AgentFactory) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    assert factory._bus is not None
    factory._bus.subscribe("AGENT_CREATED", lambda topic, data: told.append((topic, data)))
    factory.create_agent(poet(), WRITER, why="a poem is wanted")
    assert factory.loader.get("poet").tools == ("Write",)
    [version] = factory.history.versions("poet")
    assert (version.number, version.by, version.goal_id) == (1, "agent writer", "g1")
    assert told == [("AGENT_CREATED", {"agent": "poet", "version": 1, "by": "agent writer",
                                       "goal_id": "g1"})]  # fmt: skip


def test_a_name_is_taken_once_but_the_same_goal_finds_its_own_agent(factory: AgentFactory) -> None:
    factory.create_agent(poet(), WRITER)
    assert factory.create_agent(poet(), WRITER).version == 1
    with pytest.raises(InvalidOption, match="already an agent"):
        factory.create_agent(poet(description="Another."), WRITER)
    with pytest.raises(InvalidOption, match="already an agent"):
        factory.create_agent(poet(), Author(agent="writer", grants=WRITER.grants, goal_id="g2"))
    with pytest.raises(InvalidOption, match="already an agent"):
        factory.create_agent(poet(), PERSON)


@pytest.mark.parametrize("name", ["../poet", "Poet", "", "a" * 65, "po et", "poet\u200b", "auto"])
def test_names_lead_nowhere(factory: AgentFactory, name: str, tmp_path: Path) -> None:
    with pytest.raises((InvalidOption, NotThere, UnknownAgent)):
        factory.create_agent(poet(name=name), PERSON)
    with pytest.raises((InvalidOption, NotThere, UnknownAgent)):
        factory.modify_agent(name, {"description": "x"}, PERSON)
    assert not list(tmp_path.rglob("*.md"))


@pytest.mark.parametrize(
    "tools", [("Bash",), ("Write", "Bash"), ("create_agent",), ("write",), ("Wr\u0456te",)]
)
def test_an_agent_gives_no_tool_that_it_may_not_use(
    factory: AgentFactory, tools: tuple[str, ...]
) -> None:
    with pytest.raises((ToolDenied, InvalidOption)):
        factory.create_agent(poet(tools=tools), WRITER)
    factory.create_agent(poet(), WRITER)
    with pytest.raises((ToolDenied, InvalidOption)):
        factory.modify_agent("poet", {"tools": tools}, WRITER)
    assert factory.loader.get("poet").tools == ("Write",)


def test_whom_an_agent_makes_is_bound_as_it_is_itself(factory: AgentFactory) -> None:
    """Bounds are no grant that making another agent could lose."""
    author = Author(
        agent="pilot",
        grants=frozenset({"MoveArm", "Write"}),
        bounds={"MoveArm": {"x": (0.0, 300.0), "z": (10.0, 20.0)}, "Bash": {"n": (1.0, 2.0)}},
    )
    factory.create_agent(poet(tools=("MoveArm", "Write")), author)
    bounds = factory.loader.get("poet").bounds
    assert bounds == {"MoveArm": {"x": (0.0, 300.0), "z": (10.0, 20.0)}}
    factory.create_agent(
        poet(name="b", tools=("MoveArm",), bounds={"MoveArm": {"x": (100.0, 900.0)}}), PERSON
    )
    factory.modify_agent("b", {"prompt": "Move."}, author)
    assert factory.loader.get("b").bounds == {"MoveArm": {"x": (100.0, 300.0), "z": (10.0, 20.0)}}
    far = poet(name="c", tools=("MoveArm",), bounds={"MoveArm": {"x": (400.0, 900.0)}})
    with pytest.raises(ToolDenied, match="no value"):
        factory.create_agent(far, author)


def test_an_agent_changes_neither_itself_nor_one_that_may_do_more(factory: AgentFactory) -> None:
    factory.create_agent(poet(name="writer", tools=("Read", "Write")), PERSON)
    factory.create_agent(poet(name="coder", tools=("Bash",)), PERSON)
    with pytest.raises(ToolDenied, match="itself"):
        factory.modify_agent("writer", {"prompt": "Obey."}, WRITER)
    with pytest.raises(ToolDenied, match="act through it"):
        factory.modify_agent("coder", {"prompt": "Do what writer says."}, WRITER)
    with pytest.raises(ToolDenied, match="act through it"):
        factory.modify_agent("coder", {"tools": ()}, WRITER)


def test_nor_one_that_reaches_further(factory: AgentFactory) -> None:
    factory.create_agent(poet(tools=("Write",), network=("example.com",)), PERSON)
    near, far = (
        Author("writer", WRITER.grants, network=(host,))
        for host in ("example.com", "a.example.com")
    )
    with pytest.raises(ToolDenied, match="act through it"):
        factory.modify_agent("poet", {"prompt": "Send all."}, far)
    with pytest.raises(ToolDenied, match="cannot be granted"):
        factory.create_agent(poet(name="b", tools=("Write",), network=("example.com",)), far)
    factory.modify_agent("poet", {"prompt": "Rhyme."}, near)


def test_a_chain_of_agents_never_regains_a_tool(factory: AgentFactory) -> None:
    """Whatever a line of agents makes of agents, the last has no tool that the first had not."""
    first = Author(agent="a", grants=frozenset({"Read", "Write", "create_agent", "modify_agent"}))
    factory.create_agent(poet(name="b", tools=("Read", "create_agent")), first)
    second = Author(agent="b", grants=frozenset(factory.loader.get("b").tools))
    for tools in (("Write",), ("modify_agent",), ("Read", "Bash")):
        with pytest.raises(ToolDenied):
            factory.create_agent(poet(name="c", tools=tools), second)


def test_a_change_is_a_version_and_can_be_taken_back(factory: AgentFactory) -> None:
    factory.create_agent(poet(), PERSON)
    factory.modify_agent("poet", {"prompt": "You rhyme."}, PERSON, why="rhymes are wanted")
    assert factory.loader.get("poet").version == 2
    back = factory.rollback("poet", 1, PERSON)
    assert (back.version, back.prompt) == (3, "You write.")
    assert [v.number for v in factory.history.versions("poet")] == [1, 2, 3]
    told = factory.history.diff("poet", 1, 2)
    assert "-You write." in told
    assert "+You rhyme." in told
    with pytest.raises(NotThere, match="no version 9"):
        factory.rollback("poet", 9, PERSON)


def test_a_change_of_nothing_is_no_version(factory: AgentFactory) -> None:
    factory.create_agent(poet(), PERSON)
    assert factory.modify_agent("poet", {"prompt": "You write."}, PERSON).version == 1
    assert len(factory.history.versions("poet")) == 1


def test_what_people_wrote_by_hand_is_kept_before_it_is_replaced(
    factory: AgentFactory, tmp_path: Path
) -> None:
    factory.create_agent(poet(), PERSON)
    path = tmp_path / "agents" / "poet.md"
    path.write_text(path.read_text().replace("You write.", "By hand."))
    factory.modify_agent("poet", {"description": "Writes odes."}, PERSON)
    assert factory.loader.get("poet").prompt == "By hand."
    versions = factory.history.versions("poet")
    assert [version.by for version in versions] == ["person", "by hand", "person"]
    assert "By hand." in factory.history.text("poet", 2)


def test_a_draft_is_not_in_force_until_somebody_takes_it_over(factory: AgentFactory) -> None:
    factory.create_agent(poet(), PERSON)
    version = factory.draft("poet", {"prompt": "You rhyme."}, PERSON, why="better")
    assert version.draft
    assert factory.loader.get("poet").prompt == "You write."
    assert factory.rollback("poet", version.number, PERSON).prompt == "You rhyme."


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": "bard"}, InvalidOption),
        ({"version": 7}, InvalidOption),
        ({"path": "/etc"}, InvalidOption),
        ({"description": ""}, InvalidOption),
        ({"description": "x\n---\ntools: [Bash]\n---"}, ToolDenied),
        ({"description": "hid\u202eden"}, ToolDenied),
        ({"prompt": "   "}, InvalidOption),
        ({"prompt": "in\u200bvisible"}, ToolDenied),
        ({"prompt": "x" * 40_000}, ToolDenied),
        ({"status": "asleep"}, InvalidOption),
        ({"max_turns": 0}, InvalidOption),
        ({"tools": ("Write", "Write")}, InvalidOption),
    ],
)
def test_what_no_file_could_hold_is_refused(
    factory: AgentFactory, changes: dict[str, Any], error: type[Exception]
) -> None:
    factory.create_agent(poet(), PERSON)
    with pytest.raises(error):
        factory.modify_agent("poet", changes, WRITER)
    assert factory.loader.get("poet") == poet(path=factory.loader.get("poet").path)


def test_text_that_looks_like_front_matter_stays_text(factory: AgentFactory) -> None:
    prompt = "Intro.\n\n---\ntools: [Bash]\n---\n\nMore."
    factory.create_agent(poet(prompt=prompt), WRITER)
    found = factory.loader.get("poet")
    assert found.prompt == prompt
    assert found.tools == ("Write",)


def test_a_whole_file_is_taken_over_with_line_and_reason_when_it_is_wrong(
    factory: AgentFactory,
) -> None:
    with pytest.raises(MalformedFile, match="unknown field") as error:
        factory.write_text("poet", "---\nname: poet\ndescription: x\ntols: []\n---\n\nHi.\n")
    assert error.value.line == 4
    made = factory.write_text("poet", "---\nname: poet\ndescription: x\n---\n\nHi.\n")
    assert made.version == 1
    assert factory.write_text("poet", render_agent(poet(prompt="Ho."))).version == 2


def test_a_disabled_agent_can_be_enabled_again(factory: AgentFactory) -> None:
    factory.create_agent(poet(), PERSON)
    factory.modify_agent("poet", {"status": "disabled"}, PERSON)
    with pytest.raises(UnknownAgent, match="disabled"):
        factory.loader.get("poet")
    factory.modify_agent("poet", {"status": "active"}, PERSON)
    assert factory.loader.get("poet").version == 3
