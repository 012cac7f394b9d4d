"""Only what a replay in scratch gives again is followed, and it knows what it depends on."""

import pytest

from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.tools import Effect, ToolResult, ToolSpec
from llmos_workers.execution.sandbox import watched
from tests.support.script import calls, says, text, use

GOAL = "Put the numbers of the project together in sum.txt"
DONE = says(text("Done."))


def bash(command, number=1):
    return calls(use("Bash", number, command=command))


def put(path, content, number=1):
    return calls(use("Write", number, path=path, content=content))


def learn(flow, *replies, goal=GOAL):
    """A goal that a scripted model solves; the trace it leaves."""
    flow.model(*replies, DONE)
    assert flow.run(goal).ok
    return flow.trace(goal)


def inputs(trace):
    return [file.path for file in trace.inputs]


def scratches(flow):
    return list(flow.area.parent.glob("state/stages/*"))


def test_a_run_that_repeats_itself_is_proved_and_followed(flow):
    trace = learn(flow, put("a.txt", "1\n"), bash("cat a.txt > sum.txt"))
    assert (trace.proved, trace.proved_by) == (True, "replay")
    assert scratches(flow) == []
    assert flow.run(GOAL).mode is Mode.FOLLOWER


def test_the_project_is_as_it_was_before_the_run_when_a_trace_is_tried(flow):
    (flow.area / "log.txt").write_text("one\n")
    trace = learn(flow, bash("test $(wc -l < log.txt) = 1 && echo two >> log.txt"))
    assert trace.proved
    assert (flow.area / "log.txt").read_text() == "one\ntwo\n", "trying it published nothing"


def test_a_run_that_gives_other_files_each_time_is_not_followed(flow):
    trace = learn(flow, bash("od -An -N8 -tx8 /dev/urandom > sum.txt"))
    assert not trace.proved
    assert "sum.txt" in trace.error_notes
    flow.model(bash("echo 1 > sum.txt"), DONE)
    outcome = flow.run(GOAL)
    assert outcome.mode is Mode.MIXED
    assert "not proved" in outcome.reason


def test_a_run_whose_later_calls_rest_on_words_that_change_is_not_followed(flow):
    trace = learn(flow, bash("od -An -N8 -tx8 /dev/urandom"), put("sum.txt", "1\n", 2))
    assert not trace.proved
    assert "its output differs" in trace.error_notes


@pytest.mark.parametrize("flow", [{"learning": {"prove_timeout_secs": 0.001}}], indirect=True)
def test_what_cannot_be_tried_in_time_is_not_followed(flow):
    assert not learn(flow, bash("echo 1 > sum.txt")).proved


def test_a_file_that_a_command_reads_without_naming_it_is_an_input(flow):
    (flow.area / "n.dat").write_text("4\n")
    (flow.area / "Makefile").write_text("sum.txt:\n\tcp n.* sum.txt\n")
    trace = learn(flow, bash("make -s"))
    assert inputs(trace) == ["Makefile", "n.dat"]
    (flow.area / "sum.txt").unlink()
    (flow.area / "n.dat").write_text("5\n")
    record = flow.submit(GOAL)
    decision = flow.dispatcher.decide(record)
    assert decision.mode is Mode.MIXED
    assert "n.dat changed" in decision.reason


def test_a_file_whose_size_alone_matters_is_an_input(flow):
    (flow.area / "n.dat").write_text("4\n")
    (flow.area / "m.py").write_text("")
    trace = learn(flow, bash("find -type f -printf '%f %s\\n' | sort | grep dat > sum.txt"))
    assert inputs(trace) == ["n.dat"]


def test_a_file_that_is_named_and_changes_nothing_is_none(flow):
    (flow.area / "n.dat").write_text("4\n")
    (flow.area / "m.dat").write_text("4\n")
    trace = learn(flow, bash("ls n.dat > /dev/null; cat m.dat > sum.txt"))
    assert (inputs(trace), trace.ignored_inputs) == (["m.dat"], ("n.dat",))
    (flow.area / "n.dat").write_text("5\n")
    assert flow.run(GOAL).mode is Mode.FOLLOWER
    assert (flow.area / "sum.txt").read_text() == "4\n"


def test_what_the_model_read_stays_an_input_though_the_calls_do_not_need_it(flow):
    (flow.area / "n.dat").write_text("4\n")
    trace = learn(flow, calls(use("Read", path="n.dat")), put("sum.txt", "4\n", 2))
    assert (inputs(trace), trace.ignored_inputs) == (["n.dat"], ())


def test_what_a_failed_command_read_is_an_input_for_what_was_written_after_it(flow):
    (flow.area / "conf.ini").write_text("host = x\n")
    trace = learn(flow, bash("grep -rh port . | grep ."), put("sum.txt", "port 8080\n", 2))
    assert [step.call.name for step in trace.steps] == ["Write"]
    assert "conf.ini" in inputs(trace)
    flow.model(DONE)
    (flow.area / "conf.ini").write_text("port = 9000\n")
    assert flow.run(GOAL).mode is Mode.MIXED


