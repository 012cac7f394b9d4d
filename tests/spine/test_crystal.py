"""A compiled tool on real workers: taken up at once, called from Python, no model asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llmos_workers import tools
from llmos_workers.client import LLMOS
from llmos_workers.contracts.modes import Mode
from llmos_workers.flow.crystallize import crystallize
from llmos_workers.flow.toolsmith import submit as submit_family
from llmos_workers.runtime import Runtime

TIMEOUT = 60


def test_python_calls_a_compiled_tool_by_its_name(
    llmos: LLMOS, project: str, output: Path, served: Callable[[], int]
) -> None:
    (output / "sales.csv").write_text("a,1\n")
    (output / "prices.csv").write_text("b,2\n")
    learned = llmos.submit("Copy sales.csv to backup.csv", project=project).result(TIMEOUT)
    trace = llmos.trace_manager.get(project, learned.learned_trace_id or "")
    assert trace is not None
    runtime = Runtime(llmos.config, redis=llmos.redis)
    attempt = crystallize(runtime, trace)
    runtime.runners.close()
    assert attempt.made, attempt.result
    name, before = attempt.result.rpartition("_")[0], served()
    mine = tools.on(llmos)
    assert name in dir(mine)
    outcome = getattr(mine, name)(file="prices.csv", file_2="saved.csv", timeout=TIMEOUT)
    assert (outcome.mode, outcome.tool) == (Mode.CRYSTALLIZED, attempt.result), outcome.error
    assert (output / "saved.csv").read_text() == "b,2\n"
    assert served() == before
    with pytest.raises(AttributeError, match="no generated tool"):
        mine.fly_to_the_moon()


def test_the_toolsmith_makes_one_tool_of_three_traces_that_does_what_none_of_them_did(
    llmos: LLMOS, project: str, output: Path, served: Callable[[], int]
) -> None:
    """By a goal on real workers: asked, proved, signed, and taken up by the whole fleet."""
    ids = []
    for folder, count in {"drafts": 2, "books": 3, "tales": 5}.items():
        goal = f"Create {count} chapters in {folder}/"
        learned = llmos.submit(goal, project=project).result(TIMEOUT)
        assert learned.ok, learned
        llmos.submit(goal, project=project).result(TIMEOUT)
        ids.append(learned.learned_trace_id or "")
    runtime = Runtime(llmos.config, redis=llmos.redis)
    traces = [trace for each in ids if (trace := runtime.traces.get(project, each))]
    smith = llmos.get(submit_family(runtime, traces).goal_id).result(TIMEOUT)
    assert smith.ok, smith.error
    assert smith.cost_micro > 0
    ref = smith.text.split(":")[0]
    source = (llmos.config.workspace / "tools" / "generated" / f"{ref}.py").read_text()
    assert "for number in range" in source
    assert "if number == 1" in source
    assert "count: int, folder: str" in source
    assert {runtime.traces.get(project, each).crystallized_into_tool for each in ids} == {ref}
    before = served()
    known = llmos.submit("Create 3 chapters in books/", project=project).result(TIMEOUT)
    new = llmos.submit("Create 7 chapters in poems/", project=project).result(TIMEOUT)
    assert (known.mode, known.tool) == (new.mode, new.tool) == (Mode.CRYSTALLIZED, ref), new
    assert (new.llm_calls, served()) == (0, before)
    assert sorted(p.name for p in (output / "poems").iterdir()) == [f"{n}.md" for n in range(1, 8)]
    assert (output / "poems" / "1.md").read_text() == "# Start\n"
    assert (output / "poems" / "7.md").read_text() == "# Chapter 7\n"
