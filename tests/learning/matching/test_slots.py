from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos_workers.contracts.trace import ExecutionTrace, Slot, SlotType, TraceStep
from llmos_workers.learning.matching.embedder import bundled_embedder
from llmos_workers.learning.matching.slots import Binding, bind, discover_slots, fill
from tests.learning.matching.conftest import step, trace_of

FOLLOW = 0.92


def learned(goal: str, *steps: TraceStep) -> ExecutionTrace:
    return trace_of(goal, *steps, slots=discover_slots(goal, steps))


def declared(goal: str, *steps: TraceStep, **values: str) -> ExecutionTrace:
    slots = [Slot(name=name, value=value, declared=True) for name, value in values.items()]
    return trace_of(goal, *steps, slots=slots)


def ask(trace: ExecutionTrace, goal: str) -> Binding | None:
    found = bind(trace, trace.goal_text, goal, bundled_embedder().embed)
    return found if found and found.confidence >= FOLLOW else None


def replayed(trace: ExecutionTrace, goal: str) -> list[dict[str, object]] | None:
    found = ask(trace, goal)
    if found is None:
        return None
    return [s.call.arguments for s in fill(trace.steps, trace.slots, found.slots)]


COUNT = learned("Count the lines in server.log", step(command="wc -l server.log"))


def test_values_of_the_goal_that_stand_in_the_calls_become_slots() -> None:
    steps = (step("Fetch", url="https://x.org/a", limit=5, city="Paris"), step(command="wc a.txt"))
    goal = "Fetch 5 items for Paris from https://x.org/a into a.txt, verbose"
    found = {slot.value: slot.type for slot in discover_slots(goal, steps)}
    assert found == {
        "5": SlotType.NUMBER,
        "https://x.org/a": SlotType.URL,
        "a.txt": SlotType.PATH,
        "Paris": SlotType.NAME,
    }


def test_another_file_is_put_into_the_command() -> None:
    assert replayed(COUNT, "Count the lines in access.log") == [{"command": "wc -l access.log"}]
    assert replayed(COUNT, "please count the lines in access.log") == [
        {"command": "wc -l access.log"}
    ]


@pytest.mark.parametrize(
    "asked",
    [
        "Count the words in access.log",
        "Count the lines in access.csv",
        "Count the lines in access.log and error.log",
        "Delete the lines in access.log",
        "Count the lines in all logs",
        "Count the lines in 'a.log; rm -rf x.log'",
        "Count the lines in ../../etc/secret.log",
        "Count the lines in /etc/secret.log",
        "Count the lines in -rf.log",
        "Count the lines in $HOME/a.log",
        "Count the lines in *.log",
        "Count the lines in `reboot`.log",
        "Count the lines in https://x.org/a.log",
    ],
)
def test_what_is_not_the_same_job_with_a_plain_value_is_not_bound(asked: str) -> None:
    assert ask(COUNT, asked) is None


def test_several_values_change_at_once_and_may_trade_places() -> None:
    trace = learned("Rename draft.txt to final.txt", step(command="mv draft.txt final.txt"))
    assert replayed(trace, "Rename final.txt to draft.txt") == [
        {"command": "mv final.txt draft.txt"}
    ]
    assert replayed(trace, "rename a.txt to b.txt") == [{"command": "mv a.txt b.txt"}]


def test_roles_tell_which_number_is_which() -> None:
    trace = declared("Extract pages 3 to 7", step("Cut", first=3, last=7), a="3", b="7")
    assert replayed(trace, "Extract pages 5 to 9") == [{"first": 5, "last": 9}]


def test_values_of_two_words_and_names_are_bound() -> None:
    trace = declared("Get the weather in Paris", step("Weather", city="Paris"), city="Paris")
    assert replayed(trace, "Get the weather in New York") == [{"city": "New York"}]
    since = declared("Show commits since 1 March", step("Log", since="1 March"), since="1 March")
    assert replayed(since, "Show commits since 15 April") == [{"since": "15 April"}]


def test_a_word_for_a_number_is_written_as_the_calls_write_it() -> None:
    trace = declared("List the first ten users", step("Query", limit=10), n="ten")
    assert replayed(trace, "List the first five users") == [{"limit": 5}]


def test_generated_content_has_no_slots_unless_declared() -> None:
    write = step("Write", path="haiku.txt", content="Cats sleep\nall day\n")
    assert discover_slots("Write a haiku about cats", (write,)) == ()
    assert [s.value for s in discover_slots("Write a haiku to haiku.txt", (write,))] == [
        "haiku.txt"
    ]
    mentions = step("Write", path="calc.py", content="# calc: run it with python\n")
    assert discover_slots("Write a calculator to calc.py", (mentions,)) == ()


def test_declared_slots_vary_inside_content() -> None:
    write = step("Write", path="a.txt", content="Hello Ann\nAnn's page. Annual.\n")
    trace = declared("Greet Ann", write, who="Ann")
    assert replayed(trace, "Greet Bob") == [
        {"path": "a.txt", "content": "Hello Bob\nBob's page. Annual.\n"}
    ]
    undeclared = [Slot(name="who", value="Ann")]
    assert fill((write,), undeclared, {"who": "Bob"}) == [write]


