"""AgentFactory: the one place that writes agents. A change is a new version, never an overwrite."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llmos_workers.contracts.agents import AGENT_NAME, AgentDefinition
from llmos_workers.contracts.errors import InvalidOption, MalformedFile, NotThere, UnknownAgent
from llmos_workers.contracts.events import Topic
from llmos_workers.evolution.agent_file import parse_agent, render_agent
from llmos_workers.evolution.agent_history import BY_HAND, AgentHistory, AgentVersion
from llmos_workers.evolution.agent_rules import (
    CHANGEABLE,
    Author,
    bound,
    check_change,
    check_new,
)
from llmos_workers.evolution.agents import SUFFIX, AgentLoader
from llmos_workers.evolution.seed import folder_lock
from llmos_workers.kernel.clock import Clock
from llmos_workers.kernel.events import EventBus
from llmos_workers.kernel.workspace import Workspace, make_folder

log = logging.getLogger(__name__)

Edit = Callable[[AgentDefinition], AgentDefinition]


class AgentFactory:
    """Creates, changes and restores agents; every worker sees the new file at its next goal."""

    def __init__(
        self,
        workspace: Workspace,
        loader: AgentLoader,
        clock: Clock,
        *,
        bus: EventBus | None = None,
    ) -> None:
        self._workspace, self._clock, self._bus = workspace, clock, bus
        self.loader = loader
        self.history = AgentHistory(workspace)

    def create_agent(
        self, agent: AgentDefinition, author: Author, *, why: str = ""
    ) -> AgentDefinition:
        """Write a new agent. The very same agent, made by the same goal before, is answered again.

        Raises ToolDenied when the author may not, InvalidOption for a name that is taken or
        fields that no file could hold.
        """
        check_new(agent, author)
        agent = bound(agent, author).model_copy(update={"version": 1, "path": ""})
        checked = self._as_file(agent)
        make_folder(self._workspace.agents)
        with folder_lock(self._workspace.agents):
            if self._path(agent.name).exists():
                return self._again(checked, author)
            number = self.history.next_number(agent.name)
            made = self._write(checked.model_copy(update={"version": number}), author, why)
        self._tell(Topic.AGENT_CREATED, made, author)
        return made

    def modify_agent(
        self, name: str, changes: dict[str, Any], author: Author, *, why: str = ""
    ) -> AgentDefinition:
        """Change fields of an agent, as its next version.

        Raises UnknownAgent, ToolDenied when the author may not, InvalidOption for a field that
        cannot be changed or a value that no file could hold.
        """
        for field in changes:
            if field not in CHANGEABLE:
                raise InvalidOption(
                    f"{field!r} of an agent cannot be changed.",
                    fix=f"Known: {', '.join(CHANGEABLE)}.",
                )
        return self._change(name, lambda agent: agent.model_copy(update=changes), author, why)

    def rollback(self, name: str, number: int, author: Author, *, why: str = "") -> AgentDefinition:
        """Bring a recorded version, also a draft, into force again, as the next version.

        Raises NotThere, MalformedFile when people wrote that version wrong, ToolDenied.
        """
        old = self._parse(name, self.history.text(name, number))
        return self._change(name, lambda _now: old, author, why or f"as version {number}")

    def draft(
        self, name: str, changes: dict[str, Any], author: Author, *, why: str = ""
    ) -> AgentVersion:
        """Record a proposed version that is not in force; ``rollback`` to it takes it over.

        Raises as modify_agent.
        """
        with folder_lock(self._workspace.agents):
            now = self._current(name)
            self._keep_edits(now, name)
            number = self.history.next_number(name, above=now.version)
            proposed = self._as_file(now.model_copy(update=changes | {"version": number}))
            check_change(now, proposed, author)
            version = self._version(number, author, why, draft=True)
            self.history.add(name, render_agent(proposed), version)
        return version

    def write_text(self, name: str, text: str, *, why: str = "") -> AgentDefinition:
        """Take over a whole file that a person wrote, as the next version (or the first).

        Raises MalformedFile with line and reason, ToolDenied for text that cannot be seen.
        """
        agent = self._parse(name, text)
        if not self._path(name).exists():
            return self.create_agent(agent, Author(), why=why)
        return self._change(name, lambda _now: agent, Author(), why)

    # -- inside ------------------------------------------------------------------------------

    def _change(self, name: str, edit: Edit, author: Author, why: str) -> AgentDefinition:
        with folder_lock(self._workspace.agents):
            now = self._current(name)
            self._keep_edits(now, name)
            number = self.history.next_number(name, above=now.version)
            edited = bound(edit(now), author).model_copy(update={"version": number, "path": ""})
            after = self._as_file(edited)
            check_change(now, after, author)
            if after.model_copy(update={"version": now.version}) == _bare(now):
                return now  # nothing changes: no version of nothing
            changed = self._write(after, author, why)
        self._tell(Topic.AGENT_CHANGED, changed, author)
        return changed

    def _current(self, name: str) -> AgentDefinition:
        """The agent as its file stands, also a disabled one. Raises UnknownAgent, MalformedFile."""
        try:
            return self._parse(name, self._path(name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return self.loader.get(name)  # raises, and says which agents there are
        except (OSError, UnicodeDecodeError) as error:
            raise UnknownAgent(f"agent {name!r} cannot be read: {error}.") from None

    def _keep_edits(self, now: AgentDefinition, name: str) -> None:
        """Record what people wrote by hand before it is replaced."""
        text = self._path(name).read_text(encoding="utf-8")
        last = self.history.last(name)
        if last is not None and self.history.text(name, last.number) == text:
            return
        number = now.version if last is None else self.history.next_number(name)
        version = AgentVersion(number, at=self._now(), by=BY_HAND)
        self.history.add(name, text, version)

    def _write(self, agent: AgentDefinition, author: Author, why: str) -> AgentDefinition:
        """History first: what is in force is always on record."""
        text = render_agent(agent)
        self.history.add(agent.name, text, self._version(agent.version, author, why))
        self._workspace.write_atomic(self._path(agent.name), text.encode())
        log.info("agent %s is version %d, by %s", agent.name, agent.version, author.words)
        return agent

    def _version(
        self, number: int, author: Author, why: str, *, draft: bool = False
    ) -> AgentVersion:
        return AgentVersion(
            number, at=self._now(), by=author.words, why=why, goal_id=author.goal_id, draft=draft
        )

    def _again(self, agent: AgentDefinition, author: Author) -> AgentDefinition:
        """A goal that runs again after a crash finds its own work; anybody else a taken name."""
        last = self.history.last(agent.name)
        if author.goal_id and last is not None and last.goal_id == author.goal_id:
            now = self._current(agent.name)
            if _bare(now).model_copy(update={"version": 1}) == agent:
                return now
        raise InvalidOption(
            f"there is already an agent {agent.name!r}.", fix="Change it, or choose another name."
        )

    def _as_file(self, agent: AgentDefinition) -> AgentDefinition:
        """The agent as its own file would be read. Raises InvalidOption when it could not be."""
        if not AGENT_NAME.fullmatch(agent.name):
            raise InvalidOption(
                f"{agent.name!r} is not an agent's name.",
                fix="Names have lower-case letters, digits and inner '-'.",
            )
        try:
            return self._parse(agent.name, render_agent(agent))
        except MalformedFile as error:
            raise InvalidOption(f"agent {agent.name!r}: {error.reason}") from None

    def _parse(self, name: str, text: str) -> AgentDefinition:
        return _bare(parse_agent(text, stem=name, path=str(self._path(name))))

    def _path(self, name: str) -> Path:
        if not AGENT_NAME.fullmatch(name):
            raise NotThere(
                f"{name!r} is not an agent's name.",
                fix="Names have lower-case letters, digits and inner '-'.",
            )
        return self._workspace.agents / f"{name}{SUFFIX}"

    def _tell(self, topic: Topic, agent: AgentDefinition, author: Author) -> None:
        if self._bus is not None:
            facts = {"agent": agent.name, "version": agent.version, "by": author.words,
                     "goal_id": author.goal_id}  # fmt: skip
            self._bus.publish(topic, facts)

    def _now(self) -> str:
        at = datetime.fromtimestamp(self._clock.now(), UTC)
        return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _bare(agent: AgentDefinition) -> AgentDefinition:
    """The agent without where its file lies."""
    return agent.model_copy(update={"path": ""})
