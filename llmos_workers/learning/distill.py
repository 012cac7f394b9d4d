"""From the record of a run to a trace worth keeping. Pure.

Dropped are calls that failed, calls that an identical later call repeats, and readings at the end
that only looked at what the run had made. Everything the model saw stays a dependency: a file
that was read is an input even when its reading is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Usage
from llmos_workers.contracts.tools import CONFINED_TOOLS, Effect, ToolSpec
from llmos_workers.contracts.trace import ExecutionTrace, Slot, TraceStep
from llmos_workers.execution.recording import MAX_STORED_OUTPUT, steady_digest
from llmos_workers.learning.checks import checks_of, doubts_about
from llmos_workers.learning.dependence import (
    READING_TOOLS,
    inputs_of,
    outputs_of,
    succeeded,
    without_caches,
    written_after_seeing,
)
from llmos_workers.learning.matching.slots import discover_slots
from llmos_workers.learning.references import with_references
from llmos_workers.learning.signature import goal_signature
from llmos_workers.learning.trace_prose import one_line

OUTSIDE = "may have effects outside the project"
"""How the doubt about a tool ends that is not confined."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known of the learning run besides its calls."""

    project: str = "default"
    goal_id: str = ""
    agent: str = "system-agent"
    model: str = ""
    mode: Mode = Mode.LEARNER
    created_at: str = ""
    """ISO 8601, UTC."""
    cost_micro: int = 0
    usage: Usage = field(default_factory=Usage)
    duration_s: float = 0.0
    tainted: bool = False
    reached: bool = False
    """Whether its commands connected to something outside."""


def distill(
    goal: str,
    transcript: Sequence[TraceStep],
    *,
    answer: str = "",
    specs: Mapping[str, ToolSpec] | None = None,
    facts: RunFacts | None = None,
    declared: Sequence[Slot] = (),
    aliases: Sequence[str] = (),
    hidden: Sequence[str] = (),
    destructive: bool = False,
) -> ExecutionTrace:
    """The trace of a *successful* run (the caller knows; failed runs are not stored).

    ``specs`` are the tools as they were: a tool that is not among them cannot be vouched for.
    ``declared`` slots, ``aliases`` and ``hidden`` parameters are what the model said of its own
    run; with a hidden parameter (a value that the goal never says and that would be another one
    at other times) only the very wording of the goal is followed. ``destructive``: the model said
    that it is.
    """
    facts = facts or RunFacts()
    tools = specs or {}
    transcript = [without_caches(step) for step in transcript]
    steps = _distilled(transcript, tools)
    checks = checks_of(transcript, steps)
    steps = with_references(goal, steps, [check.step for check in checks])
    doubts = _doubts(facts, transcript, steps, tools, answer)
    doubts += doubts_about(checks, tools, reached=facts.reached)
    answer = _text(answer)
    outputs = outputs_of(steps)
    named = {slot.value.lower() for slot in declared}
    found = [slot for slot in discover_slots(goal, steps) if slot.value.lower() not in named]
    return ExecutionTrace(
        trace_id=goal_signature(goal),
        project=facts.project,
        goal_signature=goal_signature(goal),
        goal_text=goal,
        aliases=tuple(aliases),
        slots=_named_apart((*declared, *found)),
        steps=tuple(steps),
        checks=checks,
        inputs=inputs_of(transcript),
        outputs=outputs,
        answer=answer,
        agent=facts.agent,
        mode=facts.mode,
        created_at=facts.created_at,
        learned_from=facts.goal_id,
        model=facts.model,
        learn_cost_micro=facts.cost_micro,
        learn_usage=facts.usage,
        learn_duration_s=facts.duration_s,
        proved=not doubts,
        destructive=destructive or _destructive(steps, tools),
        hidden=tuple(hidden),
        tainted=facts.tainted,
        output_summary=_summary(answer, [file.path for file in outputs]),
        error_notes="; ".join(doubts),
    )


def with_last_words(trace: ExecutionTrace, again: Sequence[str]) -> ExecutionTrace:
    """The trace with what its calls told after which no call was written: that nothing more was to
    be done, the model saw from that. ``again``: what they told another time; where that is another
    text, times aside, it decides nothing.
    """
    if not trace.outputs:
        return trace  # its answer rests on all that was said, to the letter
    last = max((step.turn for step in trace.steps), default=0)
    steps = [
        step.model_copy(update={"said": steady_digest(told)})
        if step.informative and step.turn == last and _same(step.output, told)
        else step
        for step, told in zip(trace.steps, again, strict=True)
    ]
    return trace.model_copy(update={"steps": tuple(steps)})


def _same(stored: str, told: str) -> bool:
    """``stored`` may be cut off at its end."""
    return steady_digest(stored) == steady_digest(told[:MAX_STORED_OUTPUT])


