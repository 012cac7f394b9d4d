"""What a hop makes of faults: an outcome, never a traceback at the caller."""

from __future__ import annotations

import os
from types import SimpleNamespace

from llmos_workers.config import LLMOSConfig
from llmos_workers.runtime import Runtime
from llmos_workers.tasks.hops import Process, receive


class Broken:
    """A dispatcher with a fault of our own in it."""

    def decide(self, record):
        raise ValueError(f"a secret of {record.text}")


def test_a_fault_of_llmos_while_dispatching_ends_the_goal(state, redis_server, tmp_path):
    config = LLMOSConfig.from_dict({"workspace": tmp_path, "redis": {"url": redis_server}})
    runtime = Runtime(config, redis=state)
    process = Process(os.getpid(), runtime, Broken())
    unset = dict.fromkeys(("callbacks", "errbacks", "chain", "root_id", "parent_id", "group",
                           "group_index", "chord", "reply_to", "correlation_id",
                           "headers"))  # fmt: skip
    task = SimpleNamespace(request=SimpleNamespace(id="id-1", **unset))
    outcome = receive(task, process, {"goal": "do it"})
    assert (outcome["status"], outcome["error"]["kind"]) == ("FAILED", "InternalError")
    assert "secret" not in outcome["error"]["message"]
    assert runtime.goals.outcome("id-1").status == "FAILED"
    assert receive(task, process, {"goal": "do it"}) == outcome
