"""Every Redis key of ours, in one place. All live in the state database.

Celery's own keys (broker and result databases) carry no prefix of ours, so that a plain
Celery app can talk to us.
"""

from __future__ import annotations

ROOT = "llmos"

SCHEMA = f"{ROOT}:schema"
"""hash: ``version`` of the data here, and the lowest release schema that ``reads`` it."""

SCHEMA_LOCK = f"{ROOT}:schema:lock"
"""string with expiry: who brings the data to a newer schema now."""

GOALS_ALL = f"{ROOT}:goals"
"""zset goal_id -> created_at: all goals, for listing and retention."""

LEDGER = f"{ROOT}:ledger"
"""stream: one entry per settled or in-doubt reservation, direct charge and saving; the sum of
its ``micro`` is what was spent."""

RESERVATIONS = f"{ROOT}:reservations"
"""zset reservation_id -> time of reserving: all that are open (reserved, sent or in doubt)."""

BUDGET_SCOPES = f"{ROOT}:budgets"
"""set of scopes that money was limited or moved in: ``global``, ``project:<name>``; no goals."""

BUS = f"{ROOT}:bus"
"""stream: system-wide events (contracts.events.Topic)."""

INDEX_OUTBOX = f"{ROOT}:index:outbox"
"""stream: index writes that the dispatch role has to do."""

GENERATED_NOTES = f"{ROOT}:generated:notes"
"""hash generated tool -> why it is out of use, as JSON."""

GENERATED_ATTEMPTS = f"{ROOT}:generated:attempts"
"""hash project/trace_id -> the last try to make a tool of it, as JSON."""

GENERATED_ROUNDS = f"{ROOT}:generated:rounds"
"""counter of tries to make a tool; names their scratch copies."""

SESSIONS_CURSOR = f"{ROOT}:sessions:cursor"
"""string: Unix time up to which ended goals have been written as sessions."""

SESSIONS_SEEN = f"{ROOT}:sessions:seen"
"""zset goal_id -> time of its end: goals that were looked at lately."""

SESSIONS_FRESH = f"{ROOT}:sessions:fresh"
"""zset goal_id -> time: sessions that no model has looked through for insights yet; the project
stands before the id, parted by a slash."""


def generated_claim(what: str) -> str:
    """string with expiry: somebody makes a tool of it, or looks for families, now."""
    return f"{ROOT}:generated:claim:{what}"


UPKEEP_LOCK = f"{ROOT}:upkeep:lock"
"""string with expiry: who runs the upkeep duties now."""


APPROVALS_OPEN = f"{ROOT}:approvals:open"
"""zset approval_id -> time of expiry: requests that nobody has answered yet."""

APPROVALS_GOALS = f"{ROOT}:approvals:goals"
"""zset goal_id -> time: live goals that have asked for an approval."""

APPROVALS_WAKE = f"{ROOT}:approvals:wake"
"""zset goal_id -> time: goals whose answer is there and who may not have been woken yet."""

APPROVALS_AUDIT = f"{ROOT}:approvals:audit"
"""stream: every request, answer, use and expiry."""

GATE_LOG = f"{ROOT}:gate:log"
"""stream: the gate's decisions that are not only in the audit files yet, hash-chained."""

GATE_HEAD = f"{ROOT}:gate:head"
"""hash: name, length, last hash and time of the chain; how far it is in the audit files."""


def gate_mark(record_id: str) -> str:
    """string with expiry: number of a decision in the log, so that it is not written twice."""
    return f"{ROOT}:gate:mark:{record_id}"


RECOVERY_LOCK = f"{ROOT}:recovery:lock"
"""string with expiry: who runs the recovery clock's tick now."""

RECOVERY_STATE = f"{ROOT}:recovery"
"""hash: how far the rounds of the recovery clock are that take several ticks."""

RECOVERY_SUSPECTS = f"{ROOT}:recovery:suspects"
"""zset goal_id -> time of entering its state: waiting goals whose message was not seen yet."""

RECOVERY_PAUSE = f"{ROOT}:recovery:pause"
"""string with expiry: no search for lost messages begins before it is gone."""

COUNTERS = f"{ROOT}:counters"
"""hash name -> count of what the system had to do by itself, e.g. ``recovery.lost``."""

DELAYED = f"{ROOT}:delayed"
"""zset goal_id -> due time: waiting goals that go on by themselves."""

UNREPORTED = f"{ROOT}:unreported"
"""zset goal_id -> time: goals that ended outside of a task; a task has to tell Celery."""

FLIGHTS = f"{ROOT}:flights"
"""zset flight -> time: flights that goals wait for."""

DEAD_HANDLED = f"{ROOT}:dead:handled"
"""zset goal_id -> time: dead letters that somebody retried or dropped."""


