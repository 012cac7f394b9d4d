"""A trace that was used often and well becomes a tool, which does what the trace does."""

import hashlib
from dataclasses import replace

import pytest

from llmos_workers.client_tools import goal_of
from llmos_workers.contracts.errors import InvalidOption, MalformedFile
from llmos_workers.contracts.modes import Mode
from llmos_workers.evolution.generated import GeneratedTools
from llmos_workers.flow import crystal_proof, crystal_shelf
from llmos_workers.flow.crystal import put_out_of_use
from llmos_workers.flow.crystallize import crystallize, crystallize_due
from llmos_workers.kernel.gate_log import GateLog
from tests.support.generated import plant
from tests.support.script import calls, says, text, use

DONE = says(text("Done."))
GOAL = "Copy sales.csv to backup.csv"
OTHER = "Copy prices.csv to saved.csv"
AUTO = {"dispatcher": {"auto_crystallization": True}}
BY_REPLAY = Mode.FOLLOWER


@pytest.fixture
def sales(flow):
    (flow.area / "sales.csv").write_text("a,1\n")
    (flow.area / "prices.csv").write_text("b,2\n")
    flow.model(calls(use("Bash", command="cp sales.csv backup.csv")), DONE)
    assert flow.run(GOAL).ok
    yield flow
    flow.runtime.runners.close()


def compiled(flow, goal=GOAL):
    """The tool of a goal's trace."""
    attempt = crystallize(flow.runtime, flow.trace(goal))
    assert attempt.made, attempt.result
    return attempt.result


def planted(flow, body):
    """A signed tool of the goal's trace with another body than the compiler would write."""
    return plant(flow.runtime.generated, flow.runtime.traces, flow.trace(GOAL), body)


@pytest.mark.parametrize("flow", [AUTO], indirect=True)
def test_after_five_good_uses_a_trace_becomes_a_tool(sales):
    for _ in range(5):
        assert crystallize_due(sales.runtime) == "none due"
        assert sales.run(GOAL).mode is BY_REPLAY
    ref = crystallize_due(sales.runtime)
    assert sales.trace(GOAL).crystallized_into_tool == ref
    record = sales.runtime.generated.load(ref).record
    assert (record.usage, record.recorded, record.unused) == (5, 1, 2)
    (sales.area / "backup.csv").unlink()
    outcome = sales.run(GOAL)
    assert (outcome.mode, outcome.tool, outcome.llm_calls) == (Mode.CRYSTALLIZED, ref, 0)
    assert outcome.saved_micro > 0
    assert (sales.area / "backup.csv").read_text() == "a,1\n"
    other = sales.run(OTHER)
    assert (other.mode, other.tool) == (Mode.CRYSTALLIZED, ref), other.reason
    assert (sales.area / "saved.csv").read_text() == "b,2\n"
    assert crystallize_due(sales.runtime) == "none due"


@pytest.mark.parametrize("flow", [AUTO], indirect=True)
def test_four_of_five_is_not_often_enough(sales):
    for _ in range(6):
        sales.run(GOAL)
    trace = sales.trace(GOAL)
    sales.runtime.traces.update_trace_stats(trace.project, trace.trace_id, success=False)
    sales.runtime.traces.update_trace_stats(trace.project, trace.trace_id, success=True)
    assert sales.trace(GOAL).usage_count >= 5
    assert crystallize_due(sales.runtime) == "none due"


def test_it_is_off_by_default(sales):
    assert crystallize_due(sales.runtime) == "off"


def test_the_proof_leaves_nothing_in_the_project(sales):
    before = {path.name: path.read_bytes() for path in sales.area.iterdir()}
    compiled(sales)
    assert {path.name: path.read_bytes() for path in sales.area.iterdir()} == before
    assert list(sales.area.parent.glob("state/stages/*")) == []


def test_each_of_its_calls_is_in_the_audit_log_under_the_goal(sales):
    compiled(sales)
    outcome = sales.run(GOAL)
    log = [entry.decision().record for entry in GateLog(sales.runtime.redis).newest()]
    mine = [record for record in log if record.goal_id == outcome.goal_id]
    assert [(record.tool, record.mode) for record in mine] == [("Bash", Mode.CRYSTALLIZED)]


