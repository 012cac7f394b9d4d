"""Which hooks are asked in a project: llmos's own, those of the settings, those of the project."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.hooks import HookSetting
from llmos_workers.contracts.projects import ProjectSettings
from llmos_workers.execution.hooks.base import Hook
from llmos_workers.execution.hooks.chain import HookChain
from llmos_workers.execution.hooks.external import load_hook
from llmos_workers.execution.hooks.security import SecurityHook
from llmos_workers.execution.hooks.web import WebHook

MAX_KEPT = 1_000
"""Projects whose chains are kept; beyond that all are made anew."""


_NONE = ProjectSettings()


def _no_settings(_project: str) -> ProjectSettings:
    return _NONE


class ProjectHooks:
    """Makes the chain of each project, and again when its settings change.

    ``ours`` are asked first, then the user's hooks; SecurityHook and WebHook judge what comes of
    it. A hook of the user's that cannot be had is replaced by one that denies everything. With
    ``sdk.enable_hooks`` off the user's are left out; ours always stay. ``settings`` gives the same
    object as long as nothing changed.
    """

    def __init__(
        self,
        config: LLMOSConfig,
        *ours: Hook,
        settings: Callable[[str], ProjectSettings] = _no_settings,
    ) -> None:
        self._config, self._ours, self._settings = config, ours, settings
        self._workspace = config.workspace.expanduser().absolute()
        self._kept: dict[str, tuple[ProjectSettings, HookChain]] = {}
        self._general: list[Hook] | None = None
        self._lock = threading.Lock()

    def __call__(self, project: str) -> HookChain:
        """The project's chain. Raises MalformedFile, InvalidOption."""
        settings = self._settings(project)
        with self._lock:
            kept = self._kept.get(project)
            if kept is None or kept[0] is not settings:
                if len(self._kept) >= MAX_KEPT:
                    self._kept.clear()
                user = self._of_the_user(project, settings)
                kept = self._kept[project] = settings, self._chain(user)
            return kept[1]

    def of_the_user(self, project: str) -> list[Hook]:
        """The user's hooks in a project, in the order in which they are asked.

        Raises MalformedFile, InvalidOption.
        """
        with self._lock:
            return self._of_the_user(project, self._settings(project))

    def _of_the_user(self, project: str, settings: ProjectSettings) -> list[Hook]:
        if not self._config.sdk.enable_hooks:
            return []
        if self._general is None:
            named = map(HookSetting.model_validate, self._config.security.hooks)
            self._general = [self._load(one, Path.cwd()) for one in named]
        folder = self._workspace / "projects" / project
        return [*self._general, *(self._load(one, folder) for one in settings.hooks)]

    def _load(self, setting: HookSetting, base: Path) -> Hook:
        return load_hook(setting, base=base, writable=self._is_writable)

    def _chain(self, user: list[Hook]) -> HookChain:
        security = self._config.security
        judges = [
            SecurityHook(security.protected_paths, security.allowed_hosts),
            WebHook(security.allowed_hosts),
        ]
        return HookChain.of([*self._ours, *user, *judges])

    def _is_writable(self, path: Path) -> bool:
        """Whether tools write there: what goals make, and the stages of runs."""
        projects = self._workspace.resolve() / "projects"
        if not path.is_relative_to(projects):
            return False
        return path.relative_to(projects).parts[1:2] in (("output",), ("state",))
