"""The layers of one worker process, put together once, each made when first asked for.

Clients that must not be shared with a forked child (index, model) are made lazily, after the
fork, in the process that uses them.
"""

from __future__ import annotations

import logging
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.agents import AgentDefinition
from llmos_workers.contracts.state import CognitivePolicy, TriggerType
from llmos_workers.execution.gate import Ask, GateContext, Source, ToolGate
from llmos_workers.execution.hooks.projects import ProjectHooks
from llmos_workers.execution.tools.registry import ToolRegistry
from llmos_workers.kernel.gate_log import GateLog
from llmos_workers.kernel.project_settings import ProjectFiles
from llmos_workers.kernel.rates import Limits, ModelRates
from llmos_workers.learning.memory_tools import memory_tools
from llmos_workers.learning.outbox import IndexOutbox, ensure_indexed
from llmos_workers.learning.traces import TraceManager
from llmos_workers.learning.verdicts import Verdicts
from llmos_workers.runtime_gate import gate_context, make_hooks
from llmos_workers.runtime_memory import MemoryParts
from llmos_workers.runtime_tools import (
    ExampleShelf,
    embed_with,
    make_registry,
    system_tools,
    tool_use_of,
)
from llmos_workers.sentience.cognitive_kernel import CognitiveKernel
from llmos_workers.sentience.manager import SentienceManager
from llmos_workers.sentience.valence import energy_setpoint

if TYPE_CHECKING:
    from llmos_workers.execution.agent import AgentLoop
    from llmos_workers.execution.judge_call import Judge
    from llmos_workers.execution.llm import ModelGateway
    from llmos_workers.execution.sandbox import Sandbox
    from llmos_workers.execution.tools.shelf import ToolUse
    from llmos_workers.flow.run import Run
    from llmos_workers.learning.index_contract import TraceIndex
    from llmos_workers.learning.matching.embedder import Embedder
    from llmos_workers.learning.matching.matcher import GoalMatcher

log = logging.getLogger(__name__)


