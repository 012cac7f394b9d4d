"""Goals in messages of other apps: unsigned, tampered, swapped and replayed ones do nothing."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from llmos_workers.contracts.goal import GoalState
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.kernel import keys
from llmos_workers.kernel.app_seal import app_keys, apps_of
from llmos_workers.tasks.hops import Next, leased_run, receive
from tests.flow.conftest import Hop
from tests.support.sealed import a_key, sealed

GOAL = {"goal": "Create a README", "project": "demo"}
SIGNED = {"security": {"app_goals": "signed"}}


@pytest.fixture
def pem(flow) -> bytes:
    """The key of an app that may send goals to the project demo."""
    pem, public = a_key()
    app_keys(flow.runtime.workspace.keys, "demo").trust(public)
    return pem


def send(flow, task_id: str, kwargs: dict, **header):
    hop = Hop(task_id)
    hop.name = "llmos.goal"
    hop.request = SimpleNamespace(**(vars(hop.request) | header))
    return receive(hop, flow.process, kwargs)


def assert_refused(flow, task_id: str, result, why: str) -> None:
    """Visibly, and nothing is on record."""
    outcome = Outcome.model_validate(result)
    assert (outcome.status, outcome.goal_id) == (GoalState.REJECTED, task_id)
    assert why in outcome.error.message
    assert flow.runtime.goals.get_many([task_id]) == [None]
    assert int(flow.runtime.redis.hget(keys.COUNTERS, "app_goals.refused")) == 1


@pytest.mark.parametrize("flow", [SIGNED], indirect=True)
def test_what_a_trusted_app_signed_is_done_once(flow, pem):
    assert apps_of(flow.runtime.workspace.keys) == ["demo"]
    task_id, kwargs = sealed(pem, GOAL)
    assert isinstance(send(flow, task_id, kwargs), Next)
    record = flow.runtime.goals.get(task_id)
    assert (record.text, record.project) == (GOAL["goal"], "demo")
    assert Outcome.model_validate(flow.work(record)).ok
    paid = len(flow.server.log.entries())
    assert Outcome.model_validate(send(flow, task_id, kwargs)).ok
    assert len(flow.server.log.entries()) == paid
    assert flow.runtime.redis.hget(keys.COUNTERS, "app_goals.refused") is None


@pytest.mark.parametrize("flow", [SIGNED], indirect=True)
def test_an_unsigned_message_is_refused(flow):
    assert_refused(flow, "t", send(flow, "t", GOAL), "it is not signed")


@pytest.mark.parametrize(
    "change",
    [
        {"goal": "Delete everything"},
        {"budget_usd": 100},
        {"priority": 1},
        {"seal": {"expires": 9e9, "signature": "ed25519:0123456789abcdef:AAAA"}},
        {"seal": {"expires": "tomorrow"}},
        {"seal": "x"},
    ],
)
@pytest.mark.parametrize("flow", [SIGNED], indirect=True)
def test_a_tampered_message_is_refused(flow, pem, change):
    task_id, kwargs = sealed(pem, GOAL)
    result = send(flow, task_id, kwargs | change)
    assert_refused(flow, task_id, result, "refused: it")


@pytest.mark.parametrize("flow", [SIGNED], indirect=True)
def test_a_signature_lasts_no_longer_than_it_says(flow, pem):
    task_id, kwargs = sealed(pem, GOAL)
    later = kwargs["seal"] | {"expires": kwargs["seal"]["expires"] + 60}
    result = send(flow, task_id, kwargs | {"seal": later})
    assert_refused(flow, task_id, result, "signature is not of this message")


@pytest.mark.parametrize("flow", [SIGNED], indirect=True)
def test_a_message_with_a_swapped_header_is_refused(flow, pem):
    """Another id, another task, or something that is to be done afterwards."""
    task_id, kwargs = sealed(pem, GOAL)
    assert_refused(flow, "another", send(flow, "another", kwargs), "not of this message")
    never = leased_run(Hop(task_id), flow.runtime, lambda _run: pytest.fail("it ran"))
    assert Outcome.model_validate(never).status == "REJECTED"
    flow.runtime.redis.delete(keys.COUNTERS)
    linked = send(flow, task_id, kwargs, callbacks=[{"task": "other.app.task"}])
    assert_refused(flow, task_id, linked, "does not cover its callbacks")


@pytest.mark.parametrize("flow", [SIGNED], indirect=True)
@pytest.mark.parametrize("hours", [-0.1, 24 * 365])
def test_an_old_message_is_refused_and_none_is_good_for_ever(flow, pem, hours):
    task_id, kwargs = sealed(pem, GOAL, hours)
    result = Outcome.model_validate(send(flow, task_id, kwargs))
    assert (result.status, result.error.kind) == ("REJECTED", "PayloadError")


@pytest.mark.parametrize("flow", [SIGNED], indirect=True)
def test_a_message_that_comes_again_after_its_end_gives_what_stands(flow, pem, monkeypatch):
    task_id, kwargs = sealed(pem, GOAL)
    assert isinstance(send(flow, task_id, kwargs), Next)
    now = time.time() + 7_200
    monkeypatch.setattr(type(flow.runtime.clock), "now", lambda _self: now)
    assert isinstance(send(flow, task_id, kwargs), Next)


@pytest.mark.parametrize("flow", [SIGNED], indirect=True)
def test_an_app_sends_to_its_own_project_only(flow, pem):
    task_id, kwargs = sealed(pem, GOAL | {"project": "payroll"})
    assert_refused(flow, task_id, send(flow, task_id, kwargs), "not trusted for this project")


@pytest.mark.parametrize("flow", [SIGNED], indirect=True)
def test_a_key_that_is_trusted_for_traces_is_none_for_goals(flow):
    pem, public = a_key()
    flow.runtime.keys.trust(public)
    task_id, kwargs = sealed(pem, GOAL)
    assert_refused(flow, task_id, send(flow, task_id, kwargs), "not trusted for this project")
    (app,) = [app_keys(flow.runtime.workspace.keys, "demo")]
    app.trust(public)
    flow.runtime.keys.untrust(public.key_id)
    assert public.key_id not in {key.key_id for key in flow.runtime.keys.trusted()}


@pytest.mark.parametrize("flow", [{"security": {"app_goals": "none"}}], indirect=True)
def test_where_no_goals_of_apps_are_taken_none_is(flow, pem):
    task_id, kwargs = sealed(pem, GOAL)
    assert_refused(flow, task_id, send(flow, task_id, kwargs), "no goals of other apps")
    assert flow.run(GOAL["goal"]).ok  # llmos's own client is not meant
