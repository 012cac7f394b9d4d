"""Tools from elsewhere: entry points of installed packages, and files of ``workspace/tools``.

An installed package was chosen by whoever runs the workers: its tools are there, and used by
agents that name them. A file in the workspace may have come from anywhere: by default it is
loaded only when a trusted key signed it as it stands (``llmos tools sign``).
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Literal

from llmos_workers.contracts.errors import ConfigError, LLMOSError
from llmos_workers.contracts.tools import ToolSpec
from llmos_workers.execution.tools.base import Tool
from llmos_workers.execution.tools.plugin import FunctionTool
from llmos_workers.execution.tools.registry import ToolRegistry
from llmos_workers.kernel.signing import KeyRing, Verdict

logger = logging.getLogger(__name__)

GROUP = "llmos.tools"
"""Entry point group: a tool, or a module with tools."""

SIGNED_KIND = "tool"
SIGNATURE_SUFFIX = ".sig"

WorkspaceTools = Literal["off", "signed", "on"]


def add_plugins(
    registry: ToolRegistry, folder: Path, keys: KeyRing, *, workspace_tools: WorkspaceTools
) -> None:
    """Register all tools from elsewhere. What cannot be loaded is left out, loudly: agents that
    need it are told by the gate that it is not there.
    """
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        _add(registry, f"entry point {point.name}", partial(_of_point, point))
    if workspace_tools == "off" or not folder.is_dir():
        return
    for path in sorted(folder.glob("*.py")):
        source = path.read_bytes()
        if workspace_tools == "signed" and (why := objection_to(path, source, keys)):
            logger.error("tools of %s are not loaded: %s", path, why)
            continue
        _add(registry, str(path), partial(_of_file, path, source))


def sign_file(path: Path, keys: KeyRing) -> Path:
    """Vouch for a file of tools as it stands; returns the file of the signature.

    Raises WorkspaceUnwritable, ConfigError, MalformedFile.
    """
    target = path.with_name(path.name + SIGNATURE_SUFFIX)
    target.write_text(keys.sign(SIGNED_KIND, _content(path.name, path.read_bytes())) + "\n")
    return target


def objection_to(path: Path, source: bytes, keys: KeyRing) -> str:
    """Why a file's tools are not loaded; empty when they are."""
    sidecar = path.with_name(path.name + SIGNATURE_SUFFIX)
    signature = sidecar.read_text().strip() if sidecar.is_file() else ""
    verdict = keys.check(SIGNED_KIND, _content(path.name, source), signature)
    return {
        Verdict.GOOD: "",
        Verdict.MISSING: "it is not signed (llmos tools sign)",
        Verdict.UNKNOWN_KEY: "it is signed by a key that is not trusted",
        Verdict.WRONG: "it is not what was signed (llmos tools sign, after reading it)",
    }[verdict]


def tools_in(module: ModuleType) -> list[Tool]:
    """The decorated functions of a module, and what its TOOLS names."""
    found: list[Tool] = [m for m in vars(module).values() if isinstance(m, FunctionTool)]
    return found + [tool for tool in getattr(module, "TOOLS", ()) if tool not in found]


def _content(name: str, source: bytes) -> bytes:
    return name.encode() + b"\0" + source


def _add(registry: ToolRegistry, where: str, load: Callable[[], Iterable[Tool]]) -> None:
    try:
        for tool in load():
            registry.register(tool)
    except LLMOSError as error:
        logger.error("tools of %s are not loaded: %s", where, error)  # noqa: TRY400
    # A module of others may raise anything when imported; the rest has to go on without it.
    except Exception:
        logger.exception("tools of %s are not loaded", where)


def _of_point(point: EntryPoint) -> Iterator[Tool]:
    loaded = point.load()
    if isinstance(loaded, ModuleType):
        yield from tools_in(loaded)
    elif isinstance(getattr(loaded, "spec", None), ToolSpec):
        yield loaded
    else:
        raise ConfigError(f"{point.value} is neither a tool nor a module with tools.")


def _of_file(path: Path, source: bytes) -> list[Tool]:
    """Exactly the bytes that were checked are run, whatever the file holds by now."""
    name = f"llmos_workspace_tools_{path.stem}"
    spec = importlib.util.spec_from_loader(name, loader=None, origin=str(path))
    if spec is None:
        raise ConfigError(f"{path} cannot be loaded.")
    module = importlib.util.module_from_spec(spec)
    exec(compile(source, str(path), "exec"), vars(module))  # noqa: S102 - signed or allowed
    return tools_in(module)
