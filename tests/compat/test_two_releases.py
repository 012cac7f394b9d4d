"""A fleet of two releases at once: real worker processes, one queue, one workspace.

The newer release is a copy of this one whose records all have one more field.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmos_workers
from llmos_workers.client import LLMOS
from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.modes import Mode
from llmos_workers.embedded.keeper import ProcessKeeper
from llmos_workers.embedded.local import LocalSystem
from llmos_workers.embedded.workers import WorkerProcess, stop_all
from llmos_workers.kernel import keys
from llmos_workers.kernel.economy_audit import audit
from llmos_workers.kernel.redis import connect
from tests.support.wait import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

GOAL = "Create a Python calculator"
TIMEOUT = 120
ROUNDS = 12
MARK = "next_field"
HERE = Path(llmos_workers.__file__).parent
BASE = 'model_config = ConfigDict(extra="allow")\n'
ROLES = ("llm", "replay")


@pytest.fixture(scope="module")
def newer_env(tmp_path_factory) -> dict[str, str]:
    """Environment of a process that runs the newer release."""
    root = tmp_path_factory.mktemp("newer")
    shutil.copytree(HERE, root / "llmos_workers", ignore=shutil.ignore_patterns("__pycache__"))
    base = root / "llmos_workers" / "contracts" / "base.py"
    text = base.read_text(encoding="utf-8")
    assert BASE in text
    base.write_text(text.replace(BASE, f"{BASE}    {MARK}: int = 0\n"), encoding="utf-8")
    # Without the folder that it is started in, which may hold this release.
    return {"PYTHONPATH": str(root), "PYTHONSAFEPATH": "1"}


@pytest.fixture(scope="module")
def fleet(newer_env, tmp_path_factory) -> Iterator[LocalSystem]:
    """A system of the newer release, with workers of this one on the same queues."""
    config = LLMOSConfig.from_dict(
        {
            "workspace": tmp_path_factory.mktemp("fleet") / "workspace",
            "kernel": {"budget_usd": 50.0},
            "memory": {"insights": False},
        }
    )
    newer = dict.fromkeys(ROLES, 1)
    with LocalSystem(config, roles={"dispatch": 2, **newer}, env=newer_env) as system:
        keeper = ProcessKeeper()
        folder = system.config.workspace / "state" / "older"
        folder.mkdir()
        env = system.stack._environment() | {"PYTHONPATH": str(HERE.parent)}
        env.pop("PYTHONSAFEPATH")
        older = [
            WorkerProcess(role, 1, keeper=keeper, log_folder=folder, env=env) for role in ROLES
        ]
        try:
            for worker in older:
                worker.start()
            wait_until(
                lambda: all(b" ready." in (folder / f"{r}.log").read_bytes() for r in ROLES),
                what="the older workers are ready",
                timeout=TIMEOUT,
            )
            yield system
        finally:
            stop_all(older)
            keeper.close()


def _submitted_by_the_newer(system: LocalSystem, env: dict[str, str], project: str) -> str:
    """Id of a goal that a client of the newer release submitted."""
    code = (
        "import sys; from llmos_workers.client import LLMOS; from llmos_workers.config import *\n"
        "with LLMOS(LLMOSConfig.from_dict({'redis': {'url': sys.argv[1]}})) as client:\n"
        "    print(client.submit(sys.argv[2], project=sys.argv[3]).id)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, system.config.redis.url, GOAL, project],
        env=system.stack._environment() | env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_two_releases_share_queues_goals_and_traces(fleet, newer_env):
    seen: set[tuple[bool, bool]] = set()
    with LLMOS(fleet.config) as client, connect(fleet.config.redis) as state:

        def by_newer(goal_id: str) -> bool:
            return MARK.encode() in state.hget(keys.goal(goal_id), "outcome")

        for number in range(ROUNDS):
            projects = [f"p{number}-{each}" for each in range(4)]
            handles = {p: client.submit(GOAL, project=p) for p in projects[1:]}
            theirs = _submitted_by_the_newer(fleet, newer_env, projects[0])
            handles[projects[0]] = client.get(theirs)
            learned = {p: handle.result(TIMEOUT) for p, handle in handles.items()}
            assert all(o.ok and o.mode is Mode.LEARNER for o in learned.values()), learned
            again = {p: client.submit(GOAL, project=p) for p in projects}
            followed = {p: handle.result(TIMEOUT) for p, handle in again.items()}
            for project, outcome in followed.items():
                assert (outcome.ok, outcome.mode) == (True, Mode.FOLLOWER), outcome.reason
                assert (outcome.llm_calls, outcome.cost_micro) == (0, 0)
                before = by_newer(learned[project].goal_id)
                seen.add((before, by_newer(outcome.goal_id)))
            assert MARK.encode() in state.hget(keys.goal(theirs), "options")
            if {(True, False), (False, True)} <= seen:
                break
        assert {(True, False), (False, True)} <= seen, "each followed what the other learned"
        found = audit(state)
        assert not found.faults, found
