"""SecurityHook: refuses what is plainly out of bounds, before the sandbox has to."""

from __future__ import annotations

import os
from collections.abc import Iterable

from llmos_workers.contracts.errors import ToolError
from llmos_workers.contracts.tools import Effect, ToolCall, ToolSpec
from llmos_workers.execution.guard.bounds import check_bounds, check_demanded
from llmos_workers.execution.guard.calls import PATH_ARGUMENTS, judge_arguments
from llmos_workers.execution.guard.check import check_command, check_python
from llmos_workers.execution.guard.paths import HIDDEN, Use, check_path
from llmos_workers.execution.guard.policy import ALWAYS_PROTECTED, GuardPolicy
from llmos_workers.execution.guard.verdict import Finding, Verdict, worst
from llmos_workers.execution.hooks.base import ALLOW, Hook, HookDecision, HookEvent, ask, deny
from llmos_workers.kernel import paths

NOWHERE = "/project"
"""Stands for the project's folder where no call says which it is; nothing is looked up there."""


class SecurityHook(Hook):
    """Paths stay in the project, arguments are what they seem, what they would do is judged.

    ``protected`` are globs of project paths that no tool may write, besides those that make other
    programs run something; ``hosts`` may be reached without asking, with their subdomains.
    """

    name = "SecurityHook"
    judges = True

    def __init__(self, protected: Iterable[str] = (), hosts: Iterable[str] = ()) -> None:
        self._protected = (*ALWAYS_PROTECTED, *protected)
        self._hosts = tuple(host.lower() for host in hosts)

    def policy(self, area: str) -> GuardPolicy:
        """What is protected around a project's folder; empty: no folder is known."""
        return GuardPolicy(
            os.path.realpath(area) if area else NOWHERE,
            protected=self._protected,
            hosts=self._hosts,
            follow_links=bool(area),
        )

    def pre_tool(self, event: HookEvent) -> HookDecision:
        """See the class."""
        if event.call is None or event.spec is None:
            return deny("security:event", "there is no call to check")
        spec = event.spec
        bounds = [check_bounds(spec.bounds, event.call.arguments)]
        bounds += [check_demanded(each, event.call, spec) for each in event.bounds]
        limited = decision_of(worst(bounds))
        if limited is not ALLOW:
            return limited
        return self._check(event.call, spec, self.policy(event.area))

    def _check(self, call: ToolCall, spec: ToolSpec, policy: GuardPolicy) -> HookDecision:
        for name, value in call.arguments.items():
            if isinstance(value, str) and "\0" in value:
                return deny("security:argument", f"{name} holds a NUL character")
        writes = spec.effect is not Effect.READ
        for name in PATH_ARGUMENTS:
            value = call.arguments.get(name)
            if isinstance(value, str):
                decision = _check_path(value, policy, writes=writes)
                if decision is not ALLOW:
                    return decision
        # Addresses of WebFetch are WebHook's.
        left = (*PATH_ARGUMENTS, "url") if call.name == "WebFetch" else PATH_ARGUMENTS
        other = {k: v for k, v in call.arguments.items() if k not in left}
        return decision_of(judge_arguments(other, policy, writes=writes).finding)


def decision_of(finding: Finding) -> HookDecision:
    """What the guard found, as a hook says it."""
    if finding.verdict is Verdict.DENY:
        return deny(f"security:{finding.rule}", f"refused: {finding.reason}")
    if finding.verdict is Verdict.CONFIRM:
        return ask(f"security:{finding.rule}", f"needs confirmation: {finding.reason}")
    return ALLOW


def _check_path(path: str, policy: GuardPolicy, *, writes: bool) -> HookDecision:
    """A path that a file tool gets: relative, and inside by its text; the tool walks it safely."""
    if HIDDEN.search(path.replace("\0", "")):
        return deny("security:argument", "the path holds characters that cannot be seen")
    try:
        plain = paths.plain(path)
    except ToolError as error:
        return deny("security:path", str(error))
    if plain == ".." or plain.startswith("../"):
        return deny("security:path", f"{path!r} leads out of the project's folder")
    use = Use.WRITE if writes else Use.READ
    finding = check_path(plain, use, policy, policy.workspace)
    # Links that lead out are the tool's to refuse, at the moment of use.
    return ALLOW if finding.rule == "path" else decision_of(finding)


def is_destructive(call: ToolCall, spec: ToolSpec) -> bool:
    """Whether a call removes or overwrites what may not come back.

    A command line that cannot be read counts as destructive.
    """
    command, code = call.arguments.get("command"), call.arguments.get("code")
    policy = GuardPolicy(NOWHERE, follow_links=False)
    if isinstance(command, str):
        return check_command(command, policy).destructive
    if isinstance(code, str):
        return check_python(code, policy).destructive
    return spec.destructive
