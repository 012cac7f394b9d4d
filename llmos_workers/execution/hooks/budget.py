"""BudgetControlHook: no model call without money left, and a word when it runs low."""

from __future__ import annotations

from collections.abc import Callable

from llmos_workers.execution.hooks.base import (
    ALLOW,
    Hook,
    HookAction,
    HookDecision,
    HookEvent,
    deny,
)

LOW_SHARE = 0.1
"""Share of the budget from which on the model is told to be brief."""


class BudgetControlHook(Hook):
    """Asks what share (0..1) of a project's budget is left, before each model call.

    The ledger decides in the end: a reservation that does not fit is refused there.
    """

    name = "BudgetControlHook"
    advises = True

    def __init__(self, remaining_share: Callable[[str], float]) -> None:
        self._remaining_share = remaining_share

    def prompt(self, event: HookEvent) -> HookDecision:
        """Deny at nothing left, inject a warning when little is."""
        share = self._remaining_share(event.project)
        if share <= 0:
            return deny("budget", f"the budget of project {event.project} is spent")
        if share < LOW_SHARE:
            words = f"Only {share:.0%} of the budget is left: finish in as few steps as you can."
            return HookDecision(HookAction.INJECT, "budget", context=words)
        return ALLOW
