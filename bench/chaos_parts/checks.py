"""The guarantees, each as a function from evidence to what breaks it, in words. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from bench.chaos_parts.evidence import Evidence, GoalEvidence, final
from bench.chaos_parts.mischief import Hit
from bench.chaos_parts.population import POOR, allowed_files
from llmos_workers.kernel.ledger import LedgerEntry
from llmos_workers.kernel.stage import stage_name

EXPECTED_ERRORS = (
    "ModelTransient",
    "Overloaded",
    "RateLimited",
    "PublishConflict",
    "RehearsalFailure",
)
"""What a goal may fail of here: the model's faults, files that another goal changed, and a bell
of which nobody knows whether it rang."""


CLOCK_SECS = 0.001
"""The ledger's times are whole milliseconds."""

LEASE_SECS = 3.0
LOST_AFTER_SECS = LEASE_SECS * 2 / 3
"""A lease is renewed every third of its time: it is lost so long after a run's last sign at the
earliest."""


def lost(found: Evidence) -> list[str]:
    """Goals that are not in exactly one final state, or are there twice or without being asked."""
    words = []
    for goal in found.goals:
        ends = [state for _, state in goal.states if final(state)]
        if not goal.state:
            words.append(f"{goal.goal_id}: it is gone")
        elif not final(goal.state) or goal.status != goal.state or ends != [goal.state]:
            words.append(
                f"{goal.goal_id}: {goal.state}, outcome {goal.status or 'none'}, ended as {ends}"
            )
    strangers = found.known - {goal.goal_id for goal in found.goals}
    return words + [f"{goal_id}: nobody submitted it" for goal_id in sorted(strangers)]


def without_result(found: Evidence) -> list[str]:
    """Ended goals for which Celery has no result."""
    return [goal.goal_id for goal in found.goals if final(goal.state) and not goal.has_result]


def unexpected(found: Evidence) -> list[str]:
    """Goals that did not succeed, for a reason that nothing here gives."""
    return [
        f"{goal.goal_id} ({goal.planned.kind}): {goal.status} {goal.error}"
        for goal in found.goals
        if goal.status not in ("", "SUCCEEDED") and not _foreseen(goal)
    ]


def _foreseen(goal: GoalEvidence) -> bool:
    kind, _, message = goal.error.partition(": ")
    if kind == "BudgetExceeded":
        return goal.planned.project == POOR
    if kind == "RehearsalFailure":
        return bool(goal.planned.bell) and "Ring failed" in message
    return kind in EXPECTED_ERRORS


def paid_twice(found: Evidence) -> list[str]:
    """Answers that were journaled and asked for again, by the journal and by the server's log."""
    words, journaled = [], _journaled_at(found)
    for goal in found.goals:
        turns = Counter(turn for turn, _ in goal.responses)
        words += [f"{goal.goal_id}: turn {t} {n} times" for t, n in turns.items() if n > 1]
    texts = Counter(goal.planned.text for goal in found.goals)
    asked = defaultdict(list)
    for entry in found.served:
        if entry.status == 200 and texts[entry.goal] == 1:
            asked[entry.goal, entry.messages].append(entry)
    for (text, messages), entries in asked.items():
        kept = [journaled[entry.request_id] for entry in entries if entry.request_id in journaled]
        again = [entry for entry in entries if kept and entry.asked_at > min(kept)]
        if len(again) > _in_doubt_before(found, text, min(kept, default=0.0)):
            words.append(
                f"{text!r}: the answer to message {messages} was journaled and asked for again"
            )
    return words


def _in_doubt_before(found: Evidence, text: str, at: float) -> int:
    """Calls of a goal that were in doubt before ``at`` and that the server had not seen by then. A
    link that is cut holds a request back; healed, it delivers it: that one was asked before.
    """
    mine = {goal.goal_id for goal in found.goals if goal.planned.text == text}
    doubts = {
        line.reservation_id
        for line in found.ledger
        if line.kind == "doubt" and line.goal_id in mine and line.at < at
    }
    journaled = _journaled(found)
    seen = [
        entry
        for entry in found.served
        if entry.goal == text and entry.asked_at <= at and entry.request_id not in journaled
    ]
    return max(0, len(doubts) - len(seen))


