"""Replay: it runs through the gate and stops at the first difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import TraceStep
from llmos_workers.execution.gate import GateContext, ToolGate
from llmos_workers.execution.ptc import PTCExecutor, SequenceResult, ToolSequence
from llmos_workers.execution.recording import record_step
from llmos_workers.kernel.clock import SystemClock

Ctx = Callable[..., GateContext]


@pytest.fixture
def gate(make_gate: Callable[..., ToolGate]) -> ToolGate:
    return make_gate()


@pytest.fixture
def learn(gate: ToolGate, gate_context: Ctx) -> Callable[..., list[TraceStep]]:
    """Run calls as a model would, one a turn, and give the steps."""

    def run(*calls: tuple[str, dict[str, Any]]) -> list[TraceStep]:
        steps = []
        for turn, (name, arguments) in enumerate(calls):
            call = ToolCall(name=name, arguments=arguments)
            result = gate.call(call, gate_context())
            steps.append(record_step(gate.registry.get(name).spec, call, result, turn))
        return steps

    return run


@pytest.fixture
def replay(gate: ToolGate, gate_context: Ctx) -> Callable[..., SequenceResult]:
    def run(steps: list[TraceStep], context: GateContext | None = None, **more: Any) -> Any:
        executor = PTCExecutor(gate, SystemClock())
        return executor.execute_sequence(
            ToolSequence(steps, **more), context or gate_context(source="trace")
        )

    return run


JOB = (
    ("Read", {"path": "in.txt"}),
    ("Write", {"path": "a.py", "content": "print(1)\n"}),
    ("Bash", {"command": "cat a.py in.txt > out.txt; cat out.txt"}),
)


def _fresh(area: Path) -> None:
    for name in ("a.py", "out.txt"):
        (area / name).unlink(missing_ok=True)


def test_a_replay_does_the_same_again(learn: Any, replay: Any, area: Path) -> None:
    (area / "in.txt").write_text("in\n")
    steps = learn(*JOB)
    _fresh(area)
    result = replay(steps)
    assert result.completed
    assert [r.ok for r in result.results] == [True] * 3
    assert (area / "out.txt").read_text() == "print(1)\nin\n"
    assert replay(steps).completed, "a second time, on its own results"


def test_progress_is_told_step_by_step(
    learn: Any, gate: ToolGate, gate_context: Ctx, area: Path
) -> None:
    (area / "in.txt").write_text("in\n")
    steps = learn(*JOB)
    seen: list[tuple[int, str, bool]] = []
    PTCExecutor(gate, SystemClock()).execute_sequence(
        ToolSequence(steps),
        gate_context(),
        on_step=lambda index, step, result: seen.append((index, step.call.name, result.ok)),
    )
    assert seen == [(0, "Read", True), (1, "Write", True), (2, "Bash", True)]


def test_a_changed_input_stops_it_before_anything_runs(learn: Any, replay: Any, area: Path) -> None:
    (area / "in.txt").write_text("in\n")
    steps = learn(*JOB)
    _fresh(area)
    (area / "in.txt").write_text("other\n")
    result = replay(steps)
    assert (result.completed, result.diverged_at, result.results) == (False, 0, [])
    assert "in.txt has changed" in result.reason


def test_a_file_left_otherwise_stops_it(learn: Any, replay: Any, area: Path) -> None:
    steps = learn(("Bash", {"command": "date +%N > stamp"}), JOB[1])
    result = replay(steps)
    assert (result.diverged_at, len(result.results)) == (0, 1)
    assert "stamp" in result.reason


def test_a_file_not_made_any_more_stops_it(learn: Any, replay: Any, area: Path) -> None:
    steps = learn(("Bash", {"command": "test -d .flag || touch f; mkdir -p .flag"}))
    (area / "f").unlink()
    assert replay(steps).diverged_at == 0


def test_another_output_stops_it_only_when_later_steps_relied_on_it(
    learn: Any, replay: Any
) -> None:
    clock = ("Bash", {"command": "date +%N"})
    assert replay(learn(clock, JOB[1])).diverged_at == 0
    assert replay(learn(JOB[1], clock)).completed
    assert not replay(learn(JOB[1], clock), answer_depends=True).completed
    same_turn = [s.model_copy(update={"turn": 0}) for s in learn(clock, JOB[1])]
    assert replay(same_turn).completed


def test_a_changed_or_missing_tool_stops_it(learn: Any, replay: Any) -> None:
    (step,) = learn(JOB[1])
    other = step.model_copy(update={"tool_version": "0" * 12})
    assert "has changed" in replay([other]).reason
    gone = step.model_copy(update={"call": ToolCall(name="Gone")})
    assert "is gone" in replay([gone]).reason


def test_a_slot_changes_what_it_touches_and_what_reads_that(
    learn: Any, replay: Any, area: Path
) -> None:
    recorded = learn(
        ("Write", {"path": "x.txt", "content": "5"}),
        ("Bash", {"command": "cat x.txt > y.txt"}),
        ("Write", {"path": "z.txt", "content": "z"}),
    )
    call = ToolCall(name="Write", arguments={"path": "x.txt", "content": "7"})
    filled = [recorded[0].model_copy(update={"call": call}), *recorded[1:]]
    result = replay(filled, slots={"n": "7"}, recorded=recorded)
    assert result.completed, result.reason
    assert (area / "y.txt").read_text() == "7"


def test_a_replayed_step_passes_the_same_gate(replay: Any, gate_context: Ctx, area: Path) -> None:
    wipe = TraceStep(call=ToolCall(name="Bash", arguments={"command": "rm -rf /"}))
    result = replay([wipe])
    assert result.diverged_at == 0
    assert result.results[0].denied_by == "security:path"
    write = TraceStep(call=ToolCall(name="Write", arguments={"path": "f", "content": ""}))
    ungranted = replay([write], gate_context(grants=frozenset({"Read"}), source="trace"))
    assert ungranted.results[0].denied_by == "grant"
    assert not (area / "f").exists()


def test_cancel_and_deadline_are_seen_before_each_step(
    learn: Any, replay: Any, gate_context: Ctx
) -> None:
    steps = learn(JOB[1], JOB[1])
    context = gate_context()
    answers = iter([False, False, True])
    stopped = replace(context, tool=replace(context.tool, cancelled=lambda: next(answers, True)))
    result = replay(steps, stopped)
    assert (result.diverged_at, result.reason) == (1, "the goal was cancelled")
    late = replace(context, tool=replace(context.tool, deadline=SystemClock().steady() - 1))
    assert "deadline" in replay(steps, late).reason


def test_a_read_that_leads_out_now_is_a_difference(learn: Any, replay: Any, area: Path) -> None:
    step = TraceStep(
        call=ToolCall(name="Read", arguments={"path": "f"}),
        reads=(FileDigest(path="f", digest=None),),
    )
    (area / "f").symlink_to("../../../..")
    assert replay([step]).diverged_at == 0