def test_a_worker_that_ran_already_takes_a_new_tool_up_without_a_restart(sales):
    other = GeneratedTools(sales.runtime.workspace, sales.runtime.keys)
    assert other.refs() == []
    ref = compiled(sales)
    assert other.get(ref) is not None
    assert other.refs() == [ref]


def test_a_tool_that_asks_for_another_call_is_demoted_and_a_model_goes_on(sales):
    ref = planted(sales, '    tools.call("Bash", command="cp prices.csv backup.csv")')
    sales.model(calls(use("Bash", command="cp sales.csv backup.csv")), DONE)
    outcome = sales.run(GOAL)
    assert [d.mode for d in sales.decisions] == [Mode.CRYSTALLIZED, Mode.MIXED]
    assert outcome.mode is Mode.MIXED
    assert "asks for another call of Bash" in outcome.reason
    assert (sales.area / "backup.csv").read_text() == "a,1\n", "the wrong call never ran"
    assert sales.trace(GOAL).crystallized_into_tool is None
    assert sales.runtime.generated_notes.notes()[ref].status == "demoted"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("    pass", "ended early"),
        ('    tools.call("Bash", command="cp sales.csv backup.csv")\n' * 2, "goes on"),
        ("    [][1]", "IndexError"),
        ("    for n in range(10 ** 1 if False else 1000000000000):\n        pass", "too"),
    ],
    ids=["ends early", "goes on", "fails", "never ends"],
)
def test_a_tool_that_does_not_do_its_trace_is_demoted(sales, body, told, monkeypatch):
    from llmos_workers.execution.crystal import runners

    monkeypatch.setattr(runners, "THINK_S", 1.0)
    planted(sales, body.replace("10 ** 1 if False else ", "").rstrip("\n"))
    sales.model(calls(use("Bash", command="cp sales.csv backup.csv")), DONE)
    outcome = sales.run(GOAL)
    assert outcome.mode is Mode.MIXED
    assert told in outcome.reason
    assert sales.trace(GOAL).crystallized_into_tool is None


def test_a_changed_input_is_seen_before_the_tool_runs(flow):
    (flow.area / "n.txt").write_text("1\n")
    flow.model(
        calls(use("Read", path="n.txt")), calls(use("Write", 2, path="m.txt", content="1")), DONE
    )
    assert flow.run("Note what n.txt says in m.txt").ok
    compiled(flow, "Note what n.txt says in m.txt")
    assert flow.run("Note what n.txt says in m.txt").mode is Mode.CRYSTALLIZED
    (flow.area / "n.txt").write_text("2\n")
    record = flow.submit("Note what n.txt says in m.txt")
    decision = flow.dispatcher.decide(record)
    assert (decision.mode, decision.tool) == (Mode.MIXED, None)
    assert "n.txt changed" in decision.reason
    flow.runtime.runners.close()


def test_a_tool_whose_file_was_changed_is_not_used(sales):
    ref = compiled(sales)
    path = sales.runtime.generated.folder / f"{ref}.py"
    path.write_text(path.read_text().replace("cp", "mv"))
    outcome = sales.run(GOAL)
    assert (outcome.mode, outcome.tool) == (BY_REPLAY, None)
    with pytest.raises(MalformedFile, match="not what was signed"):
        sales.runtime.generated.load(ref)


def test_a_tool_of_another_trace_is_not_used(sales):
    ref = compiled(sales)
    sales.model(calls(use("Write", path="x.txt", content="x\n")), DONE)
    assert sales.run("Put an x into x.txt").ok
    other = sales.trace("Put an x into x.txt")
    assert sales.runtime.traces.set_tool(other.project, other.trace_id, ref)
    assert sales.run("Put an x into x.txt").mode is BY_REPLAY


def test_a_healed_trace_is_no_tool_any_more(sales):
    compiled(sales)
    trace = sales.trace(GOAL)
    fresh = trace.model_copy(update={"crystallized_into_tool": None, "answer": "Otherwise."})
    sales.runtime.traces.save_trace(fresh)
    assert sales.run(GOAL).mode is BY_REPLAY


