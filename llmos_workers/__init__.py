"""llmos: natural-language goals on Celery, learned once and replayed from then on."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmos_workers.client import LLMOS as LLMOS
    from llmos_workers.client_handle import GoalHandle as GoalHandle
    from llmos_workers.client_tools import tools as tools
    from llmos_workers.config import LLMOSConfig as LLMOSConfig
    from llmos_workers.config_sources import ConfigBuilder as ConfigBuilder
    from llmos_workers.execution.tools.plugin import llm_tool as llm_tool

_LAZY = {
    "LLMOS": "llmos_workers.client",
    "GoalHandle": "llmos_workers.client_handle",
    "LLMOSConfig": "llmos_workers.config",
    "ConfigBuilder": "llmos_workers.config_sources",
    "llm_tool": "llmos_workers.execution.tools.plugin",
    "celery": "llmos_workers.app",
    "tools": "llmos_workers.client_tools",
}
"""Public name -> module, imported when first asked for: who submits pays only for submitting.
``celery`` is the app, where ``celery -A llmos_workers …`` looks for it.
"""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
