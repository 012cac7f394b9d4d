"""The parts of a process that must be exact: goals, money, files and who waits.

Each is made when it is first asked for; Runtime adds the layers above.
"""

from __future__ import annotations

from functools import cached_property

from llmos_workers.config import LLMOSConfig
from llmos_workers.kernel.admission import Admission
from llmos_workers.kernel.agent_records import AgentRecords
from llmos_workers.kernel.approvals import Approvals
from llmos_workers.kernel.audits import Audits
from llmos_workers.kernel.board import Boards
from llmos_workers.kernel.children import Children
from llmos_workers.kernel.clock import Clock, SystemClock
from llmos_workers.kernel.commits import CommitLog
from llmos_workers.kernel.delayed import DelayedGoals
from llmos_workers.kernel.economy import TokenEconomy
from llmos_workers.kernel.events import EventBus
from llmos_workers.kernel.feedback import FeedbackBox
from llmos_workers.kernel.flight import Flights
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.prices import Prices
from llmos_workers.kernel.publish import Publisher
from llmos_workers.kernel.redis import Client, connect
from llmos_workers.kernel.signing import KeyRing
from llmos_workers.kernel.stages import Stages
from llmos_workers.kernel.webhooks import Webhooks
from llmos_workers.kernel.workspace import Workspace


class KernelParts:
    """What Runtime stands on."""

    config: LLMOSConfig

    @cached_property
    def clock(self) -> Clock:
        """The machine's clock."""
        return SystemClock()

    @cached_property
    def redis(self) -> Client:
        """Client of the state database."""
        return connect(self.config.redis)

    @cached_property
    def broker(self) -> Client:
        """Client of the broker database."""
        return connect(self.config.redis, db=self.config.redis.broker_db)

    @cached_property
    def delayed(self) -> DelayedGoals:
        """The waiting room."""
        return DelayedGoals(self.redis, self.broker, self.goals)

    @cached_property
    def approvals(self) -> Approvals:
        """Requests for a person's yes."""
        return Approvals(
            self.redis,
            ttl_s=self.config.security.approval_ttl_secs,
            kept_s=self.config.kernel.result_retention_secs,
            wake=self.delayed.wake,
        )

    @cached_property
    def feedback(self) -> FeedbackBox:
        """What people said of goals."""
        return FeedbackBox(self.redis, kept_s=self.config.kernel.result_retention_secs)

    @cached_property
    def publisher(self) -> Publisher:
        """Stages to projects."""
        return Publisher(self.workspace, CommitLog(self.redis), self.clock)

    @cached_property
    def stages(self) -> Stages:
        """Where runs work."""
        return Stages(self.workspace, self.publisher)

    @cached_property
    def agent_records(self) -> AgentRecords:
        """How agents' runs came out."""
        return AgentRecords(self.redis)

    @cached_property
    def boards(self) -> Boards:
        """Where the members of plans work."""
        return Boards(self.workspace, self.stages, self.publisher)

    @cached_property
    def children(self) -> Children:
        """Members of plans, and who waits for them."""
        return Children(self.redis, self.broker, self.goals)

    @cached_property
    def audits(self) -> Audits:
        """Verdicts of shadow audits."""
        return Audits(self.redis)

    @cached_property
    def admission(self) -> Admission:
        """Whose turn it is."""
        window = self.config.kernel.project_window
        return Admission(self.redis, self.broker, self.goals, window=window)

    @cached_property
    def flights(self) -> Flights:
        """Who learns while others wait for it."""
        return Flights(self.redis, self.broker, self.goals)

    @cached_property
    def webhooks(self) -> Webhooks:
        """Signed messages about goals that ended."""
        return Webhooks(self.redis, self.goals, self.clock, self.config.webhooks)

    @cached_property
    def workspace(self) -> Workspace:
        """The Markdown memory and the projects."""
        return Workspace(self.config.workspace).ensure()

    @cached_property
    def goals(self) -> GoalStore:
        """Goal records."""
        kept = self.config.kernel.result_retention_secs
        return GoalStore(self.redis, self.clock, retention_s=kept)

    @cached_property
    def prices(self) -> Prices:
        """What models cost."""
        prices, judge = Prices.load(self.config.sdk.price_file), self.config.judge
        return prices.with_free(judge.model or "") if judge.backend == "openai" else prices

    @cached_property
    def economy(self) -> TokenEconomy:
        """Budget and ledger."""
        return TokenEconomy.from_config(
            self.redis, self.clock, self.prices, self.config.kernel, bus=self.bus
        )

    @cached_property
    def bus(self) -> EventBus:
        """System-wide events."""
        return EventBus(self.redis)

    @cached_property
    def keys(self) -> KeyRing:
        """What signs traces, and whose signatures count."""
        key_file = self.config.security.signing_key_file
        return KeyRing(self.workspace.keys, key_file=key_file, clock=self.clock)
