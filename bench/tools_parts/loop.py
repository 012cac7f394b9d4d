"""The real agent loop against a server that follows a script."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import redis

from bench.tools_parts.catalog import CatalogTool, catalog
from llmos_workers.config import SDKConfig, SecurityConfig
from llmos_workers.contracts.agents import AgentDefinition
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.state import CognitivePolicy
from llmos_workers.embedded.server import EmbeddedServer
from llmos_workers.execution.agent import AgentLoop, AgentTask
from llmos_workers.execution.gate import GateContext, ToolGate
from llmos_workers.execution.gate_record import unrecorded
from llmos_workers.execution.hooks.chain import HookChain
from llmos_workers.execution.hooks.security import SecurityHook
from llmos_workers.execution.llm import CallContext, ModelGateway
from llmos_workers.execution.sandbox import make_sandbox
from llmos_workers.execution.tools.base import ToolContext
from llmos_workers.execution.tools.registry import ToolRegistry
from llmos_workers.execution.tools.shelf import ToolUse
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.economy import TokenEconomy
from llmos_workers.kernel.prices import Prices
from llmos_workers.rehearsal.brain import Brain, Reply
from llmos_workers.rehearsal.protocol import PromptCache
from llmos_workers.rehearsal.server import RehearsalServer

MODEL = "claude-sonnet-5-5"
AGENT = AgentDefinition(name="bench", description="d", prompt="You are a careful assistant.")
REPORT_LINES = 40


class _Script(Brain):
    def __init__(self, answers: Sequence[Reply]) -> None:
        super().__init__([])
        self._answers = iter(answers)

    def reply(self, request: dict[str, Any]) -> Reply:
        """The next answer; each of its calls gets an id of its own."""
        answer = copy.deepcopy(next(self._answers))
        for number, block in enumerate(answer.content):
            if block["type"] == "tool_use":
                block["id"] = f"toolu_{len(request['messages'])}_{number}"
        return answer


def uses(tool: str, **arguments: Any) -> Reply:
    """An answer that calls a tool."""
    block = {"type": "tool_use", "id": "", "name": tool, "input": arguments}
    return Reply([block], "tool_use")


def says(words: str) -> Reply:
    """An answer that ends the turn."""
    return Reply([{"type": "text", "text": words}], "end_turn")


@dataclass(frozen=True)
class Counted:
    """What one run cost, in tokens as the server counted them."""

    turns: int
    calls: int
    first_prompt: int
    prompt: int
    """Of all turns, cached or not."""
    tokens: int
    cost_micro: int


class Loop:
    """Server, ledger, gate and tools in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self._area = folder / "area"
        self._area.mkdir()
        self._store = EmbeddedServer(folder / "redis")
        self._model = RehearsalServer()
        self._registry = ToolRegistry.builtin()
        self._basic = self._registry.names()
        for spec in catalog():
            self._registry.register(CatalogTool(spec))

    def __enter__(self) -> Self:
        self._store.start()
        self._model.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._model.stop()
        self._store.stop()

    def reports(self, count: int) -> list[str]:
        """Log files, one of them with an error."""
        names = [f"{number}.log" for number in range(count)]
        for number, name in enumerate(names):
            lines = [f"12:{n:02} request {n} of {name} took {n} ms" for n in range(REPORT_LINES)]
            text = "\n".join([*lines, "ERROR: out of memory"] if number == count // 2 else lines)
            (self._area / name).write_text(f"{text}\n")
        return names

    def run(
        self, answers: Sequence[Reply], use: ToolUse | None = None, more: Sequence[str] = ()
    ) -> Counted:
        """One goal whose model gives these answers, with a cold prompt cache."""
        self._model.brain = _Script(answers)
        self._model.cache = PromptCache()
        self._model.log.clear()
        clock = SystemClock()
        economy = TokenEconomy(self._client(), clock, Prices.load(), limit_micro=10**9)
        gateway = ModelGateway(SDKConfig(base_url=self._model.url), economy, clock)
        gate = ToolGate(self._registry, HookChain.of([SecurityHook()]), clock, record=unrecorded)
        task = AgentTask(
            goal="do it", agent=AGENT, model=MODEL, max_turns=len(answers), max_tokens=8_000
        )
        result = AgentLoop(gateway, gate, self._registry, use).run(
            task, self._context([*self._basic, *more]), CallContext(goal_id="g", project="bench")
        )
        if result.error is not None or not all(step.ok for step in result.steps):
            raise SystemExit(f"the scripted run failed: {result.error}, {result.steps[-1:]}")
        served = [request.usage for request in self._model.log.entries()]
        prompts = [sum(v for k, v in u.items() if k in _INPUT) for u in served]
        return Counted(
            turns=result.llm_calls,
            calls=len(result.steps),
            first_prompt=prompts[0],
            prompt=sum(prompts),
            tokens=result.usage.total_tokens,
            cost_micro=result.cost_micro,
        )

    def _client(self) -> redis.Redis:
        return redis.Redis.from_url(f"{self._store.url}/2")

    def _context(self, grants: Sequence[str]) -> GateContext:
        sandbox = make_sandbox(SecurityConfig())
        return GateContext(
            grants=frozenset(grants),
            mode=Mode.LEARNER,
            project="bench",
            goal_id="g",
            agent="bench",
            policy=CognitivePolicy(),
            tool=ToolContext(project="bench", area=self._area, goal_id="g", sandbox=sandbox),
        )


_INPUT = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
