"""Think and learn: what a model's run leaves behind, however it ends."""

import pytest
from celery.exceptions import Ignore

from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Usage
from llmos_workers.contracts.state import TriggerType
from llmos_workers.execution.journal import RunJournal
from llmos_workers.flow.upkeep import DUTIES
from llmos_workers.kernel.approvals import Approvals
from tests.support.script import calls, says, text, use

GOAL = "Note the colours of the flag in flag.txt"
OTHER = "Write down which colours the flag has, into flag.txt"
WRITE = calls(use("Write", path="flag.txt", content="blue\n"))
DONE = says(text("Noted."))


def mixed(flow, goal):
    """A goal that is run with the help of what is known."""
    return flow.run(goal, mode="mixed")


def test_a_success_is_learned_with_what_it_cost(flow):
    flow.model(WRITE, DONE)
    outcome = flow.run(GOAL)
    trace = flow.trace(GOAL)
    assert outcome.learned_trace_id == trace.trace_id
    assert (trace.learned_from, trace.learn_cost_micro) == (outcome.goal_id, outcome.cost_micro)
    assert (trace.learn_usage, trace.answer, trace.proved) == (outcome.usage, "Noted.", True)
    assert outcome.usage != Usage()


def test_cost_and_calls_of_an_outcome_are_those_of_ledger_and_journal(flow):
    flow.model(WRITE, DONE)
    outcome = flow.run(GOAL)
    settled = flow.ledger("settle")
    assert sum(entry.micro for entry in settled) == outcome.cost_micro
    assert {entry.mode for entry in settled} <= {"", "LEARNER"}
    assert [entry.purpose for entry in settled] == ["learn", "learn"]
    journal = RunJournal(flow.runtime.goals.journal(outcome.goal_id))
    assert journal.turns == outcome.llm_calls == 2


@pytest.mark.parametrize("stop", ["refusal", "model_context_window_exceeded"])
def test_a_failed_run_is_not_learned_but_told(flow, stop):
    flow.model(WRITE, says(text("No."), stop=stop))
    outcome = flow.run(GOAL)
    assert (outcome.status, outcome.llm_calls, outcome.learned_trace_id) == ("FAILED", 2, None)
    assert (outcome.files, list(flow.area.iterdir())) == ((), [])
    assert outcome.cost_micro > 0
    assert flow.runtime.traces.list("demo") == []


def test_a_run_whose_last_step_failed_is_not_learned(flow):
    flow.model(calls(use("Bash", command="exit 3")), says(text("It did not work.")))
    outcome = flow.run(GOAL)
    assert (outcome.status, outcome.learned_trace_id) == ("SUCCEEDED", None)
    assert flow.runtime.traces.list("demo") == []
    (notice,) = flow.events(outcome.goal_id, "notice")
    assert "not learned" in notice["message"]


def test_the_same_reading_for_another_question_is_no_other_wording(flow):
    """One call serves both; the answers are the jobs, and they differ."""
    (flow.area / "notes.txt").write_text("a\nb\n")
    count = calls(use("Bash", 1, command="wc -l < notes.txt"))
    flow.model(count, says(text("notes.txt has 2 lines.")))
    known, other = "Count the lines of notes.txt", "Has notes.txt fewer lines than 3?"
    assert flow.run(known).ok
    flow.model(count, says(text("Yes, fewer than 3.")))
    asked = flow.run(other, mode="MIXED")
    assert (asked.mode, flow.trace(known).aliases) == (Mode.MIXED, ())
    assert flow.run(other).text.startswith("Yes, fewer than 3.")


def test_a_run_that_made_the_same_calls_is_another_wording(flow):
    flow.model(WRITE, DONE)
    assert flow.run(GOAL).ok
    flow.model(WRITE, DONE)
    outcome = mixed(flow, OTHER)
    assert (outcome.mode, outcome.learned_trace_id) == (Mode.MIXED, None)
    trace = flow.trace(GOAL)
    assert (trace.aliases, trace.version) == ((OTHER,), 1)
    assert len(flow.runtime.traces.list("demo")) == 1
    again = flow.run(OTHER)
    assert (again.mode, again.trace_id) == (Mode.FOLLOWER, trace.trace_id)


def test_a_run_that_made_other_calls_is_a_trace_of_its_own(flow):
    flow.model(WRITE, DONE)
    assert flow.run(GOAL).ok
    flow.model(calls(use("Write", path="flag.txt", content="red\n")), DONE)
    outcome = mixed(flow, OTHER)
    assert outcome.learned_trace_id == flow.trace(OTHER).trace_id
    assert flow.trace(GOAL).aliases == ()


