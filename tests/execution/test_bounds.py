"""Bounds that agents and projects set on numbers: read with their line, held in every mode."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmos_workers.contracts.bounds import BoundsError, ToolBounds, parse_bounds
from llmos_workers.contracts.errors import MalformedFile
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.tools import Effect, ToolCall, ToolResult, ToolSpec
from llmos_workers.evolution.agent_file import parse_agent
from llmos_workers.execution.gate import GateContext, ToolGate
from llmos_workers.execution.gate_record import unrecorded
from llmos_workers.execution.hooks.base import Hook, HookAction, HookDecision, HookEvent
from llmos_workers.execution.hooks.chain import HookChain
from llmos_workers.execution.hooks.security import SecurityHook
from llmos_workers.execution.tools.base import ToolContext
from llmos_workers.execution.tools.registry import ToolRegistry
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.project_settings import parse_settings

Ctx = Callable[..., GateContext]

AGENT = """---
name: arm
description: Moves the arm.
tools: [MoveArm]
bounds:
  MoveArm:
    x: [0, 300]
    speed: {{max: 50}}
    {extra}
---
Move it.
"""


class MoveArm:
    """A tool that moves an arm; its schema is loose on purpose."""

    def __init__(self) -> None:
        self.moves: list[dict[str, Any]] = []
        self.spec = ToolSpec(
            name="MoveArm",
            description="d",
            input_schema={
                "type": "object",
                "properties": {"x": {}, "speed": {"default": 100}, "path": {}},
            },
            effect=Effect.EXTERNAL,
            informative=False,
            bounds={"x": (-50, 1_000)},
        )

    def run(self, arguments: dict[str, Any], ctx: ToolContext) -> ToolResult:
        self.moves.append(arguments)
        return ToolResult(ok=True)


@pytest.fixture
def arm() -> MoveArm:
    return MoveArm()


def gate_of(arm: MoveArm, *hooks: Hook) -> ToolGate:
    chain = HookChain.of([*hooks, SecurityHook()])
    return ToolGate(ToolRegistry([arm]), chain, SystemClock(), record=unrecorded)


def denied(gate: ToolGate, context: GateContext, **arguments: Any) -> str | None:
    return gate.call(ToolCall(name="MoveArm", arguments=arguments), context).denied_by


OURS: tuple[ToolBounds, ...] = (
    parse_bounds({"MoveArm": {"x": [0, 300], "path.*.x": [0, 9]}}),
    parse_bounds({"MoveArm": {"x": {"max": 200}, "speed": {"max": 50}}}),
)
"""The agent's, and the project's."""


@pytest.mark.parametrize("source", ["model", "trace"])
def test_bounds_of_tool_agent_and_project_hold_together_in_every_mode(
    arm: MoveArm, gate_context: Ctx, source: str
) -> None:
    mode = Mode.LEARNER if source == "model" else Mode.FOLLOWER
    context = gate_context(grants={"MoveArm"}, bounds=OURS, source=source, mode=mode)
    gate = gate_of(arm)
    assert denied(gate, context, x=200, speed=50) is None
    for x in (201, 300.5, -1, math.nan, math.inf, -math.inf, "12", "1e3", True, None, [5], {}):
        assert denied(gate, context, x=x, speed=50) == "security:bounds", x
    assert denied(gate, context, x=1, speed=50.1) == "security:bounds"
    assert denied(gate, context, x=1, speed=1, path=[{"x": 9}, {"x": 10}]) == "security:bounds"
    # A value in another place than the bounds look is no way around them.
    for path in ("x=10", 10, [10], {"a": 10}):
        assert denied(gate, context, x=1, speed=1, path=path) == "security:bounds", path
    # What is left out has the schema's default.
    assert denied(gate, context, x=1) == "security:bounds"
    assert arm.moves == [{"x": 200, "speed": 50}]


def test_bounds_on_an_argument_that_the_tool_does_not_have_deny_instead_of_bounding_nothing(
    arm: MoveArm, gate_context: Ctx
) -> None:
    bounds = (parse_bounds({"MoveArm": {"sped": {"max": 50}}}),)
    context = gate_context(grants={"MoveArm"}, bounds=bounds)
    assert denied(gate_of(arm), context, x=1, speed=1) == "security:bounds"


def test_a_hook_cannot_move_a_number_out_of_its_bounds(arm: MoveArm, gate_context: Ctx) -> None:
    class Faster(Hook):
        def pre_tool(self, event: HookEvent) -> HookDecision:
            return HookDecision(HookAction.MODIFY, arguments={"x": 1, "speed": 99})

    context = gate_context(grants={"MoveArm"}, bounds=OURS)
    assert denied(gate_of(arm, Faster()), context, x=1, speed=1) == "security:bounds"


def test_an_agent_s_bounds_are_read() -> None:
    text = AGENT.format(extra='"path.*.x": {min: -1.5, max: 9}')
    agent = parse_agent(text, stem="arm", path="arm.md")
    assert agent.bounds == {
        "MoveArm": {"x": (0, 300), "speed": (-math.inf, 50), "path.*.x": (-1.5, 9)}
    }


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("z: [3, 1]", "arm.md:9: MoveArm.z: the least value is above the greatest."),
        ("x: [0, 900]", "arm.md:9: the field 'x' stands twice."),
        ("z: [1]", "arm.md:9: MoveArm.z: must be [least, greatest]"),
        ("z: {mx: 1}", "arm.md:9: MoveArm.z: give min, max or both"),
        ("z: {}", "arm.md:9: MoveArm.z: give min, max"),
        ("z: [0, .nan]", "arm.md:9: MoveArm.z: nan is not a finite number"),
        ("z: [0, .inf]", "arm.md:9: MoveArm.z: inf is not a finite number"),
        ('z: [0, "9"]', "arm.md:9: MoveArm.z: '9' is not a finite number"),
        ("z: [0, true]", "arm.md:9: MoveArm.z: True is not a finite number"),
        ('"z..x": [0, 1]', "arm.md:9: MoveArm: 'z..x' is not a dotted name"),
    ],
)
def test_bounds_that_make_no_sense_take_the_agent_away_and_name_the_line(
    extra: str, words: str
) -> None:
    with pytest.raises(MalformedFile) as caught:
        parse_agent(AGENT.format(extra=extra), stem="arm", path="arm.md")
    assert words in str(caught.value)


def test_bounds_on_a_tool_that_the_agent_has_not_are_a_fault() -> None:
    text = AGENT.format(extra="").replace("[MoveArm]", "[Read]")
    with pytest.raises(MalformedFile, match=r"arm\.md:6: bounds are set on MoveArm, which is not"):
        parse_agent(text, stem="arm", path="arm.md")


def test_a_projects_bounds_are_read(tmp_path: Path) -> None:
    text = "tools = []\n[bounds.MoveArm]\nx = [0, 3]\nspeed = { max = 1.5 }\n"
    settings = parse_settings(text, str(tmp_path))
    assert settings.bounds == {"MoveArm": {"x": (0, 3), "speed": (-math.inf, 1.5)}}
    assert settings.tools == ()


@pytest.mark.parametrize("given", [3, [], {"a b": {}}, {"A": 3}, {"A": {}}, {"A": {"": [0, 1]}}])
def test_what_is_no_table_of_bounds_is_refused(given: object) -> None:
    with pytest.raises(BoundsError):
        parse_bounds(given)
