"""What a replay answers: the stored text only while everything it rests on is the same. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from llmos_workers.contracts.tools import ToolCall, ToolResult
from llmos_workers.contracts.trace import ExecutionTrace, TraceStep
from llmos_workers.execution.recording import output_digest
from llmos_workers.learning.dependence import reveals
from llmos_workers.learning.followable import changed_slots
from llmos_workers.learning.matching.slots import fill
from llmos_workers.learning.trace_prose import one_line

MAX_OUTPUT = 2_000
"""Characters of one step's output in a described answer."""


_FROM = "replayed from "
_DATE_LINE = re.compile(rf"\n\n\({_FROM}[^()\n]*\)$")


def without_date(answer: str) -> str:
    """A replayed answer in the learner's words alone."""
    return _DATE_LINE.sub("", answer)


def replay_answer(
    trace: ExecutionTrace, slots: Mapping[str, str], results: Sequence[ToolResult]
) -> str:
    """The text of a replayed goal; ``results`` are those of the trace's steps, in order.

    The learner's own words are given again when each informative step returned what it returned
    then, with the new slot values put in their place. Otherwise the steps' real outputs are told
    instead: never an old answer over new facts. Where the text is all there is, it says its date.
    """
    if len(results) != len(trace.steps):
        return _described(trace, slots, results)
    if not all(_as_before(trace, slots, s, r) for s, r in zip(trace.steps, results, strict=True)):
        return _described(trace, slots, results)
    answer = _with_values(trace, slots, trace.answer)
    if not trace.outputs and answer:
        return f"{answer}\n\n({_FROM}{trace.created_at[:10] or 'an earlier run'})"
    return answer or _described(trace, slots, results)


def same_words(one: str, other: str) -> bool:
    """Whether two answers say the same, case and spacing aside."""
    return without_date(one).casefold().split() == without_date(other).casefold().split()


def answers_alike(known: ExecutionTrace, done: ExecutionTrace) -> bool:
    """Whether two runs that made the same calls did the same job.

    Where no file came of the calls the answer is the job, and one reading serves many questions:
    ``wc -l notes.txt`` tells how many lines there are, and whether they are more than ten.
    """
    return bool(known.outputs) or same_words(known.answer, done.answer)


def needs_model(
    trace: ExecutionTrace, slots: Mapping[str, str], results: Sequence[ToolResult]
) -> str:
    """Why a replay that ran to its end still has to go to a model; "" when it has not.

    Where a run left no files its answer is the result, and that answer was made from what the
    calls said. When they now say something else, only a model can answer anew.
    """
    if trace.outputs:
        return ""
    for at, (step, result) in enumerate(zip(trace.steps, results, strict=False)):
        if reveals(trace.steps, at) and not _as_before(trace, slots, step, result):
            return f"the answer rests on what {_title(step)} says, and that is another text now"
    return ""


def _as_before(
    trace: ExecutionTrace, slots: Mapping[str, str], step: TraceStep, result: ToolResult
) -> bool:
    """Whether a step said what it said in the learning run, apart from the slots' values."""
    if not step.informative:
        return True
    if output_digest(result.output) == (step.output_digest or output_digest(step.output)):
        return True
    if not changed_slots(trace, slots):
        return False
    expected = _with_values(trace, slots, step.output)
    return output_digest(result.output) == output_digest(expected)


def _with_values(trace: ExecutionTrace, slots: Mapping[str, str], text: str) -> str:
    """Text with the slots' old values replaced where they stand alone."""
    if not changed_slots(trace, slots):
        return text
    loose = [slot.model_copy(update={"declared": True}) for slot in trace.slots]
    step = TraceStep(call=ToolCall(name="text", arguments={"text": text}))
    return str(fill([step], loose, slots)[0].call.arguments["text"])


def _described(
    trace: ExecutionTrace, slots: Mapping[str, str], results: Sequence[ToolResult]
) -> str:
    """What the steps really did and said this time."""
    filled = fill(trace.steps, trace.slots, slots)
    lines = [f"Replayed {len(results)} of {len(filled)} steps:"]
    for step, result in zip(filled, results, strict=False):
        lines.append(f"- {_title(step)}: {'done' if result.ok else 'failed'}")
        text = result.output.strip()
        if step.informative and text:
            cut = text[:MAX_OUTPUT] + ("\n…" if len(text) > MAX_OUTPUT else "")
            lines += [f"  {line}" for line in cut.splitlines()]
    files = [file.path for result in results for file in result.writes if file.digest]
    if files:
        lines.append(f"Files: {', '.join(dict.fromkeys(files))}")
    return "\n".join(lines)


def _title(step: TraceStep) -> str:
    for key in ("path", "command", "pattern", "url"):
        value = step.call.arguments.get(key)
        if isinstance(value, str):
            return f"{step.call.name} {one_line(value, 80)}"
    return step.call.name