def test_help_that_made_a_run_cheaper_is_recorded_as_saved(flow):
    long = calls(use("Write", path="flag.txt", content="blue\n" * 500))
    flow.model(long, calls(use("Read", 2, path="flag.txt")), DONE)
    learned = flow.run(GOAL)
    flow.model(WRITE, DONE)
    outcome = mixed(flow, OTHER)
    assert outcome.saved_micro == learned.cost_micro - outcome.cost_micro > 0
    (entry,) = flow.ledger("saved")
    assert (entry.saved_micro, entry.mode) == (outcome.saved_micro, "MIXED")


def test_the_trace_that_helps_is_shown_to_the_model(flow):
    flow.model(WRITE, DONE)
    assert flow.run(GOAL).ok
    script = flow.model(WRITE, DONE)
    mixed(flow, OTHER)
    asked = script.requests[0]["messages"][0]["content"][0]["text"]
    assert "<similar_experience>" in asked
    assert GOAL in asked
    assert asked.endswith(f"<goal>\n{OTHER}\n</goal>")


def test_a_workspace_that_takes_no_trace_does_not_fail_the_goal(flow):
    flow.model(WRITE, DONE)
    folder = flow.runtime.workspace.root / "memories" / "traces" / "demo"
    folder.write_text("a file in the folder's place")
    outcome = flow.run(GOAL)
    assert (outcome.status, outcome.learned_trace_id) == ("SUCCEEDED", None)
    (notice,) = flow.events(outcome.goal_id, "notice")
    assert "not learned" in notice["message"]


def test_the_agent_s_prompt_and_grants_are_the_run_s(flow):
    agents = flow.runtime.workspace.root / "agents"
    flow.runtime.agents.load_agents()
    (agents / "scribe.md").write_text(
        "---\nname: scribe\ndescription: writes\ntools: [Write]\nmax_turns: 1\n---\nYou write.\n"
    )
    script = flow.model(WRITE, DONE)
    outcome = flow.run(GOAL, agent="scribe")
    assert (outcome.status, outcome.error.kind) == ("FAILED", "TurnLimit")
    (asked,) = script.requests
    assert asked["system"][0]["text"].startswith("You write.")
    assert [tool["name"] for tool in asked["tools"]] == ["Write", "run_sequence"]


def test_the_internal_state_learns_how_it_went(flow):
    flow.model(WRITE, DONE)
    flow.run(GOAL)
    flow.model(says(text("No."), stop="refusal"))
    flow.run(OTHER, mode="learner")
    flow.run(GOAL)
    seen = [each.last_trigger for each in flow.runtime.sentience.history("demo")]
    assert set(seen) >= {
        TriggerType.NOVEL_TASK,
        TriggerType.TASK_SUCCESS,
        TriggerType.TASK_FAILURE,
        TriggerType.TASK_REPETITION,
    }


def test_a_deadline_that_passes_between_turns_keeps_cost_and_steps(flow):
    class Late:
        """The machine's clock, an hour later once a file was written."""

        def __init__(self, clock):
            self._clock = clock

        def now(self):
            late = any(flow.area.parent.glob("state/stages/*/area/flag.txt"))
            return self._clock.now() + (3600 if late else 0)

        def steady(self):
            return self._clock.steady()

    flow.runtime.clock = Late(flow.runtime.clock)
    flow.model(WRITE, DONE)
    outcome = flow.run(GOAL, deadline=flow.runtime.clock.now() + 600)
    assert (outcome.status, outcome.error.kind) == ("FAILED", "DeadlineExceeded")
    assert (len(outcome.tool_calls), outcome.llm_calls) == (1, 1)
    assert outcome.cost_micro > 0


def test_a_goal_s_budget_spent_in_mid_run_keeps_cost_and_steps(flow):
    # Two full calls do not fit; after the first was settled, there is not enough for another.
    flow.model(calls(use("Write", path="flag.txt", content="blue\n" * 2000)), DONE)
    model = flow.runtime.prices.resolve(flow.runtime.config.sdk.model)
    bound = flow.runtime.prices.bound(model, 12_000, flow.runtime.config.sdk.max_tokens)
    outcome = flow.run(GOAL, budget_usd=f"{bound / 1e6:.6f}")
    assert (outcome.status, outcome.error.kind) == ("FAILED", "BudgetExceeded")
    assert (len(outcome.tool_calls), outcome.llm_calls) == (1, 1)
    assert outcome.cost_micro == flow.runtime.spent_on(outcome.goal_id) > 0