def unpaid(found: Evidence) -> list[str]:
    """Answers of the server that cost money and are nowhere: not journaled, never in doubt, not
    booked by a run that had lost its goal.
    """
    journaled, texts = _journaled(found), {g.goal_id: g.planned.text for g in found.goals}
    missing = Counter(
        entry.goal
        for entry in found.served
        if entry.charged_micro and entry.request_id not in journaled
    )
    known = Counter(texts.get(line.goal_id, "") for line in found.ledger if line.kind == "doubt")
    for goal in found.goals:
        doubted = _doubted(found, goal)
        late = [line for line in _loose(found, goal)[0] if _of_a_lost_run(found, goal, line)]
        known[goal.planned.text] += sum(line.reservation_id not in doubted for line in late)
    return [
        f"{text!r}: {count} answers charged, not journaled; {known[text]} known of"
        for text, count in missing.items()
        if count > known[text]
    ]


def overspent(found: Evidence) -> int:
    """Micro-dollars beyond a limit, or by which ledger and server differ where nothing is in
    doubt.
    """
    served = {entry.request_id: entry.charged_micro for entry in found.served}
    responses = [response for goal in found.goals for _, response in goal.responses]
    differing = sum(abs(r.cost_micro - served.get(r.request_id, 0)) for r in responses)
    unbooked = sum(_unbooked(found, goal) for goal in found.goals)
    return found.over_limit_micro + differing + unbooked + _more_than_held(found)


def _unbooked(found: Evidence, goal: GoalEvidence) -> int:
    """By how much a goal's journaled answers and its settled calls differ.

    A run that has lost its goal may still book what its last call cost; it journals nothing.
    """
    loose, unsettled = _loose(found, goal)
    return unsettled + sum(line.micro for line in loose if not _of_a_lost_run(found, goal, line))


def _loose(found: Evidence, goal: GoalEvidence) -> tuple[list[LedgerEntry], int]:
    """Settled calls without a journaled answer, and micro-dollars of journaled answers that
    were never settled.
    """
    lines = [
        e for e in found.ledger if e.goal_id == goal.goal_id and e.kind == "settle" and e.micro
    ]
    served = {entry.request_id: entry.at for entry in found.served}
    unsettled = 0
    for _, response in goal.responses:
        came = served.get(response.request_id, 0.0) - CLOCK_SECS
        mine = [e for e in lines if e.micro == response.cost_micro and e.at >= came]
        if mine:
            lines.remove(min(mine, key=lambda line: line.at))
        else:
            unsettled += response.cost_micro
    return lines, unsettled


def _of_a_lost_run(found: Evidence, goal: GoalEvidence, line: LedgerEntry) -> bool:
    """Whether a call was settled by a run that could have lost its goal since it asked."""
    if line.reservation_id in _doubted(found, goal):
        return True
    journaled = _journaled(found)
    for entry in found.served:
        if (
            entry.goal == goal.planned.text
            and entry.request_id not in journaled
            and entry.charged_micro == line.micro
            and entry.asked_at <= line.at + CLOCK_SECS
        ):
            stopped = line.at - entry.asked_at >= LOST_AFTER_SECS
            if stopped or any(entry.asked_at < begun <= line.at for begun in _runs(goal)):
                return True
    return False


def _doubted(found: Evidence, goal: GoalEvidence) -> set[str]:
    """Reservations of a goal that were ever in doubt."""
    return {
        line.reservation_id
        for line in found.ledger
        if line.kind == "doubt" and line.goal_id == goal.goal_id
    }


def _more_than_held(found: Evidence) -> int:
    """What the server charged in all, beyond what is booked or held for calls in doubt."""
    charged = sum(entry.charged_micro for entry in found.served)
    booked = sum(line.micro for line in found.ledger)
    held = sum(call.bound_micro for call in found.reservations)
    return max(0, charged - booked - held)


def effects_doubled(found: Evidence) -> list[str]:
    """Bells that rang more than once for their goal."""
    rung = Counter(found.rings)
    return [f"{goal_id}: {bell} rang {n} times" for (goal_id, bell), n in rung.items() if n > 1]


