"""Goals and logs hold no secrets."""

from __future__ import annotations

import io
import logging

import pytest

from llmos_workers.contracts.errors import InvalidGoal
from llmos_workers.contracts.goal import GoalOptions
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goal_secrets import refuse_secrets
from llmos_workers.kernel.logs import dress
from llmos_workers.kernel.schedules import Schedules

VALUE = "canary-goal-0c77aa12"


@pytest.mark.parametrize(
    ("text", "metadata", "what"),
    [
        (f"Log in, the token is {VALUE}", {}, r"the goal holds a secret \(token\)"),
        (f"Use API_KEY={VALUE} and go", {}, r"the goal holds a secret \(API_KEY\)"),
        ("Log in", {"db_password": VALUE}, r"the goal's metadata holds a secret \(db_password\)"),
    ],
)
def test_a_goal_with_a_secret_is_refused_by_its_name(text, metadata, what):
    with pytest.raises(InvalidGoal, match=what) as told:
        refuse_secrets(text, metadata)
    assert VALUE not in f"{told.value}{told.value.fix}"
    assert ".env" in str(told.value.fix)


@pytest.mark.parametrize(
    "text",
    [
        "Write a script that asks for a password and checks it",
        "Read SERVICE_PASSWORD from .env and log in with it",
        "Explain what a token is and how tokens: words are counted",
        "Generate a random secret of 32 characters into secret.txt",
    ],
)
def test_goals_that_speak_of_secrets_are_taken(text):
    refuse_secrets(text, {"team": "security"})


def test_a_schedule_is_a_goal_too(state):
    schedules = Schedules(state, SystemClock())
    with pytest.raises(InvalidGoal):
        schedules.add("0 5 * * *", f"Use API_KEY={VALUE}", options=GoalOptions())
    assert schedules.list() == []


def test_what_is_logged_holds_none_in_words_values_and_tracebacks():
    written = io.StringIO()
    logger = logging.Logger("test")
    logger.addHandler(logging.StreamHandler(written))
    dress(logger)
    dress(logger)
    logger.warning("password=%s", VALUE)
    try:
        raise ValueError(f"no login with api_key={VALUE}")
    except ValueError:
        logger.exception("it failed")
    assert VALUE not in written.getvalue()
    assert written.getvalue().count("«secret:") == 2
