"""Ask the model that has just solved a goal what of it may vary: one call, once for a trace."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from llmos_workers.contracts.errors import BrokerUnavailable, GoalStateError, LLMOSError
from llmos_workers.contracts.outcome import Usage
from llmos_workers.contracts.trace import TraceStep
from llmos_workers.execution.llm_contracts import CallContext, ModelRequest, ModelResponse
from llmos_workers.flow.permit import permit
from llmos_workers.flow.run import Run, journal_of
from llmos_workers.learning.notes import INSTRUCTIONS, SCHEMA, Notes, question, read_notes

log = logging.getLogger(__name__)

PURPOSE = "learn-notes"
NOTES_TURN = 1_000_000
"""The call's place in the goal's journal: behind all turns of the run."""
MAX_TOKENS = 1_500
USUAL_TOKENS = 350
"""Output tokens of usual notes, for the estimate."""
BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class Asked:
    """What the model said, and what it took."""

    notes: Notes = field(default_factory=Notes)
    usage: Usage = field(default_factory=Usage)
    calls: int = 0


def ask_for_notes(
    run: Run, steps: list[TraceStep], context: CallContext, *, model: str, run_micro: int
) -> Asked:
    """The notes; empty ones when they are switched off, not worth their price, or do not come.

    ``run_micro`` is what the run itself cost. A goal that was resumed after it had asked does
    not ask again. Raises LeaseLost, GoalFinished, BrokerUnavailable; nothing else fails a goal
    whose work is done.
    """
    runtime, limits = run.runtime, run.runtime.config.learning
    if not limits.notes or not steps:
        return Asked()
    try:
        request = ModelRequest(
            model=runtime.prices.resolve(limits.notes_model or model),
            system=[{"type": "text", "text": INSTRUCTIONS}],
            messages=[{"role": "user", "content": question(run.record.text, steps)}],
            max_tokens=MAX_TOKENS,
            purpose=PURPOSE,
            output_schema=SCHEMA,
            turn=NOTES_TURN,
        )
        response = journal_of(run).response(NOTES_TURN)
        if response is None:
            if _estimate(run, request) > limits.notes_share * run_micro:
                return Asked()
            permit(run)
            response = runtime.gateway.complete(request, context)
    except (GoalStateError, BrokerUnavailable):
        raise
    except LLMOSError as error:
        log.info("goal %s is learned without notes: %s", run.record.goal_id, error)
        return Asked()
    return Asked(_believed(run, steps, response), response.usage, 1)


def _estimate(run: Run, request: ModelRequest) -> int:
    """Micro-dollars that the notes will about cost."""
    size = len(str(request.body(request.model)).encode())
    usage = Usage(input_tokens=size // BYTES_PER_TOKEN, output_tokens=USUAL_TOKENS)
    return run.runtime.prices.cost(request.model, usage)


def _believed(run: Run, steps: list[TraceStep], response: ModelResponse) -> Notes:
    traces, project = run.runtime.traces, run.project

    def known(signature: str) -> bool:
        return traces.find_exact(project, signature) is not None

    return read_notes(response.text, run.record.text, steps, known=known)
