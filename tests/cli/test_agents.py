"""``llmos agents``."""

from __future__ import annotations

import pytest

from llmos_workers.evolution.seed import install_seed_agents


@pytest.fixture
def agents(run, state, tmp_path):
    """Runs ``llmos agents`` on a workspace with the shipped agents."""
    workspace = tmp_path / "workspace"
    install_seed_agents(workspace)

    def command(*arguments, **more):
        return run("--workspace", str(workspace), "agents", *arguments, **more)

    return command


CREATE = ("create", "poet", "--description", "Writes poems.", "--prompt", "You write.")


def test_an_agent_is_made_shown_changed_and_taken_back(agents, tmp_path):
    assert "created poet, version 1" in agents(*CREATE, "--tool", "Write").out
    shown = agents("show", "poet", "--json").json
    assert (shown["tools"], shown["runs"]) == (["Write"], {"succeeded": 0, "failed": 0})
    assert "changed poet, version 2" in agents("edit", "poet", "--no-tools", "--why", "safer").out
    history = agents("history", "poet").out
    assert "by person  safer" in history
    assert "-tools:" in agents("diff", "poet", "1", "2").out
    assert "version 3" in agents("rollback", "poet", "1").out
    assert agents("show", "poet", "--json").json["tools"] == ["Write"]
    listed = {agent["name"] for agent in agents("list", "--json").lines}
    assert {"poet", "system-agent", "coder"} <= listed


def test_a_file_is_taken_over_and_a_wrong_one_refused_with_its_line(agents, tmp_path):
    file = tmp_path / "given.md"
    file.write_text("---\nname: poet\ndescription: x\ntools: [Read]\n---\n\nHi.\n")
    assert agents("create", "poet", "--file", str(file)).code == 0
    assert agents("create", "poet", "--file", str(file)).code == 2
    file.write_text(file.read_text().replace("tools", "tols"))
    told = agents("edit", "poet", "--file", str(file))
    assert told.code != 0
    assert "poet.md:4" in told.err


def test_what_is_missing_or_unknown_is_named(agents):
    assert "--prompt is missing" in agents("create", "poet", "--description", "x").err
    assert "no version 9" in agents("rollback", "coder", "9").err
    assert "not there" in agents("edit", "nobody", "--prompt", "x").err
    assert agents("show", "nobody").code == 2
    warned = agents(*CREATE, "--tool", "Raed", "--model", "gpt-9").out
    assert "there is no tool 'Raed'" in warned
    assert "gpt-9" in warned
    assert agents("lint").code == 1
    assert agents("lint", "coder").code == 0


def test_an_agent_is_disabled_and_the_best_fit_is_found(agents):
    ranked = agents("choose", "review the code of this change", "--json").lines
    assert ranked[0]["name"] == "reviewer"
    assert agents("edit", "reviewer", "--status", "disabled").code == 0
    ranked = agents("choose", "review the code of this change", "--json").lines
    assert "reviewer" not in [fit["name"] for fit in ranked]
