"""The gate: its order, its refusals, and that every failure in it is a refusal."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmos_workers.config import LLMOSConfig, SecurityConfig
from llmos_workers.contracts.errors import ApprovalNeeded
from llmos_workers.contracts.hooks import HookSetting
from llmos_workers.contracts.state import CognitivePolicy
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.execution.gate import GateContext, ToolGate
from llmos_workers.execution.gate_record import unrecorded
from llmos_workers.execution.hooks.base import (
    ALLOW,
    Hook,
    HookAction,
    HookDecision,
    HookEvent,
    ask,
    deny,
)
from llmos_workers.execution.hooks.budget import BudgetControlHook
from llmos_workers.execution.hooks.capture import TraceCaptureHook
from llmos_workers.execution.hooks.external import ExecutableHook, TimedHook, load_hook
from llmos_workers.execution.hooks.projects import ProjectHooks
from llmos_workers.execution.sandbox import make_sandbox
from llmos_workers.execution.sandbox.base import SandboxReport
from llmos_workers.kernel.redact import shared

Make = Callable[..., ToolGate]
Ctx = Callable[..., GateContext]
WRITE = ToolCall(name="Write", arguments={"path": "f", "content": "x"})


class Answer(Hook):
    name = "Answer"

    def __init__(self, decision: Any, seen: list[HookEvent] | None = None) -> None:
        self.decision, self.seen = decision, seen if seen is not None else []

    def pre_tool(self, event: HookEvent) -> HookDecision:
        self.seen.append(event)
        if isinstance(self.decision, Exception):
            raise self.decision
        return self.decision  # type: ignore[no-any-return]


def test_a_granted_call_runs(make_gate: Make, gate_context: Ctx, area: Path) -> None:
    result = make_gate().call(WRITE, gate_context())
    assert result.ok
    assert result.duration_ms > 0
    assert (area / "f").read_text() == "x"


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (ToolCall(name="write", arguments=WRITE.arguments), "unknown_tool"),
        (ToolCall(name="Write\u200b", arguments=WRITE.arguments), "unknown_tool"),
        (ToolCall(name="Write", arguments={"path": "f"}), "schema"),
        (ToolCall(name="Write", arguments={"path": "../f", "content": ""}), "security:path"),
        (ToolCall(name="Read", arguments={"path": "/etc/passwd"}), "security:path"),
    ],
)
def test_what_is_wrong_with_a_call_is_named(
    make_gate: Make, gate_context: Ctx, call: ToolCall, rule: str
) -> None:
    result = make_gate().call(call, gate_context())
    assert (result.ok, result.denied_by) == (False, rule)


def test_a_tool_without_a_grant_is_refused_in_every_mode(
    make_gate: Make, gate_context: Ctx, area: Path
) -> None:
    for source in ("model", "trace"):
        context = gate_context(grants=frozenset({"Read"}), source=source)
        result = make_gate().call(WRITE, context)
        assert result.denied_by == "grant"
    assert not (area / "f").exists()


@pytest.mark.parametrize(
    "decision",
    [
        RuntimeError("boom"),
        None,
        "allow",
        True,
        HookDecision(HookAction.MODIFY),
        HookDecision("yes"),  # type: ignore[arg-type]
    ],
)
def test_a_hook_that_raises_or_answers_nonsense_denies(
    make_gate: Make,
    gate_context: Ctx,
    area: Path,
    decision: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    result = make_gate(Answer(decision)).call(WRITE, gate_context())
    assert result.denied_by == "hook:Answer"
    assert not (area / "f").exists()
    assert any(record.levelno >= logging.ERROR for record in caplog.records)


def test_a_hook_may_deny_ask_change_and_add(make_gate: Make, gate_context: Ctx, area: Path) -> None:
    denied = make_gate(Answer(deny("mine", "not today"))).call(WRITE, gate_context())
    assert denied.denied_by == "mine"
    assert "not today" in (denied.error or "")
    asked = make_gate(Answer(ask("mine", "sure?"))).call(WRITE, gate_context())
    assert asked.denied_by == "approval"
    assert "nobody can be asked" in (asked.error or "")
    assert not (area / "f").exists()
    changed = HookDecision(HookAction.MODIFY, arguments={"path": "g", "content": "y"})
    assert make_gate(Answer(changed)).call(WRITE, gate_context()).ok
    assert (area / "g").read_text() == "y"
    context = gate_context()
    make_gate(Answer(HookDecision(HookAction.INJECT, context="note"))).call(WRITE, context)
    assert context.injected == ['<hook name="Answer">\nnote\n</hook>']


def test_changed_arguments_are_checked_again(make_gate: Make, gate_context: Ctx) -> None:
    bad = HookDecision(HookAction.MODIFY, arguments={"path": 5})
    assert make_gate(Answer(bad)).call(WRITE, gate_context()).denied_by == "schema"


def test_hooks_are_not_asked_about_calls_without_a_grant(
    make_gate: Make, gate_context: Ctx
) -> None:
    seen: list[HookEvent] = []
    make_gate(Answer(ALLOW, seen)).call(WRITE, gate_context(grants=frozenset()))
    assert seen == []


@pytest.mark.parametrize(
    ("policy", "call", "rule"),
    [
        ({"block_destructive_operations": True}, "rm f", "state:destructive"),
        ({"require_confirmation_for_shell": True}, "ls", "approval"),
        ({"require_confirmation_for_writes": True}, None, "approval"),
        ({"block_destructive_operations": True}, "ls", None),
    ],
)
def test_state_rules_hold(
    make_gate: Make, gate_context: Ctx, policy: dict[str, bool], call: str | None, rule: str | None
) -> None:
    tool_call = ToolCall(name="Bash", arguments={"command": call}) if call else WRITE
    result = make_gate().call(tool_call, gate_context(policy=CognitivePolicy(**policy)))
    assert result.denied_by == rule


def test_no_state_turns_a_denial_into_an_allow(make_gate: Make, gate_context: Ctx) -> None:
    call = ToolCall(name="Bash", arguments={"command": "rm -rf /"})
    result = make_gate().call(call, gate_context(policy=CognitivePolicy()))
    assert result.denied_by == "security:path"


def test_secrets_do_not_come_out(make_gate: Make, gate_context: Ctx, area: Path) -> None:
    shared().add("hush-hush-123456")
    (area / "f").write_text("k=hush-hush-123456 and sk-ant-abcdefghijk")
    call = ToolCall(name="Read", arguments={"path": "f"})
    shown = make_gate().call(call, gate_context()).output
    assert shown == "k=[redacted] and «secret:anthropic-key»"


def test_a_dry_run_changes_nothing(make_gate: Make, gate_context: Ctx, area: Path) -> None:
    context = gate_context()
    dry = replace(context, tool=replace(context.tool, dry_run=True))
    assert make_gate().call(WRITE, dry).denied_by == "dry_run"
    assert not (area / "f").exists()


def test_a_host_without_a_sandbox_refuses_shell_commands(
    make_gate: Make, gate_context: Ctx
) -> None:
    nothing = SandboxReport(0, 0, False, ("no Landlock here",))
    context = gate_context()
    bash = ToolCall(name="Bash", arguments={"command": "echo hi"})
    refusing = make_sandbox(SecurityConfig(), report=nothing)
    result = make_gate().call(bash, replace(context, tool=replace(context.tool, sandbox=refusing)))
    assert result.error_kind == "SandboxUnavailable"
    assert "no Landlock here" in (result.error or "")
    demanded = SecurityConfig(sandbox="require", allow_unconfined=True)  # type: ignore[arg-type]
    assert type(make_sandbox(demanded, report=nothing)) is type(refusing)
    allowed = make_sandbox(SecurityConfig(allow_unconfined=True), report=nothing)
    result = make_gate().call(bash, replace(context, tool=replace(context.tool, sandbox=allowed)))
    assert result.output == "hi\n"


def test_a_hook_that_cannot_be_loaded_denies_everything(gate_context: Ctx, registry: Any) -> None:
    from llmos_workers.kernel.clock import SystemClock

    for where in ("no.such:Hook", "/no/such/file", "os:getcwd"):
        config = LLMOSConfig(security=SecurityConfig(hooks=(where,)))
        hooks = ProjectHooks(config)
        gate = ToolGate(registry, hooks, SystemClock(), record=unrecorded)
        assert (gate.call(WRITE, gate_context()).denied_by or "").startswith("hook:"), where


def _script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("text", "denied_by"),
    [
        ('cat > /dev/null; echo \'{"decision": "allow"}\'', None),
        ('cat > /dev/null; echo \'{"decision": "deny", "rule": "r", "reason": "no"}\'', "r"),
        ('grep -q \'"tool": "Write"\' && echo \'{"decision": "deny", "rule": "saw"}\'', "saw"),
        ("cat > /dev/null; echo nonsense", "hook:guard"),
        ('cat > /dev/null; echo \'{"decision": "maybe"}\'', "hook:guard"),
        ('cat > /dev/null; echo \'{"decision": "allow"}\'; exit 1', "hook:guard"),
        ("sleep 30 & sleep 30", "hook:guard"),
    ],
)
def test_executable_hooks_decide_and_fail_closed(
    make_gate: Make, gate_context: Ctx, tmp_path: Path, text: str, denied_by: str | None
) -> None:
    hook = ExecutableHook(
        _script(tmp_path / "guard", text), HookSetting(use="/x", timeout_secs=1.0)
    )
    assert make_gate(hook).call(WRITE, gate_context()).denied_by == denied_by


def test_a_python_hook_that_hangs_denies(make_gate: Make, gate_context: Ctx) -> None:
    import threading

    release = threading.Event()

    class Hangs(Hook):
        def pre_tool(self, event: HookEvent) -> HookDecision:
            release.wait(20)
            return ALLOW

    result = make_gate(TimedHook(Hangs(), HookSetting(use="a:B", timeout_secs=0.1))).call(
        WRITE, gate_context()
    )
    release.set()
    assert result.denied_by == "hook:Hangs"


def test_a_hook_in_python_is_loaded_by_its_name() -> None:
    where = "llmos_workers.execution.hooks.state_rules:SentienceSafetyHook"
    assert load_hook(HookSetting(use=where)).name == "SentienceSafetyHook"


def test_capture_keeps_what_ran_and_not_what_was_refused(
    make_gate: Make, gate_context: Ctx
) -> None:
    capture = TraceCaptureHook()
    gate = make_gate(capture)
    gate.call(WRITE, gate_context())
    gate.call(ToolCall(name="Read", arguments={"path": "/x"}), gate_context())
    steps = capture.take("g1")
    assert [step.call.name for step in steps] == ["Write"]
    assert capture.take("g1") == ()


def test_the_budget_hook_stops_model_calls_and_warns(make_gate: Make, gate_context: Ctx) -> None:
    from llmos_workers.contracts.errors import ToolDenied

    with pytest.raises(ToolDenied, match="spent"):
        make_gate(BudgetControlHook(lambda _: 0.0)).prompt("go", gate_context())
    assert "5%" in make_gate(BudgetControlHook(lambda _: 0.05)).prompt("go", gate_context())[0]
    assert make_gate(BudgetControlHook(lambda _: 0.5)).prompt("go", gate_context()) == ()


def test_a_call_that_needs_a_yes_is_asked_about_once_as_it_will_run(
    make_gate: Make, gate_context: Ctx, area: Path
) -> None:
    """Two hooks and the state want a person asked; the call was changed before."""
    changed = HookDecision(HookAction.MODIFY, arguments={"path": "g", "content": "y"})
    hooks = (Answer(ask("one", "sure?")), Answer(changed), Answer(ask("two", "really?")))
    asked: list[ToolCall] = []
    context = gate_context(
        ask=lambda call, _decision: asked.append(call),
        policy=CognitivePolicy(require_confirmation_for_writes=True),
    )
    assert make_gate(*hooks).call(WRITE, context).ok
    assert [call.arguments for call in asked] == [{"path": "g", "content": "y"}]
    assert (area / "g").read_text() == "y"


def test_a_no_of_a_later_hook_beats_the_question_of_an_earlier_one(
    make_gate: Make, gate_context: Ctx, area: Path
) -> None:
    asked: list[ToolCall] = []
    context = gate_context(ask=lambda call, _decision: asked.append(call))
    gate = make_gate(Answer(ask("one", "sure?")), Answer(deny("two", "never")))
    assert gate.call(WRITE, context).denied_by == "two"
    assert (asked, (area / "f").exists()) == ([], False)


def test_waiting_for_a_person_leaves_the_gate_and_nothing_ran(
    make_gate: Make, gate_context: Ctx, area: Path
) -> None:
    def wait(_call: ToolCall, _decision: HookDecision) -> None:
        raise ApprovalNeeded("a person has to say yes", approval_id="a1")

    with pytest.raises(ApprovalNeeded):
        make_gate(Answer(ask("one", "sure?"))).call(WRITE, gate_context(ask=wait))
    assert not (area / "f").exists()