@pytest.mark.parametrize("flow", [AUTO], indirect=True)
def test_a_trace_whose_tool_does_not_fit_it_any_more_gets_another(sales):
    """Restored from its history, say: it names a tool that was made from another version."""
    compiled(sales)
    trace = sales.trace(GOAL)
    sales.runtime.traces.save_trace(trace.model_copy(update={"answer": "Otherwise."}))
    for _ in range(5):
        assert sales.run(GOAL).mode is BY_REPLAY
    assert crystallize_due(sales.runtime) == "copy_2"
    assert sales.run(GOAL).tool == "copy_2"


def test_follower_and_crystallized_can_be_asked_for_by_name(sales):
    refused = sales.run(GOAL, mode="CRYSTALLIZED")
    assert refused.status == "REJECTED"
    assert "has not been compiled" in refused.error.message
    compiled(sales)
    assert sales.run(GOAL, mode="CRYSTALLIZED").mode is Mode.CRYSTALLIZED
    assert sales.run(GOAL, mode="FOLLOWER").mode is BY_REPLAY


def test_what_an_earlier_call_says_is_taken_from_it_again(flow):
    """A hash in a file's name: the tool holds a reference, not the word."""
    goal = "Keep sales.csv under its hash"
    (flow.area / "sales.csv").write_text("a,1\n")
    command = "sha256sum sales.csv | head -c 12"
    word = hashlib.sha256(b"a,1\n").hexdigest()[:12]
    keep = calls(use("Bash", 2, command=f"cp sales.csv {word}.csv"))
    flow.model(calls(use("Bash", command=command)), keep, DONE)
    assert flow.run(goal).ok
    ref = compiled(flow, goal)
    source = flow.runtime.generated.load(ref).source
    assert "{r1.word}.csv" in source
    assert word not in source
    assert flow.run(goal).mode is Mode.CRYSTALLIZED
    flow.runtime.runners.close()


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"destructive": True}, "destroys"),
        ({"tainted": True}, "untrusted content"),
        ({"proved": False, "proved_by": ""}, "not proved"),
    ],
)
def test_what_is_not_replayed_blindly_is_not_compiled(sales, facts, why):
    trace = sales.trace(GOAL).model_copy(update=facts)
    attempt = crystallize(sales.runtime, trace)
    assert not attempt.made
    assert why in attempt.result


@pytest.mark.parametrize("flow", [AUTO], indirect=True)
def test_a_tool_that_a_person_disabled_stays_out_of_use(sales):
    ref = compiled(sales)
    for _ in range(5):
        assert sales.run(GOAL).mode is Mode.CRYSTALLIZED
    assert crystal_shelf.disable(sales.runtime, "copy", by="ada").why == "by ada"
    assert sales.run(GOAL).mode is BY_REPLAY
    assert crystallize_due(sales.runtime) == "none due"
    with pytest.raises(InvalidOption, match="is disabled"):
        crystal_shelf.disable(sales.runtime, ref, by="ada")
    back = crystal_shelf.rollback(sales.runtime, "copy", by="ada", version=1)
    assert (back.ref, back.state) == (ref, "in use")
    assert sales.run(GOAL).mode is Mode.CRYSTALLIZED


@pytest.mark.parametrize("flow", [AUTO], indirect=True)
def test_a_demoted_tool_is_made_again_only_after_as_many_uses_more(sales):
    ref = compiled(sales)
    for _ in range(9):
        assert sales.run(GOAL).mode is Mode.CRYSTALLIZED
    assert put_out_of_use(sales.runtime, "demo", ref, "it failed")
    for _ in range(5):
        assert crystallize_due(sales.runtime) == "none due"
        assert sales.run(GOAL).mode is BY_REPLAY
    assert crystallize_due(sales.runtime) == "copy_2"