SCHEDULES = f"{ROOT}:schedules"
"""zset schedule_id -> created_at: all schedules."""

SCHEDULES_DUE = f"{ROOT}:schedules:due"
"""zset schedule_id -> next time of firing: those that are not paused."""


WEBHOOKS_DUE = f"{ROOT}:webhooks:due"
"""zset delivery_id -> time of the next attempt."""

WEBHOOKS_DEAD = f"{ROOT}:webhooks:dead"
"""zset delivery_id -> time of giving up; the newest thousand."""

WEBHOOKS_CURSOR = f"{ROOT}:webhooks:cursor"
"""string: Unix time up to which ended goals have been looked at."""


ADMISSION_BACKLOG = f"{ROOT}:admission:backlog"
"""zset project -> time of its last turn: projects with goals that wait for admission."""

ADMISSION_WINDOWS = f"{ROOT}:admission:windows"
"""hash project -> most goals under way, where it is not kernel.project_window."""

AUDIT_COUNTS = f"{ROOT}:audits"
"""hash agreement -> count of shadow audits in all projects."""

AUDIT_VERDICTS = f"{ROOT}:audits:verdicts"
"""list: the newest verdicts of shadow audits as JSON."""

AUDITED = f"{ROOT}:audits:goals"
"""set of goal_id: replayed goals whose audit was counted."""


def audit_counts(project: str) -> str:
    """hash agreement -> count of the project's shadow audits."""
    return f"{ROOT}:audits:project:{project}"


JUDGES = f"{ROOT}:judges"
"""set of names of judges (backend and model) that ever gave a verdict."""


def judge(name: str) -> str:
    """hash: how many verdicts of each kind a judge gave, and how they came out."""
    return f"{ROOT}:judge:{name}"


def verdicts(project: str) -> str:
    """hash ``<trace_id>:<goal signature>`` -> JSON: what a judge said of goal and trace."""
    return f"{ROOT}:verdicts:{project}"


def judging(project: str, trace_id: str, signature: str) -> str:
    """string with expiry: the run that is asking a judge about goal and trace now."""
    return f"{ROOT}:judging:{project}:{trace_id}:{signature}"


FEEDBACK = f"{ROOT}:feedback"
"""list of goal ids: feedback that no worker has taken up yet."""


def insights_spent(day: str) -> str:
    """counter with expiry: micro-dollars that extracting insights has cost on a day (UTC)."""
    return f"{ROOT}:insights:spent:{day}"


def improvements(project: str) -> str:
    """hash ``<type>:<digest>`` -> JSON: what could be improved, and what came of it."""
    return f"{ROOT}:improve:{project}"


def improvements_at(project: str) -> str:
    """string: Unix time of the last look for improvements."""
    return f"{ROOT}:improve:{project}:at"


def goal_feedback(goal_id: str) -> str:
    """string with expiry, JSON: what a person said of the goal, and what came of it."""
    return f"{ROOT}:goal:{goal_id}:feedback"


NO_GOAL = f"{ROOT}:goal:"
"""What a script is handed for a goal's key where there is none: a key that does not exist, and that
whoever has rights on our keys may name."""


def goals_in_state(state: str) -> str:
    """zset goal_id -> time of entering the state."""
    return f"{ROOT}:goals:{state}"


def goals_of_project(project: str) -> str:
    """zset goal_id -> created_at."""
    return f"{ROOT}:goals:project:{project}"


def goal(goal_id: str) -> str:
    """hash: the goal record."""
    return f"{ROOT}:goal:{goal_id}"


def goal_events(goal_id: str) -> str:
    """stream: the goal's events."""
    return f"{ROOT}:goal:{goal_id}:events"


def goal_journal(goal_id: str) -> str:
    """list of msgpack entries: model responses and tool results, in order."""
    return f"{ROOT}:goal:{goal_id}:journal"


def goal_live(goal_id: str) -> str:
    """set of goal ids: members of the goal's plan that have not ended; their number is what it
    waits for.
    """
    return f"{ROOT}:goal:{goal_id}:live"


def goal_members(goal_id: str) -> str:
    """hash goal id -> ``<step>:<attempt>``: all members that the goal's plan ever had."""
    return f"{ROOT}:goal:{goal_id}:members"


def goal_reads(goal_id: str) -> str:
    """hash path -> JSON with expiry: files of its board that members of the goal's plan read."""
    return f"{ROOT}:goal:{goal_id}:reads"


def goal_approvals(goal_id: str) -> str:
    """hash digest of a call -> id of its newest request for approval."""
    return f"{ROOT}:goal:{goal_id}:approvals"


def approval(approval_id: str) -> str:
    """hash: one request for approval."""
    return f"{ROOT}:approval:{approval_id}"