def _distilled(transcript: Sequence[TraceStep], tools: Mapping[str, ToolSpec]) -> list[TraceStep]:
    steps = [step for step in transcript if succeeded(step)]
    at = 0
    while at < len(steps):
        if _repeated_later(steps, at, tools):
            del steps[at]
        else:
            at += 1
    while steps and _only_looks_back(steps, tools):
        steps.pop()
    return [_cleaned(step) for step in steps]


def _repeated_later(steps: Sequence[TraceStep], at: int, tools: Mapping[str, ToolSpec]) -> bool:
    """Whether an identical later call makes this one unnecessary, and surely so.

    Only calls that are safe to repeat, and only when nothing in between could tell whether the
    first one had run: no shell, no use of its files, nothing written after seeing its result.
    """
    step, spec = steps[at], tools.get(steps[at].call.name)
    if spec is None or spec.effect is Effect.EXTERNAL:
        return False
    same = (n for n in range(at + 1, len(steps)) if steps[n].call.digest() == step.call.digest())
    again = next(same, None)
    if again is None:
        return False
    between = steps[at + 1 : again]
    touched = {file.path for file in (*step.writes, *step.reads)}
    for other in between:
        used = {file.path for file in (*other.reads, *other.writes)}
        other_spec = tools.get(other.call.name)
        if other_spec is None or other_spec.effect is Effect.EXTERNAL or used & touched:
            return False
        if spec.effect is Effect.READ and other_spec.effect is not Effect.READ:
            return False
        if step.writes and not used:
            return False  # a search may have seen the files without naming them
    return True


def _only_looks_back(steps: Sequence[TraceStep], tools: Mapping[str, ToolSpec]) -> bool:
    """Whether the last step only reads what the run itself wrote."""
    last, spec = steps[-1], tools.get(steps[-1].call.name)
    written = {file.path for step in steps[:-1] for file in step.writes}
    if spec is None or last.call.name not in READING_TOOLS or not last.reads:
        return False  # a search says also where nothing is
    return all(file.path in written for file in last.reads)


def _cleaned(step: TraceStep) -> TraceStep:
    """Without the model's id of the call, which means nothing in a replay."""
    if not step.call.call_id:
        return step
    return step.model_copy(update={"call": step.call.model_copy(update={"call_id": ""})})


def _doubts(
    facts: RunFacts,
    transcript: Sequence[TraceStep],
    steps: Sequence[TraceStep],
    tools: Mapping[str, ToolSpec],
    answer: str,
) -> list[str]:
    """Why the trace cannot be called proved; empty when it can."""
    doubts = [f"the network that its commands had {OUTSIDE}"] if facts.reached else []
    for name in dict.fromkeys(step.call.name for step in transcript):
        spec = tools.get(name)
        if spec is None:
            doubts.append(f"the tool {name} is not known")
        elif spec.effect is Effect.EXTERNAL and name not in CONFINED_TOOLS:
            doubts.append(f"{name} {OUTSIDE}")
    if transcript and not steps:
        doubts.append("none of its calls succeeded")
    if not transcript and not answer.strip():
        doubts.append("it neither did nor said anything")
    final = {file.path: file.digest for file in outputs_of(steps)}
    actual = {file.path: file.digest for file in outputs_of(transcript)}
    lost = [path for path in actual if final.get(path) != actual[path]]
    if lost:
        doubts.append(f"a call that failed changed {', '.join(lost[:5])}")
    if _saw_a_failure_first(transcript):
        doubts.append("it was written after a failed call had changed files")
    return doubts


def _saw_a_failure_first(transcript: Sequence[TraceStep]) -> bool:
    """Whether a failed call changed files that a later call may have built on."""
    return any(
        not succeeded(step) and step.writes and written_after_seeing(transcript, at)
        for at, step in enumerate(transcript)
    )


def _destructive(steps: Sequence[TraceStep], tools: Mapping[str, ToolSpec]) -> bool:
    """Whether it deletes what it did not make itself, or uses a tool that destroys."""
    made: set[str] = set()
    for step in steps:
        spec = tools.get(step.call.name)
        if spec is not None and spec.destructive:
            return True
        for file in step.writes:
            if file.digest is None and file.path not in made:
                return True
            made.add(file.path)
    return False


def _named_apart(slots: Sequence[Slot]) -> tuple[Slot, ...]:
    """Each name once: a later slot of a taken name gets a number."""
    taken: dict[str, Slot] = {}
    for slot in slots:
        name, at = slot.name, 1
        while name in taken:
            at += 1
            name = f"{slot.name}_{at}"
        taken[name] = slot.model_copy(update={"name": name})
    return tuple(taken.values())


def _text(answer: str) -> str:
    """Text that every file can hold: half a surrogate pair becomes a question mark."""
    return answer.encode("utf-8", "replace").decode()


def _summary(answer: str, files: Sequence[str]) -> str:
    if files:
        more = f" and {len(files) - 5} more" if len(files) > 5 else ""
        return f"Leaves {', '.join(files[:5])}{more}."
    return one_line(answer, 200)
