"""An agent loop with all that surrounds it: server, money, tools, and a script for a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import pytest
import redis

from llmos_workers.config import SDKConfig
from llmos_workers.contracts.agents import AgentDefinition
from llmos_workers.execution.agent import AgentLoop, AgentResult, AgentTask
from llmos_workers.execution.llm import CallContext, ModelGateway
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.economy import TokenEconomy
from llmos_workers.kernel.prices import Prices
from llmos_workers.rehearsal.brain import Reply
from llmos_workers.rehearsal.protocol import PromptCache
from llmos_workers.rehearsal.server import RehearsalServer
from tests.rehearsal.conftest import MODEL
from tests.support.script import Script

CLOCK = SystemClock()
AGENT = AgentDefinition(
    name="tester", description="d", prompt="You are a tester.", tools=("Write",)
)


@pytest.fixture(scope="module")
def served() -> Iterator[RehearsalServer]:
    with RehearsalServer() as running:
        yield running


@pytest.fixture(scope="module")
def http() -> Iterator[Any]:
    # No certificates to load: they would be most of the time of a test.
    with anthropic.DefaultHttpxClient(verify=False) as client:
        yield client


class Bench:
    """One loop with all that surrounds it."""

    def __init__(self, server, economy, http, tools) -> None:
        server.log.clear()
        server.faults.clear()
        server.cache = PromptCache()
        self.server, self.economy = server, economy
        self.script = server.brain = Script()
        self.make_gate, self.make_context, self.registry = tools
        self._http = http
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.on_event: Callable[[str, dict[str, Any]], None] = lambda _kind, _data: None

    def run(self, *replies: Reply, **options: Any) -> AgentResult:
        """Run a goal whose model gives these replies, the last one as often as it is asked."""
        self.script.replies = list(replies)
        sdk = SDKConfig(base_url=self.server.url, enable_streaming=options.pop("stream", True))
        gateway = ModelGateway(sdk, self.economy, CLOCK, http_client=self._http)
        hooks, grants = options.pop("hooks", ()), options.pop("grants", None)
        changes = {} if grants is None else {"grants": frozenset(grants)}
        self.context = self.make_context(**changes)
        before_step = options.pop("before_step", lambda: None)
        journal = options.pop("journal", None)
        call = {k: options.pop(k) for k in ("goal_budget_micro", "cancelled") if k in options}
        task = {"goal": "do it", "agent": AGENT, "model": MODEL, "max_turns": 6, "max_tokens": 500}
        loop = AgentLoop(gateway, self.make_gate(*hooks), self.registry, options.pop("use", None))
        task |= options
        return loop.run(
            AgentTask(**task),
            self.context,
            CallContext(goal_id="g1", project="demo", on_event=self._event, **call),
            journal=journal,
            before_step=before_step,
        )

    def _event(self, kind: str, data: dict[str, Any]) -> None:
        self.events.append((kind, data))
        self.on_event(kind, data)

    def last_message(self, request: int = -1) -> list[dict[str, Any]]:
        """Blocks of the newest message of a request, without cache marks."""
        return [plain(block) for block in self.script.requests[request]["messages"][-1]["content"]]

    @property
    def spent(self) -> int:
        return self.economy.scope("global")["spent"] or 0


def plain(block: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in block.items() if key != "cache_control"}


@pytest.fixture
def tools(make_gate, gate_context, registry) -> tuple[Any, Any, Any]:
    return make_gate, gate_context, registry


@pytest.fixture
def bench(served, http, state: redis.Redis, tools) -> Iterator[Bench]:
    economy = TokenEconomy(state, CLOCK, Prices.load(), limit_micro=50_000_000)
    real = served.brain
    made = Bench(served, economy, http, tools)
    yield made
    served.brain = real
    assert economy.scope("global")["reserved"] == 0
