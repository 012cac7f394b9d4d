"""SentienceInjectionHook: tells a model how the system feels. What it says stands behind the goal,
where it changes nothing of the prompt's stable part.
"""

from __future__ import annotations

from collections.abc import Callable

from llmos_workers.execution.hooks.base import ALLOW, Hook, HookDecision, HookEvent, inject

Describe = Callable[[str, bool], str]
"""Words for a project's state: all of them (True), or one line for a run that is under way. Empty:
nothing to say."""


class SentienceInjectionHook(Hook):
    """The whole state before the first call of a run; later a line when caution is due, which the
    gate says once.
    """

    name = "SentienceInjectionHook"
    advises = True

    def __init__(self, describe: Describe) -> None:
        self._describe = describe

    def prompt(self, event: HookEvent) -> HookDecision:
        """See the class."""
        words = self._describe(event.project, event.turn == 0)
        return inject(words) if words else ALLOW