def test_that_a_kept_command_does_not_need_it_does_not_excuse_a_file(flow):
    (flow.area / "conf.ini").write_text("host = x\n")
    search = bash("grep -rh port . | grep .")
    trace = learn(flow, search, bash("cat conf.ini > /dev/null; echo 8080 > sum.txt", 2))
    assert len(trace.steps) == 1
    assert "conf.ini" in inputs(trace)


def test_a_new_file_that_a_failed_command_would_have_found_is_noticed(flow):
    (flow.area / "conf.ini").write_text("host = x\n")
    learn(flow, bash("grep -h port *.ini"), put("sum.txt", "port 8080\n", 2))
    assert flow.run(GOAL).mode is Mode.FOLLOWER
    (flow.area / "other.ini").write_text("port = 9000\n")
    flow.model(DONE)
    outcome = flow.run(GOAL)
    assert outcome.mode is Mode.MIXED
    assert "other files are in the project's folder" in outcome.reason


def test_a_file_that_a_failed_command_missed_is_an_input(flow):
    trace = learn(flow, bash("test -e conf.ini"), put("sum.txt", "defaults\n", 2))
    assert [(file.path, file.digest) for file in trace.inputs] == [("conf.ini", None)]


def test_large_files_that_nobody_opens_are_no_inputs(flow):
    (flow.area / "film.bin").write_bytes(bytes(8 << 20))
    (flow.area / "n.dat").write_text("4\n")
    trace = learn(flow, bash("cat n.* > sum.txt; ls > /dev/null"))
    assert inputs(trace) == ["n.dat"]


@pytest.fixture
def noatime(monkeypatch):
    """A file system that does not keep times of last access."""
    monkeypatch.setattr(watched, "_times_move", lambda _folder: False)


@pytest.mark.usefixtures("noatime")
def test_where_reading_does_not_show_every_file_is_tried(flow):
    (flow.area / "n.dat").write_text("4\n")
    (flow.area / "m.py").write_text("")
    (flow.area / "Makefile").write_text("sum.txt:\n\tcp n.* sum.txt\n")
    assert inputs(learn(flow, bash("make -s"))) == ["Makefile", "n.dat"]


@pytest.mark.usefixtures("noatime")
def test_where_reading_does_not_show_a_run_with_failed_commands_is_not_followed(flow):
    trace = learn(flow, bash("grep -rh port . | grep ."), put("sum.txt", "port 8080\n", 2))
    assert not trace.proved


@pytest.mark.parametrize("flow", [{"learning": {"perturb_timeout_secs": 0}}], indirect=True)
def test_what_cannot_be_tried_in_time_stays_as_strict_as_can_be(flow):
    (flow.area / "n.dat").write_text("4\n")
    (flow.area / "m.dat").write_text("4\n")
    trace = learn(flow, bash("ls n.dat > /dev/null; cat m.dat > sum.txt"), goal="Copy m.dat")
    assert trace.proved
    assert (inputs(trace), trace.slots) == (["m.dat", "n.dat"], ())


COUNT = "Count the lines of sales.csv"


def test_a_value_that_may_vary_is_a_slot(flow):
    (flow.area / "sales.csv").write_text("a\nb\n")
    trace = learn(flow, bash("wc -l < sales.csv > count.txt"), goal=COUNT)
    assert ([slot.value for slot in trace.slots], trace.fixed) == (["sales.csv"], ())
    (flow.area / "costs.csv").write_text("a\n")
    assert flow.run("Count the lines of costs.csv").mode is Mode.FOLLOWER
    assert (flow.area / "count.txt").read_text() == "1\n"


def test_a_value_of_which_something_stays_behind_is_fixed(flow):
    (flow.area / "sales.csv").write_text("a\nb\n")
    trace = learn(flow, bash("wc -l < sales.csv > sales.count"), goal=COUNT)
    assert trace.proved
    assert (trace.slots, [slot.value for slot in trace.fixed]) == ((), ["sales.csv"])
    assert flow.run(COUNT).mode is Mode.FOLLOWER
    (flow.area / "costs.csv").write_text("a\n")
    flow.model(bash("wc -l < costs.csv > costs.count"), DONE)
    assert flow.run("Count the lines of costs.csv").mode is Mode.MIXED


def test_a_value_with_which_the_calls_fail_is_fixed(flow):
    (flow.area / "count.sh").write_text("wc -l < sales.csv\n")
    (flow.area / "sales.csv").write_text("a\nb\n")
    trace = learn(flow, bash("test sales.csv != quux.csv && sh count.sh"), goal=COUNT)
    assert [slot.value for slot in trace.fixed] == ["sales.csv"]


