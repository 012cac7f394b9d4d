"""Records of every kind that is stored or travels, as this release writes them.

``python -m tests.compat.formats`` writes them to ``tests/data/formats/<release>.json``: done once
for a release. The files of older releases stay, and are read by the tests of all later ones.
"""

from __future__ import annotations

import base64
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from llmos_workers.contracts.approvals import Approval
from llmos_workers.contracts.audits import AuditVerdict
from llmos_workers.contracts.commits import Commit, CommittedFile, FileState
from llmos_workers.contracts.decision import MatchCandidate, MatchResult, ModeDecision
from llmos_workers.contracts.feedback import Feedback
from llmos_workers.contracts.goal import GoalOptions, GoalRecord, GoalState, TaskEnvelope
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import ErrorInfo, FileDigest, Outcome, ToolCallSummary, Usage
from llmos_workers.contracts.tools import ToolCall, ToolResult
from llmos_workers.contracts.trace import ExecutionTrace, Slot, TraceStep
from llmos_workers.execution.journal import RunJournal, done_entry
from llmos_workers.execution.llm_contracts import ModelResponse, journal_entry
from llmos_workers.kernel.codec import pack
from llmos_workers.kernel.goal_codec import record_fields
from llmos_workers.kernel.schedules import Schedule
from llmos_workers.learning.trace_fields import COUNTERS
from llmos_workers.learning.trace_file import to_markdown
from llmos_workers.learning.verdicts import StoredVerdict

FOLDER = Path(__file__).parents[1] / "data" / "formats"
OWN = FOLDER / f"{version('llmos-workers')}.json"
"""What this release writes."""

DIGEST = "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"
USAGE = Usage(input_tokens=900, output_tokens=120, cache_read_tokens=4_000)
CALL = ToolCall(name="Write", arguments={"path": "hello.py", "content": "print(1)\n"})
FILE = FileDigest(path="hello.py", digest=DIGEST, size=9)
STEP = TraceStep(call=CALL, output="written", output_digest=DIGEST, writes=(FILE,))
RESULT = ToolResult(ok=True, output="written", writes=(FILE,), duration_ms=2.5)


def a_trace() -> ExecutionTrace:
    """A trace with something in nearly every field."""
    return ExecutionTrace(
        trace_id="0123456789abcdef",
        project="shop",
        version=3,
        revision=7,
        goal_signature="0123456789abcdef",
        goal_text="Write hello.py that prints 1",
        aliases=("Make hello.py, printing 1",),
        vetoes=("fedcba9876543210",),
        slots=(Slot(name="number", value="1"),),
        steps=(STEP,),
        inputs=(FileDigest(path="notes.txt", digest=None),),
        outputs=(FILE,),
        premises=("house-rules@0a1b",),
        answer="Done: it prints 1.",
        created_at="2026-11-22T08:00:00Z",
        learned_from="5a0d3c0e-6f0b-5c52-9a57-000000000001",
        model="claude-sonnet-4-5",
        learn_cost_micro=45_123,
        learn_usage=USAGE,
        proved_by="replay",
        usage_count=5,
        success_count=4,
        total_saved_micro=180_492,
        last_used="2026-11-22T08:10:00Z",
        evidence={"right:exact": 2},
    )


def a_goal() -> GoalRecord:
    """A goal that ended, with all of its parts."""
    best = MatchCandidate(trace_id="0123456789abcdef", goal_text="x", stage="exact", confidence=1)
    return GoalRecord(
        goal_id="5a0d3c0e-6f0b-5c52-9a57-000000000002",
        text="Write hello.py that prints 1",
        options=GoalOptions(project="shop", budget_micro=500_000, metadata={"team": "ops"}),
        state=GoalState.SUCCEEDED,
        created_at=1_763_798_400.25,
        updated_at=1_763_798_402.5,
        envelope=TaskEnvelope(group_id="g", group_index=1, headers={"tenant": "a"}),
        decision=ModeDecision(
            mode=Mode.FOLLOWER,
            reason="it was done before",
            confidence=1.0,
            trace_id=best.trace_id,
            match=MatchResult(candidates=(best,), relatedness=1.0),
        ),
        outcome=Outcome(
            goal_id="5a0d3c0e-6f0b-5c52-9a57-000000000002",
            status="SUCCEEDED",
            project="shop",
            mode=Mode.FOLLOWER,
            files=(FILE,),
            tool_calls=(ToolCallSummary(name="Write", summary="hello.py", ok=True),),
            usage=USAGE,
            saved_micro=45_123,
        ),
        deliveries=1,
        fence=2,
        flight_failed=ErrorInfo(kind="ModelTransient", message="it broke off."),
    )


def _journal() -> list[bytes]:
    entries: list[bytes] = []
    block = {"type": "tool_use", "id": "toolu_1", "name": CALL.name, "input": CALL.arguments}
    response = ModelResponse(
        model="claude-sonnet-4-5",
        stop_reason="tool_use",
        content=[block],
        usage=USAGE,
        cost_micro=1_234,
        request_id="req_1",
    )
    entries.append(journal_entry(response, 0))
    journal = RunJournal(append=entries.append)
    call = CALL.model_copy(update={"call_id": "toolu_1"})
    journal.tell(("house-rules@0a1b",))
    journal.intend(0, call, outside=True)
    journal.finish(0, call, RESULT, outside=True)
    entries.append(done_entry((STEP,)))
    return entries


def written() -> dict[str, Any]:
    """Everything by kind; bytes in base64."""
    trace = a_trace()
    commit = Commit(
        commit_id="c1", project="shop", goal_id="g1", at=1_763_798_402.0, mode=Mode.LEARNER,
        files=(CommittedFile(path="hello.py", after=FileState(digest=DIGEST, size=9), step=0),),
    )  # fmt: skip
    approval = Approval(
        approval_id="a1", goal_id="g1", project="shop", digest=DIGEST, tool="Write",
        shown="Write hello.py", created_at=1_763_798_400.0, expires_at=1_763_884_800.0,
    )  # fmt: skip
    schedule = Schedule(
        schedule_id="s1", cron="0 7 * * *", goal="Write the report", created_at=1_763_798_400.0,
        next_at=1_763_881_200.0,
    )  # fmt: skip
    content = trace.model_dump(mode="python", exclude=set(COUNTERS), exclude_defaults=True)
    return {
        "goal": record_fields(a_goal()),
        "journal": [_text(entry) for entry in _journal()],
        "trace": {"content": _text(pack(content)), "usage_count": "5", "success_count": "4"},
        "trace_file": to_markdown(trace, counters=True),
        "commit": commit.model_dump(mode="json"),
        "approval": approval.model_dump(mode="json"),
        "schedule": schedule.model_dump(mode="json"),
        "verdict": StoredVerdict(
            answer="yes", judge="anthropic:haiku", calls=DIGEST, reasons=("the same",)
        ).model_dump(mode="json"),
        "audit": AuditVerdict(
            goal_id="g1", audit_id="g2", project="shop", trace_id=trace.trace_id,
            goal_text="x", agreement="agreed", at=1_763_798_400.0,
        ).model_dump(mode="json"),
        "feedback": Feedback(goal_id="g1", verdict="good", by="ada@host", at=1_763_798_400.0
        ).model_dump(mode="json"),
    }  # fmt: skip


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def main() -> None:
    """Write the file of this release."""
    OWN.write_text(json.dumps(written(), indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