def schedule(schedule_id: str) -> str:
    """hash: one schedule."""
    return f"{ROOT}:schedule:{schedule_id}"


def webhook(delivery_id: str) -> str:
    """hash: one delivery to one URL."""
    return f"{ROOT}:webhook:{delivery_id}"


def webhook_claim(delivery_id: str) -> str:
    """string with expiry: who is sending the delivery now."""
    return f"{ROOT}:webhook:{delivery_id}:claim"


def admitted(project: str) -> str:
    """zset goal_id -> time of admission: the project's goals under way."""
    return f"{ROOT}:admission:in:{project}"


def admission_fresh(project: str) -> str:
    """counter with expiry: goals let in straight from their message in the last minute."""
    return f"{ROOT}:admission:fresh:{project}"


def admission_waiting(project: str) -> str:
    """zset goal_id -> priority and age: the project's goals that wait for admission."""
    return f"{ROOT}:admission:wait:{project}"


def flight(name: str) -> str:
    """hash with expiry: who learns now what goals of that name need, and what came of it."""
    return f"{ROOT}:flight:{name}"


def flight_waiting(name: str) -> str:
    """zset goal_id -> priority and age: the goals that wait for the flight."""
    return f"{ROOT}:flight-waiting:{name}"


def idempotency(project: str, key: str) -> str:
    """string: id of the goal that was submitted with this idempotency key."""
    return f"{ROOT}:idempotency:{project}:{key}"


def reservation(reservation_id: str) -> str:
    """hash: one reservation of money; kept for a day after it is settled or released."""
    return f"{ROOT}:reservation:{reservation_id}"


def scope_budget(scope: str) -> str:
    """hash limit, spent, reserved, in_doubt, saved (micro-dollars) of a scope, and the same of
    the day and the month it is in: ``global``, ``project:<name>``, ``goal:<id>``.
    """
    return f"{ROOT}:budget:{scope}"


def sentience(project: str) -> str:
    """hash: a project's internal state."""
    return f"{ROOT}:sentience:{project}"


def sentience_history(project: str) -> str:
    """list: the last 100 states."""
    return f"{ROOT}:sentience:{project}:history"


def trace(project: str, trace_id: str) -> str:
    """hash: content (msgpack), file stamp and counters of a trace."""
    return f"{ROOT}:trace:{project}:{trace_id}"


def trace_ids(project: str) -> str:
    """set of trace ids of a project."""
    return f"{ROOT}:traces:{project}"


def trace_wordings(project: str) -> str:
    """hash goal signature -> trace id: exact goals and aliases."""
    return f"{ROOT}:wordings:{project}"


def trace_counted(project: str, trace_id: str, outcome: str) -> str:
    """string with expiry: an outcome that the trace's counters already hold."""
    return f"{ROOT}:trace:{project}:{trace_id}:counted:{outcome}"


TRACE_PROJECTS = f"{ROOT}:traces"
"""set of projects that have traces."""


def epoch(what: str) -> str:
    """counter: bumped by whoever changed files of that kind (``agents``, ``traces``)."""
    return f"{ROOT}:epoch:{what}"


def heartbeat(worker: str) -> str:
    """string with expiry: role and facts of a live worker, for doctor."""
    return f"{ROOT}:worker:{worker}"


def rate(model: str) -> str:
    """hash with expiry: token buckets and cooldown of a model, for all workers."""
    return f"{ROOT}:rate:{model}"


def commits(project: str) -> str:
    """hash commit_id -> JSON: the newest commits of a project."""
    return f"{ROOT}:commits:{project}"


EDGE_COUNTERS = f"{ROOT}:edge:counters"
"""hash project -> number of its newest edge bundle."""


def agent_record(agent: str) -> str:
    """hash: ``succeeded`` and ``failed``, runs of the agent in which a model thought."""
    return f"{ROOT}:agent:{agent}"


def commit_log(project: str) -> str:
    """zset commit_id -> seq."""
    return f"{ROOT}:commits:{project}:log"


def commit_state(project: str) -> str:
    """hash: ``seq`` of the newest commit, ``pending`` (the one whose files are being moved in),
    ``undone:<commit_id>`` -> the commit that took it back.
    """
    return f"{ROOT}:commits:{project}:state"


def commit_paths(project: str) -> str:
    """hash path -> seq of the newest commit that changed it; ``<folder>/`` -> the newest one
    that changed something in it.
    """
    return f"{ROOT}:commits:{project}:paths"


def tainted_files(project: str) -> str:
    """hash ``path:<path>`` and ``content:<sha256>`` -> JSON: published files that hold what others
    wrote (kernel/tainted).
    """
    return f"{ROOT}:commits:{project}:tainted"
