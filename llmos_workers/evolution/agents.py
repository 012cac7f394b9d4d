"""The agents of the workspace: Markdown files, seen again whenever one changes."""

from __future__ import annotations

import logging
import os
import stat
import threading
from pathlib import Path

from llmos_workers.config_keys import near_miss
from llmos_workers.contracts.agents import AGENT_NAME, AgentDefinition
from llmos_workers.contracts.errors import MalformedFile, ToolError, UnknownAgent
from llmos_workers.evolution.agent_file import MAX_FILE_BYTES, parse_agent
from llmos_workers.kernel.workspace import Workspace, read_inside

log = logging.getLogger(__name__)

SUFFIX = ".md"
NOT_AGENTS = frozenset({"README.md"})

Stamp = tuple[int, int, int, int]
"""What changes when a file changes: mtime, ctime (both ns), size, inode."""

Entry = tuple[Stamp, AgentDefinition | MalformedFile]


class AgentLoader:
    """Loads ``agents/*.md``. A file is read again when its stamp changed, without a restart.

    A malformed file is skipped, so its agent is unknown, and reported by ``problems``: an edit
    that went wrong must not leave old grants in force. May be used from several threads.
    """

    def __init__(self, workspace: Workspace | Path | str) -> None:
        root = workspace if isinstance(workspace, Workspace) else Workspace(workspace)
        self.folder = root.agents
        self._entries: dict[str, Entry] = {}
        self._lock = threading.Lock()

    def load_agents(self) -> list[AgentDefinition]:
        """All agents that can be used, by name."""
        return [
            found
            for found in self._scan()
            if isinstance(found, AgentDefinition) and found.status == "active"
        ]

    def problems(self) -> list[MalformedFile]:
        """What is wrong with the files that are skipped, by path."""
        return [found for found in self._scan() if isinstance(found, MalformedFile)]

    def get(self, name: str) -> AgentDefinition:
        """The agent of that name, as its file stands now.

        Raises UnknownAgent, which says when the file is there but malformed or disabled.
        """
        if not AGENT_NAME.fullmatch(name):
            raise UnknownAgent(
                f"{name!r} is not an agent's name.",
                fix="Names have lower-case letters, digits and inner '-'.",
            )
        with self._lock:
            found = self._look(f"{name}{SUFFIX}")
        if isinstance(found, MalformedFile):
            raise UnknownAgent(f"agent {name!r} cannot be used: {found.message}")
        if found is not None and found.status == "active":
            return found
        known = [agent.name for agent in self.load_agents()]
        state = "is disabled" if found else "is not there"
        raise UnknownAgent(
            f"agent {name!r} {state}.{near_miss(name, known)}",
            fix=f"Known: {', '.join(known) or 'none'} (in {self.folder}).",
        )

    def reload_agent(self, name: str) -> AgentDefinition:
        """Read the agent's file again, whatever its stamp. Raises as ``get``."""
        with self._lock:
            self._entries.pop(f"{name}{SUFFIX}", None)
        return self.get(name)

    def _scan(self) -> list[AgentDefinition | MalformedFile]:
        try:
            names = sorted(entry.name for entry in os.scandir(self.folder))
        except FileNotFoundError:
            names = []
        except OSError as error:
            return [MalformedFile(str(self.folder), error.strerror or str(error))]
        names = [n for n in names if n.endswith(SUFFIX) and n[0] != "." and n not in NOT_AGENTS]
        with self._lock:
            for gone in self._entries.keys() - set(names):
                del self._entries[gone]
            found = [self._look(name) for name in names]
        return [entry for entry in found if entry is not None]

    def _look(self, file: str) -> AgentDefinition | MalformedFile | None:
        """The file's content, read when it changed; None when there is no such file."""
        path = self.folder / file
        try:
            facts = os.stat(path)  # noqa: PTH116 - follows links, as reading does
        except FileNotFoundError:
            self._entries.pop(file, None)
            return None
        except OSError as error:
            return MalformedFile(str(path), error.strerror or str(error))
        stamp = (facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size, facts.st_ino)
        known = self._entries.get(file)
        if known is not None and known[0] == stamp:
            return known[1]
        regular = stat.S_ISREG(facts.st_mode)  # a pipe would hold us up, a folder is no agent
        found = (
            self._read(file, path) if regular else MalformedFile(str(path), "is no regular file.")
        )
        if isinstance(found, MalformedFile):
            log.warning("agent skipped: %s", found)
        self._entries[file] = (stamp, found)
        return found

    def _read(self, file: str, path: Path) -> AgentDefinition | MalformedFile:
        try:
            data = read_inside(self.folder, file, limit=MAX_FILE_BYTES + 1)
            if len(data) > MAX_FILE_BYTES:
                raise MalformedFile(str(path), f"larger than {MAX_FILE_BYTES:,} bytes.")
            return parse_agent(data.decode("utf-8"), stem=path.stem, path=str(path))
        except MalformedFile as error:
            return error
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            return MalformedFile(str(path), "is not UTF-8 text.", line=line)
        except ToolError as error:
            return MalformedFile(str(path), error.message)