def test_a_value_of_several_words_never_splits_an_argument_list() -> None:
    trace = declared("Restart the nginx container", step(command="docker restart nginx"), n="nginx")
    assert replayed(trace, "Restart the redis container") == [{"command": "docker restart redis"}]
    assert ask(trace, 'Restart the "redis ; reboot" container') is None
    assert ask(trace, "Restart the redis cluster node container") is None
    quoted = learned('Commit with message "fix typo"', step(command='git commit -m "fix typo"'))
    assert replayed(quoted, 'Commit with message "add tests"') == [
        {"command": 'git commit -m "add tests"'}
    ]
    assert ask(quoted, 'Commit with message "$(reboot)"') is None
    assert ask(quoted, 'Commit with message "it\'s"') is None


def test_a_whole_argument_may_hold_any_text_of_one_line() -> None:
    trace = learned('Post "hello"', step("Post", message="hello"))
    assert replayed(trace, 'Post "a; b | $(c)"') == [{"message": "a; b | $(c)"}]
    assert ask(trace, 'Post "--force"') is None


def test_a_number_that_stands_in_two_places_is_not_discovered() -> None:
    steps = (step(command="head -3 a.txt"), step(command="sort -k 3 a.txt"))
    assert "3" not in [s.value for s in discover_slots("Show 3 lines of a.txt sorted", steps)]


def test_a_date_stays_a_date_of_its_kind() -> None:
    trace = declared("Sum the sales of March", step("Sum", month="March"), month="March")
    assert replayed(trace, "Sum the sales of May") == [{"month": "May"}]
    assert ask(trace, "Sum the sales of Monday") is None
    assert ask(trace, "Sum the sales of today") is None


def test_formats_only_matter_to_tools_that_read_them() -> None:
    rename = learned("Rename a.txt to b.txt", step(command="mv a.txt b.txt"))
    assert replayed(rename, "Rename a.txt to b.md") == [{"command": "mv a.txt b.md"}]
    resize = learned("Resize a.png to 10x10", step(command="convert a.png -resize 10x10 a.png"))
    assert ask(resize, "Resize a.gif to 10x10") is None


def test_a_value_the_calls_do_not_hold_is_not_bound() -> None:
    trace = declared("Get the weather in Paris", step("Weather", station=75), city="Paris")
    assert ask(trace, "Get the weather in London") is None


def test_a_misspelled_old_value_is_no_new_value() -> None:
    call = step("Remind", what="call the bank")
    trace = declared("Remind me to call the bank at noon", call, what="call the bank")
    assert replayed(trace, "Remind me to buy milk at noon") == [{"what": "buy milk"}]
    assert ask(trace, "Remind me to call the bnk at noon") is None


FILE_NAMES = st.from_regex(r"[a-z]{2,8}(_[a-z]{2,5})?\.log", fullmatch=True)


@settings(max_examples=80, deadline=None)
@given(FILE_NAMES)
def test_filling_with_a_bound_value_and_back_gives_the_recorded_steps(name: str) -> None:
    found = ask(COUNT, f"Count the lines in {name}")
    if name == "server.log":
        assert found is None
        return
    assert found is not None
    filled = fill(COUNT.steps, COUNT.slots, found.slots)
    assert filled[0].call.arguments == {"command": f"wc -l {name}"}
    back = [slot.model_copy(update={"value": found.slots[slot.name]}) for slot in COUNT.slots]
    recorded = {slot.name: slot.value for slot in COUNT.slots}
    assert fill(filled, back, recorded) == list(COUNT.steps)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=30))
def test_no_text_gets_shell_syntax_into_a_command(text: str) -> None:
    found = ask(COUNT, f"Count the lines in {text}")
    if found is not None:
        value = fill(COUNT.steps, COUNT.slots, found.slots)[0].call.arguments["command"]
        assert set(value) <= set(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        ) | (set(" _@%+=:,./^-") | {c for c in value if c.isalnum()})
        assert value.startswith("wc -l ")
        assert value.count(" ") == 2


def test_the_program_of_a_command_is_no_slot() -> None:
    run = step(command="find . -type f | md5sum")
    assert "md5sum" not in {s.value for s in discover_slots("Run md5sum over all files", [run])}


def test_a_value_inside_another_value_is_no_slot_of_its_own() -> None:
    run = step(command="alias x='ls -l'")
    found = {s.value for s in discover_slots("Set alias 'ls' for 'ls -l'", [run])}
    assert found == {"ls -l"}


def test_a_quoted_file_keeps_its_extension() -> None:
    steps = (step(command="gunzip 'old.log.gz'"),)
    trace = trace_of(
        "Unpack 'old.log.gz'", *steps, slots=discover_slots("Unpack 'old.log.gz'", steps)
    )
    embed = bundled_embedder().embed
    assert bind(trace, trace.goal_text, "Unpack 'new.tar.bz2'", embed) is None
    assert bind(trace, trace.goal_text, "Unpack 'new.log.gz'", embed) is not None


def test_a_choice_is_no_name() -> None:
    slot = Slot(name="city", value="Bonn", declared=True)
    trace = trace_of("Show the weather in Bonn", step(city="Bonn"), slots=[slot])
    embed = bundled_embedder().embed
    assert bind(trace, trace.goal_text, "Show the weather in all French towns", embed) is None
    assert bind(trace, trace.goal_text, "Show the weather in Graz", embed) is not None
