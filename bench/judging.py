"""What the judge benches share: pairs as questions, and a judge that answers from labels."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from llmos_workers.contracts.decision import MatchCandidate
from llmos_workers.contracts.outcome import Usage
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import ExecutionTrace, Slot, TraceStep
from llmos_workers.kernel.prices import Prices
from llmos_workers.learning.judge import (
    NO,
    SCHEMA,
    SYSTEM,
    YES,
    Question,
    ask_text,
    question,
    read_verdict,
)
from llmos_workers.learning.signature import goal_signature
from llmos_workers.rehearsal.protocol import canonical, tokens_of

LIST_MODEL = "haiku"
"""Whose list prices a verdict is counted at."""


def question_of(
    goal: str, new_goal: str, candidate: MatchCandidate, slots: tuple[Slot, ...] = ()
) -> Question:
    """A pair as a judge is asked about it. The data hold no calls, so the recorded run is shown
    as one call that did what its goal says, with the candidate's values in its ``slots``.
    """
    step = TraceStep(call=ToolCall(name="RecordedRun", arguments={"did": goal}))
    signature = goal_signature(goal)
    trace = ExecutionTrace(
        trace_id=signature, goal_signature=signature, goal_text=goal, steps=(step,), slots=slots
    )
    asked = question(trace, candidate if slots else _unslotted(candidate), new_goal)
    if asked is None:
        raise ValueError(f"a pair of {len(goal)} and {len(new_goal)} characters is too long")
    return asked


def _unslotted(candidate: MatchCandidate) -> MatchCandidate:
    return candidate.model_copy(update={"slots": {}})


@dataclass
class LabelJudge:
    """Answers from the labels and errs in a fixed share of the pairs: it measures machinery, and
    says nothing of how good a judge is.
    """

    error: float
    """Share of wrong verdicts, 0 to 1, of both kinds."""
    calls: int = 0
    cost_micro: int = 0

    def says_yes(self, pair: dict[str, Any], asked: Question, *, right: bool) -> bool:
        """One verdict, through the very question and the very reading of the answer. ``right``:
        whether the calls, with the values they are shown with, do what the new goal asks.
        """
        answer = YES if right != self._errs(pair) else NO
        numbers = range(1, len(asked.differences) + 1)
        text = json.dumps(
            {
                "differences": [
                    {"number": n, "harmless": answer == YES, "why": "as the whole"} for n in numbers
                ],
                "missing_or_extra": "" if answer == YES else "it is another job",
                "verdict": answer,
            }
        )
        self.calls += 1
        self.cost_micro += self._cost(asked, text)
        return read_verdict(text, asked).answer == YES

    def _errs(self, pair: dict[str, Any]) -> bool:
        digest = hashlib.sha256(f"{pair['a']}\0{pair['b']}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < self.error

    @staticmethod
    def _cost(asked: Question, answer: str) -> int:
        request = [SYSTEM, ask_text(asked), SCHEMA]
        usage = Usage(
            input_tokens=tokens_of(len(canonical(request))),
            output_tokens=tokens_of(len(answer.encode())),
        )
        return Prices.load().cost(LIST_MODEL, usage)
