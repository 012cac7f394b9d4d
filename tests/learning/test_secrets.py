"""A trace says where a secret came from, and never what it is."""

import pytest
from hypothesis import given

from llmos_workers.kernel.secrets import find_secrets
from llmos_workers.learning.distill import distill
from llmos_workers.learning.secrets import without_secrets
from llmos_workers.learning.trace_file import to_markdown
from tests.learning.runs import SPECS, bash, read, write
from tests.learning.trace_strategies import text

VALUE = "hunter2-hunter2"


def cleaned(*steps, goal="Call the service", answer="Done.", named=None):
    trace = distill(goal, steps, answer=answer, specs=SPECS)
    return without_secrets(trace, named or {})


def test_a_secret_of_the_process_is_named_where_it_stood():
    trace = cleaned(
        write("call.sh", f"curl -H 'X-Auth: {VALUE}' x"),
        answer=f"I used {VALUE}.",
        named={VALUE: "SERVICE_TOKEN"},
    )
    assert VALUE not in to_markdown(trace)
    assert trace.steps[0].call.arguments["content"] == "curl -H 'X-Auth: «secret:SERVICE_TOKEN»' x"
    assert trace.answer == "I used «secret:SERVICE_TOKEN»."


def test_a_trace_whose_calls_held_a_secret_only_helps():
    trace = cleaned(write("a.txt", VALUE), named={VALUE: "KEY"})
    assert (trace.proved, trace.proved_by) == (False, "")
    assert trace.error_notes == "its calls hold a secret, in Write"


def test_what_was_read_from_a_file_is_blanked_and_does_not_stop_the_trace():
    trace = cleaned(read(".env", f"API_KEY={VALUE}\n"))
    assert trace.steps[0].output == "API_KEY=«secret:API_KEY»\n"
    assert trace.proved


def test_what_was_read_is_known_again_in_later_calls():
    trace = cleaned(
        read("conf.json", f'{{"db_password": "{VALUE}"}}'),
        bash(f"login {VALUE}", turn=2),
    )
    assert trace.steps[1].call.arguments["command"] == "login «secret:db_password»"
    assert not trace.proved


def test_a_secret_in_the_goal_is_in_no_wording_and_no_slot():
    goal = f"Log in with password: {VALUE} at example.org"
    trace = cleaned(bash(f"login {VALUE} example.org"), goal=goal)
    assert VALUE not in to_markdown(trace)
    assert all(slot.value != VALUE for slot in trace.slots)


@pytest.mark.parametrize(
    "harmless",
    [
        "token = get_token()",
        "password: str = None",
        "secret = settings.secret_value",
        "the secret: keep it short",
        "tokenizer=bert-base-uncased",
        "max_tokens: 8192",
    ],
)
def test_code_about_secrets_is_none(harmless):
    assert find_secrets(harmless) == {}


def test_a_trace_without_secrets_is_the_same_trace():
    trace = distill("Write a", [write("a", "1")], specs=SPECS)
    assert without_secrets(trace, {}) is trace


@given(content=text, answer=text)
def test_no_known_secret_survives_any_text(content, answer):
    trace = cleaned(
        write("a.txt", f"{content}{VALUE}"), answer=f"{VALUE}{answer}", named={VALUE: "KEY"}
    )
    assert VALUE not in str(trace)