def test_a_cancel_after_reserving_returns_the_money_and_sends_nothing(flow, monkeypatch):
    monkeypatch.setattr("llmos_workers.flow.run.CANCEL_POLL_SECS", 0.0)
    script, economy = flow.model(DONE), flow.runtime.economy
    reserve = economy.reserve

    def reserve_and_cancel(**asked):
        reservation = reserve(**asked)
        flow.runtime.goals.request_cancel(asked["goal_id"])
        return reservation

    monkeypatch.setattr(economy, "reserve", reserve_and_cancel)
    outcome = flow.run(GOAL)
    assert (outcome.status, outcome.cost_micro, script.requests) == ("CANCELLED", 0, [])
    assert economy.reservations() == []
    held = [economy.scope("global")[name] for name in ("spent", "reserved", "in_doubt")]
    assert held == [0, 0, 0]


ASKS = {"kernel": {"budget_usd": 50.0, "on_breach": "ask"}}


def spends_its_budget(flow):
    """A goal that lacks money for its second call and asks for it."""
    script = flow.model(calls(use("Write", path="flag.txt", content="blue\n" * 2000)), DONE)
    model = flow.runtime.prices.resolve(flow.runtime.config.sdk.model)
    bound = flow.runtime.prices.bound(model, 12_000, flow.runtime.config.sdk.max_tokens)
    record = flow.submit(GOAL, budget_usd=f"{bound / 1e6:.6f}")
    flow.receive(record)
    with pytest.raises(Ignore):
        flow.work(record)
    assert flow.runtime.goals.state(record.goal_id) is GoalState.WAITING_APPROVAL
    (asked,) = flow.runtime.approvals.pending()
    return record, asked, bound, script


@pytest.mark.parametrize("flow", [ASKS], indirect=True)
def test_a_budget_spent_in_mid_run_is_raised_by_exactly_what_a_person_allowed(flow):
    record, asked, bound, script = spends_its_budget(flow)
    scope = f"goal:{record.goal_id}"
    assert (asked.raise_scope, asked.tool) == (scope, "RaiseLimit")
    assert f"${asked.raise_micro / 1e6:.6f}" in asked.shown
    answered = flow.runtime.approvals.approve(asked.approval_id, by="ann")
    assert (answered.state, answered.decided_by) == ("used", "ann")
    assert flow.runtime.economy.scope(scope)["limit"] == bound + asked.raise_micro
    flow.receive(record)
    outcome = flow.work(record)
    assert (outcome["status"], outcome["llm_calls"]) == ("SUCCEEDED", 2), outcome["error"]
    assert len(script.requests) == 2, "what was bought before the question was not bought again"
    assert (flow.area / "flag.txt").is_file()


@pytest.mark.parametrize("flow", [ASKS], indirect=True)
def test_a_limit_that_is_raised_by_hand_lets_the_goal_go_on_that_asked_for_it(flow):
    record, asked, bound, script = spends_its_budget(flow)
    upkeep, scope = DUTIES["expire_approvals"], f"goal:{record.goal_id}"
    flow.runtime.economy.set_limit(scope, bound + asked.raise_micro - 1)
    assert upkeep(flow.runtime) == "0 expired, 0 funded", "a micro-dollar is still missing"
    flow.runtime.economy.set_limit(scope, bound + asked.raise_micro)
    assert upkeep(flow.runtime) == "0 expired, 1 funded"
    assert upkeep(flow.runtime) == "0 expired, 0 funded"
    assert flow.runtime.approvals.get(asked.approval_id).why == "it fits by now"
    assert flow.runtime.economy.scope(scope)["limit"] == bound + asked.raise_micro
    woken = Approvals(flow.runtime.redis, wake=flow.runtime.delayed.wake).wake_due()
    assert (woken, flow.runtime.goals.state(record.goal_id)) == (1, GoalState.ACCEPTED)
    flow.receive(record)
    outcome = flow.work(record)
    assert (outcome["status"], len(script.requests)) == ("SUCCEEDED", 2), outcome["error"]


@pytest.mark.parametrize("flow", [ASKS], indirect=True)
def test_a_budget_that_nobody_raises_ends_the_goal_with_the_numbers(flow):
    record, asked, bound, _ = spends_its_budget(flow)
    flow.runtime.approvals.deny(asked.approval_id, by="bob", why="too dear")
    flow.receive(record)
    error = flow.work(record)["error"]
    assert error["kind"] == "BudgetExceeded"
    for part in (f"of ${bound / 1e6:.6f} is left", "bob said no: too dear"):
        assert part in error["message"]
    assert flow.runtime.economy.scope(f"goal:{record.goal_id}")["limit"] == bound
    assert flow.runtime.approvals.pending() == []


@pytest.mark.parametrize("flow", [ASKS], indirect=True)
def test_what_cannot_start_asks_nobody(flow):
    flow.model(DONE)
    outcome = flow.run(GOAL, budget_usd="0.000001")
    assert (outcome.status, outcome.error.kind) == ("REJECTED", "BudgetExceeded")
    assert flow.runtime.approvals.pending() == []
