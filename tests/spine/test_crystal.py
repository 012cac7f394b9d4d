"""A compiled tool on real workers: taken up at once, called from Python, no model asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llmos_workers import tools
from llmos_workers.client import LLMOS
from llmos_workers.contracts.modes import Mode
from llmos_workers.flow.crystallize import crystallize
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
