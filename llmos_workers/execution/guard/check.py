"""Judges a command line, a path, an address or a piece of Python, and whole tool calls."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from llmos_workers.execution.guard.parse import UnreadableCommand
from llmos_workers.execution.guard.policy import GuardPolicy
from llmos_workers.execution.guard.python_code import judge_python
from llmos_workers.execution.guard.scope import Scope, TooDeep
from llmos_workers.execution.guard.verdict import Finding, confirm, deny, worst
from llmos_workers.execution.guard.walk import Walker

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judgement:
    """What the guard says, and whether the call destroys something."""

    finding: Finding
    destructive: bool


def check_command(command: str, policy: GuardPolicy) -> Judgement:
    """Judge a command line. Whatever goes wrong in here is a no."""
    walker = Walker()
    scope = Scope(policy, walker, policy.workspace)
    try:
        walker.script(command, scope, None)
        if scope.shared.backquotes:
            scope.confirm("backquotes", "back-quotes are read differently by different shells")
    except UnreadableCommand as error:
        scope.confirm("parse", f"the command cannot be read: {error}")
        return Judgement(worst(scope.shared.findings), destructive=True)
    except (TooDeep, RecursionError):
        scope.confirm("depth", "the command is too long or nested too deeply to be judged")
        return Judgement(worst(scope.shared.findings), destructive=True)
    # A fault in here means that the command was not judged to its end.
    except Exception as error:
        logger.exception("the guard failed on a command")
        return Judgement(
            deny("guard", f"the guard failed ({type(error).__name__})"), destructive=True
        )
    return Judgement(worst(scope.shared.findings), scope.shared.destructive)


def check_python(code: str, policy: GuardPolicy) -> Judgement:
    """Judge Python code. Whatever goes wrong in here is a no."""
    scope = Scope(policy, Walker(), policy.workspace)
    try:
        judge_python(code, scope)
    except (TooDeep, RecursionError, UnreadableCommand):
        scope.note(confirm("depth", "the code is too long or nested too deeply to be judged"))
        return Judgement(worst(scope.shared.findings), destructive=True)
    # A fault in here means that the code was not judged to its end.
    except Exception as error:
        logger.exception("the guard failed on Python code")
        return Judgement(
            deny("guard", f"the guard failed ({type(error).__name__})"), destructive=True
        )
    return Judgement(worst(scope.shared.findings), scope.shared.destructive)
