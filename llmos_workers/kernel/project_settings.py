"""A project's own settings: ``projects/<name>/project.toml``, beside the folder that tools write.

Read again whenever the file changed. A file that cannot be read gives no settings at all but an
error, as it may have held what was to be refused.
"""

from __future__ import annotations

import os
import re
import threading
import tomllib
from typing import Any

from pydantic import ValidationError

from llmos_workers.config_keys import near_miss
from llmos_workers.contracts.bounds import TOOL_NAME, BoundsError, parse_bounds
from llmos_workers.contracts.errors import FileMissing, MalformedFile, ToolError
from llmos_workers.contracts.projects import ProjectSettings
from llmos_workers.kernel.workspace import Workspace, read_inside

FILE = "project.toml"
MAX_FILE_BYTES = 65_536

Stamp = tuple[int, int, int, int]


class ProjectFiles:
    """Settings of all projects of a workspace. May be used from several threads."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._kept: dict[str, tuple[Stamp | None, ProjectSettings | MalformedFile]] = {}
        self._paths: dict[str, str] = {}
        self._lock = threading.Lock()

    def of(self, project: str) -> ProjectSettings:
        """The project's settings as its file stands now; without a file, none. The same object as
        long as nothing changed.

        Raises MalformedFile naming the line, InvalidOption for a bad name.
        """
        path = self._paths.get(project)
        if path is None:
            # Every call of a tool asks: one look at the disk is all that it costs.
            path = self._paths[project] = str(self._workspace.peek(project).root / FILE)
        try:
            facts = os.stat(path)  # noqa: PTH116 - text, not a Path: see above
            stamp = (facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size, facts.st_ino)
        except FileNotFoundError:
            stamp = None
        except OSError as error:
            raise MalformedFile(path, error.strerror or str(error)) from None
        with self._lock:
            kept = self._kept.get(project)
            if kept is None or kept[0] != stamp:
                kept = self._kept[project] = (stamp, self._read(project))
        if isinstance(kept[1], MalformedFile):
            raise kept[1]
        return kept[1]

    def _read(self, project: str) -> ProjectSettings | MalformedFile:
        folder = self._workspace.peek(project).root
        try:
            data = read_inside(folder, FILE, limit=MAX_FILE_BYTES + 1)
            if len(data) > MAX_FILE_BYTES:
                raise MalformedFile(str(folder / FILE), f"larger than {MAX_FILE_BYTES:,} bytes.")
            return parse_settings(data.decode("utf-8"), str(folder / FILE))
        except MalformedFile as error:
            return error
        except FileMissing:
            return ProjectSettings()
        except UnicodeDecodeError:
            return MalformedFile(str(folder / FILE), "is not UTF-8 text.")
        except ToolError as error:
            return MalformedFile(str(folder / FILE), error.message)


def parse_settings(text: str, path: str) -> ProjectSettings:
    """The settings in a file's text. Raises MalformedFile with the line."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else max(1, len(text.splitlines()))
        raise MalformedFile(path, f"{error}.", line=line) from None
    known = tuple(ProjectSettings.model_fields)
    for name in data:
        if name not in known:
            raise MalformedFile(
                path, f"unknown setting {name!r}.{near_miss(name, known)}", line=_line(name, text)
            )
    try:
        return ProjectSettings.model_validate(_checked(data))
    except BoundsError as error:
        raise MalformedFile(path, error.reason, line=_line(error.field, text)) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        line = _line(str(first["loc"][0]), text)
        raise MalformedFile(path, f"{where}: {first['msg']}.", line=line) from None


def _checked(data: dict[str, Any]) -> dict[str, Any]:
    tools = data.get("tools", [])
    for tool in tools if isinstance(tools, list) else []:
        if not isinstance(tool, str) or not TOOL_NAME.fullmatch(tool):
            raise BoundsError(f"{tool!r} is not a tool name; a ceiling has exact names.", "tools")
    return data | ({"bounds": parse_bounds(data["bounds"])} if "bounds" in data else {})


def _line(key: str, text: str) -> int:
    """1-based line that says ``key`` first as a name; 0 when none does."""
    pattern = re.compile(rf"(?:^|[\s.\[{{,\"'])[\"']?{re.escape(key)}[\"']?\s*[=\]:.]")
    lines = enumerate(text.splitlines(), 1)
    return next((number for number, line in lines if pattern.search(line)), 0)
