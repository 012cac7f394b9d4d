"""Agents are Markdown files: read strictly, seen again when they change, never a way out."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_workers.contracts.errors import MalformedFile, UnknownAgent
from llmos_workers.evolution.agent_file import MAX_FILE_BYTES, parse_agent
from llmos_workers.evolution.agents import AgentLoader
from llmos_workers.kernel.workspace import Workspace

GOOD = (
    "---\nname: poet\ndescription: Writes poems.\ntools: [Read, Write]\n---\n\nYou write poems.\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    agents = tmp_path / "agents"
    agents.mkdir()
    return agents


@pytest.fixture
def loader(folder: Path) -> AgentLoader:
    return AgentLoader(folder.parent)


def put(folder: Path, text: str = GOOD, name: str = "poet") -> Path:
    path = folder / f"{name}.md"
    path.write_text(text)
    return path


def test_front_matter_and_body_become_the_agent(folder: Path, loader: AgentLoader) -> None:
    put(folder, GOOD.replace("tools:", "model: haiku\nmax_turns: 3\ncapabilities: [rhyme]\ntools:"))
    agent = loader.get("poet")
    assert agent.description == "Writes poems."
    assert agent.tools == ("Read", "Write")
    assert agent.prompt == "You write poems."
    assert (agent.model, agent.max_turns, agent.capabilities) == ("haiku", 3, ("rhyme",))
    assert [a.name for a in loader.load_agents()] == ["poet"]
    assert AgentLoader(Workspace(folder.parent)).get("poet") == agent


def test_an_agent_without_tools_may_call_none(folder: Path, loader: AgentLoader) -> None:
    put(folder, GOOD.replace("tools: [Read, Write]\n", ""))
    assert loader.get("poet").tools == ()


BAD = [
    ("no front matter", "must start with", 1),
    ("---\nname: poet\n", "no closing line", 1),
    (GOOD.replace("tools:", "tols:"), "unknown field 'tols'. Did you mean 'tools'?", 4),
    (GOOD.replace("tools:", "prompt: x\ntools:"), "unknown field 'prompt'", 4),
    (GOOD.replace("tools:", "path: x\ntools:"), "unknown field 'path'", 4),
    (GOOD.replace("name: poet", "name: Poet"), "both must agree", 2),
    (GOOD.replace("name: poet", "name: ../poet"), "both must agree", 2),
    (GOOD.replace("name: poet\n", ""), "'name' must be text", 0),
    (GOOD.replace("Writes poems.", "''"), "'description' must be text", 3),
    (GOOD.replace("Writes poems.", "x" * 1_001), "longer than", 3),
    (GOOD.replace("[Read, Write]", "Read, Write"), "must be a list", 4),
    (GOOD.replace("[Read, Write]", "[Read, 3]"), "3 is not a tool name", 4),
    (GOOD.replace("[Read, Write]", "['*']"), "'*' is not a tool name", 4),
    (GOOD.replace("[Read, Write]", "[Re\u0430d]"), "is not a tool name", 4),
    (GOOD.replace("[Read, Write]", "[Read, Read]"), "granted twice", 4),
    (GOOD.replace("tools:", "network: example.com\ntools:"), "must be a list of hosts", 4),
    *(
        (GOOD.replace("tools:", f"network: ['{host}']\ntools:"), "plain name of a public host", 4)
        for host in ("localhost", "a.internal", "10.0.0.1", "8.8.8.8", "*.com", "com", "A.com", "")
    ),
    (GOOD.replace("tools:", "version: true\ntools:"), "version", 4),
    (GOOD.replace("tools:", "version: 0\ntools:"), "version", 4),
    (GOOD.replace("tools:", "max_turns: many\ntools:"), "max_turns", 4),
    (GOOD.replace("tools:", "model: [a]\ntools:"), "model", 4),
    (GOOD.replace("tools:", "status: asleep\ntools:"), "must be one of: active, disabled", 4),
    (GOOD.replace("tools:", "name: poet\ntools:"), "stands twice", 4),
    (GOOD.replace("[Read, Write]", "!!python/object/apply:os.system [id]"), "tag", 4),
    (GOOD.replace("[Read, Write]", "&a [*a]"), "anchors", 4),
    (GOOD.replace("[Read, Write]", "[Read"), "not YAML", None),
    (GOOD.replace("You write poems.\n", " \n"), "prompt", 5),
]


@pytest.mark.parametrize(("text", "reason", "line"), BAD)
def test_a_malformed_file_is_skipped_and_reported_with_its_line(
    folder: Path, loader: AgentLoader, text: str, reason: str, line: int | None
) -> None:
    path = put(folder, text)
    put(folder, GOOD.replace("poet", "other"), "other")
    assert [agent.name for agent in loader.load_agents()] == ["other"]
    (problem,) = loader.problems()
    assert problem.path == str(path)
    assert reason in problem.reason
    if line is not None:
        assert problem.line == line
    with pytest.raises(UnknownAgent, match="cannot be used"):
        loader.get("poet")


def test_bytes_that_are_no_text_and_huge_files_are_reported(
    folder: Path, loader: AgentLoader
) -> None:
    put(folder).write_bytes(GOOD.encode() + b"\xff")
    put(folder, GOOD.replace("poet", "big") + "x" * MAX_FILE_BYTES, "big")
    reasons = [problem.reason for problem in loader.problems()]
    assert reasons == [f"larger than {MAX_FILE_BYTES:,} bytes.", "is not UTF-8 text."]


@pytest.mark.parametrize(
    "name", ["../poet", "..", "", ".", "a/b", "poet\n", "Poet", "poet.md", "p\x00t", "-poet"]
)
def test_a_name_is_never_a_path(folder: Path, loader: AgentLoader, name: str) -> None:
    put(folder.parent / "agents")
    (folder.parent / "poet.md").write_text(GOOD)
    with pytest.raises(UnknownAgent, match="not an agent's name"):
        loader.get(name)
    with pytest.raises(UnknownAgent):
        loader.reload_agent(name)


def test_a_link_that_leads_out_and_a_pipe_are_not_agents(folder: Path, loader: AgentLoader) -> None:
    (folder.parent / "outside.md").write_text(GOOD)
    (folder / "poet.md").symlink_to(folder.parent / "outside.md")
    (folder / "dir.md").mkdir()
    os.mkfifo(folder / "pipe.md")
    assert loader.load_agents() == []
    assert len(loader.problems()) == 3


def test_a_name_with_strange_letters_is_reported(folder: Path, loader: AgentLoader) -> None:
    put(folder, GOOD.replace("poet", "Big_Poet"), "Big_Poet")
    assert "lower-case" in loader.problems()[0].reason


def test_an_edit_is_seen_without_a_restart(folder: Path, loader: AgentLoader) -> None:
    path = put(folder)
    assert loader.get("poet").prompt == "You write poems."
    path.write_text(GOOD.replace("You write poems.", "You write verses"))
    assert loader.get("poet").prompt == "You write verses"
    put(folder, GOOD.replace("poet", "new"), "new")
    assert [agent.name for agent in loader.load_agents()] == ["new", "poet"]
    path.unlink()
    assert [agent.name for agent in loader.load_agents()] == ["new"]
    with pytest.raises(UnknownAgent, match="is not there"):
        loader.get("poet")


def test_an_unchanged_file_is_not_read_again(
    folder: Path, loader: AgentLoader, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder)
    put(folder, "broken", "broken")
    with caplog.at_level(logging.WARNING):
        first = loader.get("poet")
        for _ in range(3):
            loader.load_agents()
    assert loader.get("poet") is first
    assert caplog.text.count("agent skipped") == 1
    assert loader.reload_agent("poet") is not first


def test_an_edit_that_went_wrong_takes_the_agent_away(folder: Path, loader: AgentLoader) -> None:
    path = put(folder)
    loader.get("poet")
    path.write_text(GOOD.replace("tools: [Read, Write]", "tools: [Read"))
    with pytest.raises(UnknownAgent, match="cannot be used"):
        loader.get("poet")
    with pytest.raises(UnknownAgent, match="cannot be used"):
        loader.reload_agent("poet")


def test_a_disabled_agent_is_known_but_not_used(folder: Path, loader: AgentLoader) -> None:
    put(folder, GOOD.replace("tools:", "status: disabled\ntools:"))
    assert loader.load_agents() == []
    assert loader.problems() == []
    with pytest.raises(UnknownAgent, match="is disabled"):
        loader.get("poet")


def test_an_unknown_name_hears_the_nearest_and_all_known(folder: Path, loader: AgentLoader) -> None:
    put(folder)
    with pytest.raises(UnknownAgent) as caught:
        loader.get("peot")
    assert "Did you mean 'poet'?" in str(caught.value)
    assert "Known: poet" in str(caught.value)


def test_a_workspace_without_agents_has_none(tmp_path: Path) -> None:
    loader = AgentLoader(tmp_path / "nowhere")
    assert loader.load_agents() == []
    assert loader.problems() == []


def test_other_files_are_not_agents(folder: Path, loader: AgentLoader) -> None:
    for name in ("README.md", ".poet.md", "poet.md~", "notes.txt", ".tmp-x"):
        (folder / name).write_text("text")
    assert loader.load_agents() == []
    assert loader.problems() == []


def test_windows_line_ends_and_a_byte_order_mark_are_fine(
    folder: Path, loader: AgentLoader
) -> None:
    put(folder).write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert loader.get("poet").prompt == "You write poems."


def test_an_unreadable_folder_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "agents").write_text("a file")
    loader = AgentLoader(tmp_path)
    assert loader.load_agents() == []
    assert len(loader.problems()) == 1


@given(st.text(max_size=300) | st.text("-:[]{}&*!|>'\"\n name", max_size=200).map("---\n{}".format))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_does_anything_but_parse_or_be_malformed(text: str) -> None:
    for content in (text, GOOD.replace("[Read, Write]", text)):
        try:
            agent = parse_agent(content, stem="poet", path="poet.md")
        except MalformedFile:
            continue
        assert agent.name == "poet"
        assert all(tool.isascii() for tool in agent.tools)


def test_a_stamp_sees_a_replaced_file_of_equal_size_and_time(
    folder: Path, loader: AgentLoader
) -> None:
    path = put(folder)
    loader.get("poet")
    before = path.stat()
    fresh = folder / ".new"
    fresh.write_text(GOOD.replace("You write poems.", "You write songs."))
    fresh.replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert loader.get("poet").prompt == "You write songs."
