"""``llmos hooks list | test``: whose hooks are asked in a project, and what they would say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from llmos_cli.context import Session
from llmos_cli.exits import Exit
from llmos_cli.options import project_option
from llmos_cli.output import emit_each, json_option
from llmos_cli.render import printable, short
from llmos_workers.contracts.errors import InvalidOption, NotThere
from llmos_workers.contracts.hooks import HookKind

if TYPE_CHECKING:
    from llmos_workers.execution.hooks.base import Hook, HookEvent

PROBE = {"path": "llmos-hook-test.txt"}
"""Arguments of the call that hooks are tested with: reading a file that is not there."""


@click.group()
def hooks() -> None:
    """List and test your hooks, which see every tool call.

    They come from security.hooks and from projects/NAME/project.toml of the workspace.
    """


@hooks.command("list")
@project_option("Hooks of this project.", default="default")
@json_option
@click.pass_obj
def list_hooks(session: Session, project: str, as_json: bool) -> int:
    """List the hooks of a project, in order.

    Then installed ones that nobody named.
    """
    from llmos_workers.execution.hooks.external import known_hooks

    found = [_facts(hook) for hook in _hooks(session, project)]
    installed = known_hooks()
    if as_json:
        unused = {"events": [], "advises": False, "fault": "", "in_use": False}
        emit_each(facts | {"in_use": True, "where": ""} for facts in found)
        emit_each({"name": n, "where": w} | unused for n, w in sorted(installed.items()))
        return Exit.SUCCEEDED
    for facts in found:
        state = (
            f"CANNOT BE USED: {facts['fault']}" if facts["fault"] else ", ".join(facts["events"])
        )
        print(printable(f"{facts['name']:24} {state}"))
    if not found:
        print("no hooks.")
    for name, where in sorted(installed.items()):
        print(printable(f"installed: {name} ({where})"))
    return Exit.SUCCEEDED


@hooks.command("test")
@click.argument("name", required=False)
@project_option("Hooks of this project.", default="default")
@click.option("--event", type=click.Choice([kind.value for kind in HookKind]),
              help="Only this event (default: all that a hook handles).")  # fmt: skip
@click.option("--tool", default="Read", show_default=True, help="Tool of the call they see.")
@click.option("--arguments", metavar="JSON", help="Arguments of the call.")
@click.option("--prompt", default="llmos hooks test", show_default=True, help="Goal they see.")
@json_option
@click.pass_obj
def test_hooks(
    session: Session,
    *,
    name: str | None,
    project: str,
    event: str | None,
    tool: str,
    arguments: str | None,
    prompt: str,
    as_json: bool,
) -> int:
    r"""Ask hooks, or the one of that NAME, about a made-up call.

    It does not run.

    Exits with 1 when a hook fails: it would deny every call.

    \b
    llmos hooks test check --tool Bash --arguments '{"command": "ls"}'
    """
    from llmos_workers.execution.hooks.chain import HookChain, name_of

    chosen = [hook for hook in _hooks(session, project) if name in (None, name_of(hook))]
    if name is not None and not chosen:
        raise NotThere(f"there is no hook {short(name)!r}.", fix="See: llmos hooks list.")
    kinds = [HookKind(event)] if event else list(HookKind)
    seen = _arguments(arguments)
    answers = []
    for hook in chosen:
        for kind in kinds:
            asked = hook.handles(kind)
            if asked:
                made = _event(kind, project, tool, seen, prompt)
                verdict = HookChain.of([hook]).ask(made)
                answers.append(_answer(name_of(hook), made, verdict))
    if as_json:
        emit_each(answers)
    else:
        print("\n".join(_line(answer) for answer in answers) if answers else "no hooks.")
    return Exit.FAILED if any(answer["failed"] for answer in answers) else Exit.SUCCEEDED


def _hooks(session: Session, project: str) -> list[Hook]:
    from llmos_workers.execution.hooks.projects import ProjectHooks
    from llmos_workers.kernel.project_settings import ProjectFiles
    from llmos_workers.kernel.workspace import Workspace

    files = ProjectFiles(Workspace(session.config.workspace))
    return ProjectHooks(session.config, settings=files.of).of_the_user(project)


def _arguments(given: str | None) -> dict[str, Any]:
    if given is None:
        return dict(PROBE)
    try:
        arguments = json.loads(given)
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise InvalidOption(
            "--arguments must be a JSON object.", fix='Write \'{"path": "a.txt"}\'.'
        )
    return arguments


def _event(
    kind: HookKind, project: str, tool: str, arguments: dict[str, Any], prompt: str
) -> HookEvent:
    """What the hooks get to see."""
    from llmos_workers.contracts.modes import Mode
    from llmos_workers.contracts.tools import ToolCall, ToolResult
    from llmos_workers.execution.hooks.base import HookEvent
    from llmos_workers.execution.tools.registry import ToolRegistry

    about_call = kind is not HookKind.USER_PROMPT_SUBMIT
    known = ToolRegistry.builtin().find(tool)
    ran = kind in (HookKind.POST_TOOL_USE, HookKind.ON_ERROR)
    return HookEvent(
        kind=kind,
        project=project,
        goal_id="hooks-test",
        agent="system-agent",
        mode=Mode.LEARNER,
        source="model",
        call=ToolCall(name=tool, arguments=arguments) if about_call else None,
        spec=known.spec if known and about_call else None,
        result=ToolResult(ok=kind is HookKind.POST_TOOL_USE, output="") if ran else None,
        prompt="" if about_call else prompt,
    )


def _facts(hook: Hook) -> dict[str, Any]:
    from llmos_workers.execution.hooks.chain import name_of
    from llmos_workers.execution.hooks.external import BrokenHook

    return {
        "name": name_of(hook),
        "events": [kind.value for kind in HookKind if hook.handles(kind)],
        "advises": hook.advises,
        "fault": hook.fault if isinstance(hook, BrokenHook) else "",
    }


def _answer(name: str, event: HookEvent, verdict: Any) -> dict[str, Any]:
    refusal = verdict.refusal
    changed = verdict.event.call if verdict.changed_by and event.result is None else None
    if refusal is not None:
        decision = refusal.action.value
    elif verdict.changed_by:
        decision = "modify"
    else:
        decision = "inject" if verdict.told else "allow"
    return {
        "hook": name,
        "event": event.kind.value,
        "decision": decision,
        "rule": refusal.rule if refusal else "",
        "reason": refusal.reason if refusal else "",
        "arguments": changed.arguments if changed else None,
        "context": [told.text for told in verdict.told],
        "failed": bool(verdict.fault),
    }


def _line(answer: dict[str, Any]) -> str:
    more = answer["reason"] or answer["arguments"] or "; ".join(answer["context"])
    words = f"{answer['hook']:24} {answer['event']:18} {answer['decision']:7} {more or ''}"
    return printable(words.rstrip())