def test_a_value_of_an_earlier_result_is_taken_anew_for_another_file(flow):
    (flow.area / "sales.csv").write_text("a\nb\n")
    goal = "Keep sales.csv under its hash"
    hashed = "sha256sum sales.csv | head -c 12"
    trace = learn(flow, bash(hashed), bash("cp sales.csv kept-911169ddaaf1.bak", 2), goal=goal)
    assert [ref.source for ref in trace.steps[1].references] == [0]
    assert ([slot.value for slot in trace.slots], trace.proved) == (["sales.csv"], True)
    (flow.area / "costs.csv").write_text("c\n")
    outcome = flow.run("Keep costs.csv under its hash")
    assert outcome.mode is Mode.FOLLOWER
    assert [file.path for file in outcome.files] == ["kept-a3a5e715f0cc.bak"]


# -- what cannot be tried ---------------------------------------------------------------------


class Mail:
    """A tool with effects outside the project."""

    spec = ToolSpec(
        name="Mail",
        description="Sends a mail.",
        input_schema={"type": "object", "properties": {"to": {"type": "string"}}},
        effect=Effect.EXTERNAL,
        informative=False,
    )

    def __init__(self):
        self.sent = []

    def run(self, arguments, ctx):
        self.sent.append(arguments["to"])
        return ToolResult(
            ok=True, output=f"Sent {len(self.sent) if arguments['to'] == 'x' else 1}."
        )


INVITE = "Invite bob@example.org"
OTHER = "Send bob@example.org an invitation"


@pytest.fixture
def mail(flow):
    tool = Mail()
    flow.runtime.tools.register(tool)
    agent = flow.runtime.workspace.agents / "clerk.md"
    agent.write_text("---\nname: clerk\ndescription: mails\ntools: [Mail]\n---\nYou mail.\n")
    return tool


def invite(flow, to, goal=INVITE, **options):
    flow.model(calls(use("Mail", to=to)), DONE)
    return flow.run(goal, agent="clerk", **options)


def test_effects_outside_are_never_tried_and_followed_once_a_model_did_the_same_again(flow, mail):
    invite(flow, "bob@example.org")
    assert mail.sent == ["bob@example.org"], "it was not sent once more to prove it"
    assert not flow.trace(INVITE).proved
    assert invite(flow, "bob@example.org").mode is Mode.MIXED
    trace = flow.trace(INVITE)
    assert (trace.proved, trace.proved_by, trace.version) == (True, "supervised", 2)
    assert trace.slots == ()
    assert flow.run(INVITE, agent="clerk").mode is Mode.FOLLOWER
    assert len(mail.sent) == 3


def test_another_wording_that_does_the_same_proves_it_too(flow, mail):
    invite(flow, "bob@example.org")
    invite(flow, "bob@example.org", OTHER, mode="mixed")
    trace = flow.trace(INVITE)
    assert (trace.proved_by, trace.aliases) == ("supervised", (OTHER,))
    assert flow.run(OTHER, agent="clerk").mode is Mode.FOLLOWER


@pytest.mark.parametrize("to", ["bill@example.org", "x"], ids=["other calls", "other results"])
def test_a_run_that_did_something_else_proves_nothing(flow, mail, to):
    invite(flow, to)
    invite(flow, to if to == "x" else "bob@example.org")
    assert not flow.trace(INVITE).proved


def test_what_was_tried_and_came_out_differently_is_not_proved_by_seeing_it_again(flow):
    once = bash("od -An -N8 -tx8 /dev/urandom > sum.txt")
    learn(flow, once)
    assert not learn(flow, once).proved


def test_a_secret_enters_no_trace_and_what_held_one_is_not_followed(flow, monkeypatch):
    monkeypatch.setenv("SERVICE_TOKEN", "opensesame-42")
    once = bash("echo opensesame-42 | wc -c > sum.txt")
    trace = learn(flow, once)
    assert (
        trace.steps[0].call.arguments["command"] == "echo «secret:SERVICE_TOKEN» | wc -c > sum.txt"
    )
    files = flow.runtime.workspace.traces.rglob("*.md")
    assert not any("opensesame-42" in file.read_text() for file in files)
    assert not learn(flow, once).proved, "seeing it again does not bring the secret back"


# -- healing ----------------------------------------------------------------------------------


def test_two_failures_in_a_row_demote_a_trace_until_it_heals(flow):
    learn(flow, put("a.md", "a\n"), bash("ls *.md", 2), put("sum.txt", "a.md\n", 3))
    (flow.area / "b.md").write_text("b\n")
    refuses = says(text("No."), stop="refusal")
    modes = []
    for _ in range(3):
        flow.model(refuses)
        assert not flow.run(GOAL).ok
        modes.append(flow.decisions[0].mode)
    assert modes == [Mode.FOLLOWER, Mode.FOLLOWER, Mode.MIXED]
    assert "failed 2 times in a row" in flow.decisions[0].reason
    first = flow.trace(GOAL)
    flow.model(put("a.md", "a\n"), bash("ls *.md", 2), put("sum.txt", "a.md\nb.md\n", 3), DONE)
    assert flow.run(GOAL).ok
    healed = flow.trace(GOAL)
    assert (healed.version, healed.failure_streak, healed.proved) == (2, 0, True)
    kept = flow.runtime.traces.history.versions("demo", healed.trace_id)
    assert [old.version for old in kept] == [first.version]
    assert flow.run(GOAL).mode is Mode.FOLLOWER