class Runtime(MemoryParts):
    """Everything a task needs. Parts may be injected by keyword for tests and embedding."""

    def __init__(self, config: LLMOSConfig, **parts: Any) -> None:
        self.config = config
        self._index_lock = threading.Lock()
        self._index_ready = False
        for name, part in parts.items():
            if not isinstance(getattr(type(self), name, None), cached_property):
                raise TypeError(f"Runtime has no part named {name!r}")
            self.__dict__[name] = part

    # sentience

    @cached_property
    def cognitive_kernel(self) -> CognitiveKernel:
        """State to policy; pure."""
        return CognitiveKernel(self.config.sentience)

    @cached_property
    def sentience(self) -> SentienceManager:
        """Internal state per project."""
        return SentienceManager(
            self.redis,
            self.clock,
            self.config.sentience,
            energy_setpoint=self._energy_setpoint,
            bus=self.bus,
        )

    def _energy_setpoint(self, project: str) -> float:
        """Energy answers to money: its set point follows what is left of the budget."""
        full = self.config.sentience.energy_setpoint
        return energy_setpoint(self.economy.remaining_share(project), full)

    # execution

    @cached_property
    def tools(self) -> ToolRegistry:
        """All tools of this process."""
        changed = system_tools(self.agent_factory, self.agents, self.feel)
        more = [*changed, *memory_tools(self.memory_search, self.noted)]
        return make_registry(self.config, self.workspace.root, self.keys, more)

    @cached_property
    def sandbox(self) -> Sandbox:
        """What confines commands on this host."""
        from llmos_workers.execution.sandbox import make_sandbox

        return make_sandbox(self.config.security)

    @cached_property
    def gate(self) -> ToolGate:
        """The one gate."""
        return ToolGate(self.tools, self.hooks, self.clock, record=GateLog(self.redis).append)

    @cached_property
    def hooks(self) -> ProjectHooks:
        """Who is asked about calls, by project."""
        return make_hooks(self)

    @cached_property
    def project_files(self) -> ProjectFiles:
        """What projects say of themselves."""
        return ProjectFiles(self.workspace)

    @cached_property
    def gateway(self) -> ModelGateway:
        """The way to the model."""
        from llmos_workers.execution.llm import ModelGateway

        sdk, kernel = self.config.sdk, self.config.kernel
        if kernel.enable_watchdog:
            longest = min(sdk.timeout_secs, kernel.watchdog_timeout_secs)
            sdk = sdk.model_copy(update={"timeout_secs": longest})
        rates = ModelRates(self.redis, Limits.of(sdk))
        return ModelGateway(sdk, self.economy, self.clock, rates=rates, on_breach=kernel.on_breach)

    @cached_property
    def agent_loop(self) -> AgentLoop:
        """Model and tools taking turns."""
        from llmos_workers.execution.agent import AgentLoop

        return AgentLoop(self.gateway, self.gate, self.tools, self.tool_use)

    @cached_property
    def tool_use(self) -> ToolUse:
        """How tools are offered to the model."""
        return tool_use_of(self.config, embed=lambda: embed_with(self.embedder))

    @cached_property
    def examples(self) -> ExampleShelf:
        """Inputs of tools that worked before."""
        most = self.config.execution.max_examples_per_tool
        return ExampleShelf(self.traces, self.tools, self.clock, max_per_tool=most)

    @cached_property
    def judge(self) -> Judge | None:
        """Who is asked about new wordings; None: nobody."""
        from llmos_workers.execution.judge_call import make_judge

        return make_judge(self.config, self.economy, lambda: self.gateway)

    @cached_property
    def verdicts(self) -> Verdicts:
        """What judges said, and how it came out."""
        return Verdicts(self.redis)

    # learning

    @cached_property
    def traces(self) -> TraceManager:
        """Traces: Redis records with their Markdown."""
        size = self.config.memory.cache_size
        return TraceManager(self.redis, self.workspace, self.clock, keys=self.keys, cache_size=size)

    @cached_property
    def embedder(self) -> Embedder:
        """Text to vectors."""
        from llmos_workers.learning.matching.embedder import load_embedder

        return load_embedder(self.config.index)

    @cached_property
    def index(self) -> TraceIndex:
        """The vector index; only the dispatch role opens it."""
        from llmos_workers.learning.index import open_index

        folder = self.config.workspace / "state" / "index"
        embedder = self.embedder
        return open_index(self.config.index, folder, embedder.dim, embedder=embedder.name)

    @cached_property
    def outbox(self) -> IndexOutbox:
        """Index writes of the other roles."""
        return IndexOutbox(self.redis)

    @cached_property
    def matcher(self) -> GoalMatcher:
        """Goal to known traces."""
        from llmos_workers.learning.matching.matcher import GoalMatcher

        return GoalMatcher(
            self.traces,
            self.index,
            self.embedder,
            self.config.dispatcher,
            before_search=self.refresh_index,
        )

    # small services that need two of the above

    def refresh_index(self) -> None:
        """Bring the index up to date; at first also with what people changed on the disk.

        Whoever comes while another thread does it waits: a match against half an index would
        pay for what is known. Raises IndexUnavailable.
        """
        with self._index_lock:
            if not self._index_ready:
                self.traces.scan()
                ensure_indexed(self.traces, self.index, self.embedder)
                self._index_ready = True
            self.outbox.drain(self.index, self.embedder, self.traces)

    def gate_context(
        self,
        run: Run,
        *,
        source: Source,
        agent: AgentDefinition,
        ask: Ask | None = None,
    ) -> GateContext:
        """See runtime_gate.gate_context."""
        return gate_context(self, run, source=source, agent=agent, ask=ask)

    def policy(self, project: str) -> CognitivePolicy:
        """What the project's internal state demands; the default when sentience is off."""
        if not self.config.sentience.enable_sentience:
            return CognitivePolicy()
        return self.cognitive_kernel.derive_policy(self.sentience.get_state(project))

    def spent_on(self, goal_id: str) -> int:
        """Micro-dollars that the ledger holds for a goal, all its runs together."""
        return self.economy.scope(f"goal:{goal_id}")["spent"] or 0

    def notice(self, goal_id: str, message: str) -> None:
        """Tell whoever watches the goal something in words."""
        self.goals.emit(goal_id, "notice", {"message": message})

    def feel(self, trigger: TriggerType, reason: str, *, project: str, **facts: Any) -> None:
        """Move the project's internal state."""
        self.sentience.trigger(trigger, reason, project=project, **facts)