def wrong_files(found: Evidence) -> list[str]:
    """Files that are missing, hold something else, or should not be there; bells that never
    rang though their goal succeeded.
    """
    plans, words = [goal.planned for goal in found.goals], []
    allowed = allowed_files(plans)
    for goal in found.goals:
        if goal.status == "SUCCEEDED":
            there = found.files.get(goal.planned.project, {})
            words += [f"{goal.goal_id}: {p} is missing" for p in goal.planned.files.keys() - there]
            if goal.planned.bell and (goal.goal_id, goal.planned.bell) not in found.rings:
                words.append(f"{goal.goal_id}: its bell never rang")
    made = _made(found)
    for project, there in found.files.items():
        for path, content in there.items():
            if allowed.get(project, {}).get(path) != content:
                words.append(f"{project}/{path}: {content[:60]!r}")
            elif path not in made.get(project, set()):
                words.append(f"{project}/{path}: of a goal that did not succeed")
    return words


def _made(found: Evidence) -> Mapping[str, set[str]]:
    made: defaultdict[str, set[str]] = defaultdict(set)
    for goal in found.goals:
        if goal.status == "SUCCEEDED":
            made[goal.planned.project].update(goal.planned.files)
    return made


def reservations_left(found: Evidence) -> list[str]:
    """Money that is still held for calls of goals that have ended."""
    left = [call for call in found.reservations if call.state in ("reserved", "sent")]
    return [f"{call.goal_id}: {call.state} {call.bound_micro}" for call in left]


def late_publishes(found: Evidence) -> list[str]:
    """Commits of runs that had lost their goal."""
    there = {(commit.project, commit.commit_id) for commit in found.commits}
    words = {
        f"{project}: {commit_id} of a woken run" for project, commit_id in found.forbidden & there
    }
    begun = {goal.goal_id: _runs(goal) for goal in found.goals}
    for commit in found.commits:
        runs = begun.get(commit.goal_id, [])
        # Run number n has fence n; the next one's begin is the end of its right to publish.
        if commit.fence < len(runs) and commit.at > runs[commit.fence]:
            words.add(f"{commit.project}: {stage_name(commit.goal_id, commit.fence)} of a lost run")
    return sorted(words)


def _runs(goal: GoalEvidence) -> list[float]:
    return [at for at, state in goal.states if state == "RUNNING"]


def recoveries(found: Evidence, hits: Iterable[Hit]) -> list[float]:
    """Seconds from each hit to the next run, or the end, of each goal that it took from a run."""
    goals = {goal.goal_id: goal for goal in found.goals}
    seconds = []
    for hit in hits:
        for at in hit.goals:
            if at.fence and hit.pid and at.goal_id in goals:
                states = goals[at.goal_id].states
                went_on = [t for t, s in states if t > hit.at and (s == "RUNNING" or final(s))]
                seconds += [min(went_on) - hit.at] if went_on else []
    return seconds


def confirmed_answers(found: Evidence, hits: Sequence[Hit], step: str) -> int:
    """Hits of ``step`` whose goal really has an answer that is charged and not journaled."""
    journaled = _journaled(found)
    lost_answers = {
        entry.goal
        for entry in found.served
        if entry.complete and entry.charged_micro and entry.request_id not in journaled
    }
    texts = {goal.goal_id: goal.planned.text for goal in found.goals}
    return sum(
        any(at.step == step and texts.get(at.goal_id) in lost_answers for at in hit.goals)
        for hit in hits
    )


def _journaled_at(found: Evidence) -> dict[str, float]:
    """Request id -> when its answer was journaled: as it was settled, the first after it came."""
    served = {entry.request_id: entry.at for entry in found.served}
    settled = defaultdict(list)
    for line in found.ledger:
        if line.kind == "settle":
            settled[line.goal_id].append((line.at, line.micro))
    at = {}
    for goal in found.goals:
        for _, response in goal.responses:
            came = served.get(response.request_id, 0.0)
            mine = [t for t, micro in settled[goal.goal_id] if micro == response.cost_micro]
            at[response.request_id] = min((t for t in mine if t >= came - CLOCK_SECS), default=came)
    return at


def _journaled(found: Evidence) -> set[str]:
    return {response.request_id for goal in found.goals for _, response in goal.responses}


CHECKS: Mapping[str, Callable[[Evidence], Sequence[str]]] = {
    "lost": lost,
    "paid_twice": paid_twice,
    "unpaid": unpaid,
    "effects_doubled": effects_doubled,
    "files_wrong": wrong_files,
    "reservations_left": reservations_left,
    "late_publishes": late_publishes,
    "orphans": lambda found: found.orphans,
    "audit_faults": lambda found: found.audit_faults,
    "failed_unexpectedly": unexpected,
    "results_missing": without_result,
}
"""Name in the report -> what breaks it. All have to be empty."""