def test_a_rollback_goes_to_the_version_before_and_then_to_the_replay(sales):
    first = compiled(sales)
    record = sales.runtime.generated.load(first).record
    source = sales.runtime.generated.load(first).source
    second = record.model_copy(update={"version": 2})
    sales.runtime.generated.put(second, source)
    trace = sales.trace(GOAL)
    sales.runtime.traces.set_tool(trace.project, trace.trace_id, second.ref)
    assert sales.run(GOAL).tool == second.ref
    assert crystal_shelf.rollback(sales.runtime, "copy", by="ada").ref == first
    assert sales.run(GOAL).tool == first
    assert crystal_shelf.rollback(sales.runtime, "copy", by="ada") is None
    assert sales.run(GOAL).mode is BY_REPLAY
    states = {each.ref: each.state for each in crystal_shelf.shelf(sales.runtime)}
    assert states == {first: "disabled", second.ref: "disabled"}


def test_a_compiler_that_errs_is_found_out_by_the_proof(sales, monkeypatch):
    """Equality of calls and effects, with values of record and with others."""
    from llmos_workers.flow import crystallize as module

    real = module.compile_trace

    def wrong(trace, name):
        made = real(trace, name)
        return replace(made, source=made.source.replace("cp {", "cp -p {"))

    monkeypatch.setattr(module, "compile_trace", wrong)
    attempt = crystallize(sales.runtime, sales.trace(GOAL))
    assert "makes other calls" in attempt.result
    assert sales.runtime.generated.refs() == []


def test_a_value_that_the_compiler_froze_is_found_out_by_values_no_run_used(sales, monkeypatch):
    from llmos_workers.flow import crystallize as module

    real = module.compile_trace

    def frozen(trace, name):
        made = real(trace, name)
        last = made.parameters[-1]
        return replace(made, source=made.source.replace(f"{{{last.name}}}", last.value))

    monkeypatch.setattr(module, "compile_trace", frozen)
    monkeypatch.setattr(crystal_proof, "ODD", ())
    attempt = crystallize(sales.runtime, sales.trace(GOAL))
    assert "makes other calls" in attempt.result


def test_a_model_is_offered_the_tool_and_each_of_its_calls_is_a_step(sales):
    compiled(sales)
    script = sales.model(
        calls(use("copy", file="prices.csv", file_2="kept.csv")),
        calls(use("Write", 2, path="note.txt", content="kept\n")),
        DONE,
    )
    outcome = sales.run("Keep the prices somewhere safe and note it", mode="LEARNER")
    assert outcome.ok, outcome.error
    assert (sales.area / "kept.csv").read_text() == "b,2\n"
    assert [call.name for call in outcome.tool_calls] == ["Bash", "Write"]
    offered = {tool["name"]: tool for tool in script.requests[0]["tools"]}
    assert offered["copy"]["input_schema"]["required"] == ["file", "file_2"]
    learned = sales.runtime.traces.get("demo", outcome.learned_trace_id)
    assert learned.tools_used == ("Bash", "Write"), "no trace holds the tool itself"
    assert learned.proved


def test_a_tool_is_not_offered_to_an_agent_that_may_not_make_its_calls(sales):
    compiled(sales)
    (sales.runtime.workspace.agents / "clerk.md").write_text(
        "---\nname: clerk\ndescription: Writes.\ntools: [Read, Write]\n---\nYou write.\n"
    )
    script = sales.model(calls(use("copy", file="prices.csv", file_2="kept.csv")), DONE)
    outcome = sales.run("Keep the prices somewhere safe", mode="LEARNER", agent="clerk")
    assert "copy" not in {tool["name"] for tool in script.requests[0]["tools"]}
    assert not (sales.area / "kept.csv").exists()
    assert [call.ok for call in outcome.tool_calls] == [False]


def test_python_calls_a_tool_by_its_name_and_submits_a_goal(sales, monkeypatch):
    compiled(sales)
    record = sales.runtime.generated.load("copy_1").record
    assert goal_of(record, {"file": "prices.csv"}) == "Copy prices.csv to backup.csv"
    with pytest.raises(InvalidOption, match="no parameter"):
        goal_of(record, {"path": "x"})
    with pytest.raises(InvalidOption, match="file is str"):
        goal_of(record, {"file": 1})
    outcome = sales.run(goal_of(record, {"file_2": "kept.csv"}), mode="CRYSTALLIZED")
    assert outcome.tool == "copy_1"
    assert (sales.area / "kept.csv").read_text() == "a,1\n"
