"""Webhooks: signed, at least once under one id, only to configured URLs."""

import json
import logging
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from llmos_workers.config import LLMOSConfig, WebhooksConfig
from llmos_workers.contracts.errors import ConfigError, NotThere
from llmos_workers.contracts.goal import GoalState
from llmos_workers.kernel import keys
from llmos_workers.kernel.clock import SystemClock
from llmos_workers.kernel.goals import GoalStore
from llmos_workers.kernel.webhook_post import make_body, sign
from llmos_workers.kernel.webhooks import Delivered, Webhooks, pause_after
from tests.conftest import free_port
from tests.kernel.goal_support import a_goal, an_outcome

SECRET = "a-secret-of-many-characters"
DOCUMENT = Path(__file__).parents[2] / "docs" / "webhooks.md"
LATER = 10 * 3_600.0


class Receiver(ThreadingHTTPServer):
    """Takes requests down and answers with the next of ``statuses``, then with 200."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.answer_headers: dict[str, str] = {}
        self.url = f"http://127.0.0.1:{self.server_port}/hook?token=sesame"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers), body))
        statuses = self.server.statuses
        self.send_response(statuses.pop(0) if statuses else 200)
        for name, value in self.server.answer_headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextmanager
def serving():
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def receiver():
    with serving() as server:
        yield server


@pytest.fixture
def goals(state):
    return GoalStore(state, SystemClock())


def configured(*urls, **more):
    return WebhooksConfig(urls=urls, secret=SecretStr(SECRET), **more)


@pytest.fixture
def hooks(state, goals, receiver):
    """Webhooks that have begun to look."""
    made = Webhooks(state, goals, SystemClock(), configured(receiver.url, max_attempts=3))
    made.collect(SystemClock().now())
    return made


def ended(goals, status=GoalState.SUCCEEDED, **options):
    goal_id = goals.create(a_goal(now=SystemClock().now(), **options))[0].goal_id
    goals.finish(an_outcome(goal_id, status, "all done"), fence=None)
    return goal_id


def verify():
    """The function that the document shows."""
    code = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.S)[1]
    space: dict = {}
    exec(compile(code, str(DOCUMENT), "exec"), space)
    return space["verify"]


def test_an_ended_goal_is_told_and_the_documents_snippet_verifies_it(hooks, goals, receiver):
    goal_id = ended(goals, metadata={"ticket": 7})
    now = SystemClock().now()
    assert hooks.collect(now) == 1
    assert hooks.deliver_due(now + 1) == Delivered(taken=1)
    ((path, headers, body),) = receiver.got
    assert path == "/hook?token=sesame"
    told = json.loads(body)
    assert (told["goal_id"], told["status"], told["metadata"]) == (
        goal_id,
        "SUCCEEDED",
        {"ticket": 7},
    )
    assert told["outcome"]["text"] == "all done"
    assert told["delivery_id"] == headers["X-LLMOS-Delivery"]
    check = verify()
    assert check(SECRET, headers, body)
    assert not check("another secret of 16", headers, body)
    assert not check(SECRET, headers, body + b" ")
    assert not check(SECRET, headers | {"X-LLMOS-Timestamp": "1000"}, body)
    old = {"X-LLMOS-Timestamp": "1000", "X-LLMOS-Signature": sign(SECRET, 1000, body)}
    assert not check(SECRET, old, body)


def test_every_final_state_is_told_also_a_clients_cancel(hooks, goals, receiver):
    wanted = {ended(goals, s) for s in GoalState if s.final and s is not GoalState.CANCELLED}
    cancelled = goals.create(a_goal(now=SystemClock().now()))[0].goal_id
    goals.request_cancel(cancelled)
    now = SystemClock().now()
    hooks.collect(now)
    hooks.deliver_due(now + 1)
    assert {json.loads(body)["goal_id"] for _, _, body in receiver.got} == wanted | {cancelled}


def test_a_failure_is_tried_again_later_under_the_same_id(hooks, goals, receiver):
    hooks.enqueue(goals.get(ended(goals)))
    receiver.statuses = [500, 302]
    now = SystemClock().now() + 1
    assert hooks.deliver_due(now) == Delivered(failed=1)
    assert hooks.deliver_due(now + 1) == Delivered()
    assert hooks.deliver_due(now + 13) == Delivered(failed=1)
    assert hooks.deliver_due(now + LATER) == Delivered(taken=1)
    assert hooks.deliver_due(now + 2 * LATER) == Delivered()
    assert len({headers["X-LLMOS-Delivery"] for _, headers, _ in receiver.got}) == 1
    assert [headers["X-LLMOS-Attempt"] for _, headers, _ in receiver.got] == ["1", "2", "3"]
    assert len({body for _, _, body in receiver.got}) == 1


def test_a_redirect_is_not_followed(hooks, goals, receiver):
    with serving() as elsewhere:
        receiver.statuses, receiver.answer_headers = [307], {"Location": elsewhere.url}
        hooks.enqueue(goals.get(ended(goals)))
        assert hooks.deliver_due(SystemClock().now() + 1) == Delivered(failed=1)
        assert elsewhere.got == []


def test_after_so_many_attempts_a_delivery_is_dead_and_can_be_retried(hooks, goals, receiver):
    goal_id = ended(goals)
    hooks.enqueue(goals.get(goal_id))
    receiver.statuses = [500] * 3
    now = SystemClock().now() + 1
    results = [hooks.deliver_due(now + n * LATER) for n in range(4)]
    assert results == [Delivered(failed=1), Delivered(failed=1), Delivered(dead=1), Delivered()]
    (dead,) = hooks.dead()
    assert (dead["goal_id"], dead["attempts"], dead["error"]) == (goal_id, "3", "status 500")
    hooks.retry(dead["delivery_id"])
    assert hooks.deliver_due(now) == Delivered(taken=1)
    assert hooks.dead() == []
    with pytest.raises(NotThere):
        hooks.retry(dead["delivery_id"])


def test_a_receiver_that_is_gone_is_left_alone_at_once(hooks, goals, receiver):
    hooks.enqueue(goals.get(ended(goals)))
    receiver.statuses = [410]
    assert hooks.deliver_due(SystemClock().now() + 1) == Delivered(dead=1)


def test_retry_after_is_heeded(hooks, goals, receiver, state):
    hooks.enqueue(goals.get(ended(goals)))
    receiver.statuses, receiver.answer_headers = [503], {"Retry-After": "600"}
    now = SystemClock().now() + 1
    hooks.deliver_due(now)
    ((_, due),) = state.zrange(keys.WEBHOOKS_DUE, 0, -1, withscores=True)
    assert due >= now + 600


def test_looking_again_tells_nothing_twice(hooks, goals, receiver):
    ended(goals)
    now = SystemClock().now()
    assert [hooks.collect(now), hooks.collect(now + 1)] == [1, 0]
    hooks.deliver_due(now + 2)
    assert hooks.collect(now + 3) == 0
    assert len(receiver.got) == 1


def test_a_looker_that_died_before_taking_note_loses_nothing(hooks, goals, state, receiver):
    before = state.get(keys.WEBHOOKS_CURSOR)
    ended(goals)
    hooks.collect(SystemClock().now())
    state.set(keys.WEBHOOKS_CURSOR, before)
    ended(goals)
    assert hooks.collect(SystemClock().now()) == 1


def test_a_sender_that_died_after_sending_sends_again_under_the_same_id(
    hooks, goals, receiver, state
):
    """As if it had been killed between the answer and its note."""
    hooks.enqueue(goals.get(ended(goals)))
    due = state.zrange(keys.WEBHOOKS_DUE, 0, -1, withscores=True)
    name = keys.webhook(due[0][0].decode())
    before = state.hgetall(name)
    now = SystemClock().now() + 1
    hooks.deliver_due(now)
    state.hset(name, mapping=before)
    state.zadd(keys.WEBHOOKS_DUE, dict(due))
    assert hooks.deliver_due(now) == Delivered(taken=1)
    assert len({headers["X-LLMOS-Delivery"] for _, headers, _ in receiver.got}) == 1


def test_one_sender_at_a_time(hooks, goals, receiver, state):
    hooks.enqueue(goals.get(ended(goals)))
    (delivery_id,) = state.zrange(keys.WEBHOOKS_DUE, 0, -1)
    state.set(keys.webhook_claim(delivery_id.decode()), "1")
    assert hooks.deliver_due(SystemClock().now() + 1) == Delivered()
    assert receiver.got == []


def test_each_url_gets_its_own_and_a_silent_one_does_not_hold_up_the_rest(
    state, goals, receiver, caplog
):
    nobody = f"http://127.0.0.1:{free_port()}/secret-path"
    hooks = Webhooks(state, goals, SystemClock(), configured(nobody, receiver.url))
    for _ in range(5):
        hooks.enqueue(goals.get(ended(goals)))
    with caplog.at_level(logging.DEBUG):
        result = hooks.deliver_due(SystemClock().now() + 1)
    assert result == Delivered(taken=5, failed=1)
    assert len({headers["X-LLMOS-Delivery"] for _, headers, _ in receiver.got}) == 5
    assert "ConnectionRefusedError" in caplog.text
    for hidden in (SECRET, "secret-path", "sesame"):
        assert hidden not in caplog.text


def test_an_answer_that_does_not_come_is_not_waited_for(state, goals):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        hooks = Webhooks(state, goals, SystemClock(), configured(url, timeout_secs=0.05))
        hooks.enqueue(goals.get(ended(goals)))
        assert hooks.deliver_due(SystemClock().now() + 1) == Delivered(failed=1)


def test_a_url_that_is_not_configured_any_more_is_not_called(hooks, state, goals, receiver):
    hooks.enqueue(goals.get(ended(goals)))
    with serving() as other:
        now = SystemClock().now() + 1
        assert (
            Webhooks(state, goals, SystemClock(), configured(other.url)).deliver_due(now)
            == Delivered()
        )
        assert (receiver.got, other.got) == ([], [])
    assert state.zcard(keys.WEBHOOKS_DUE) == 0


def test_without_urls_nothing_is_kept_and_history_is_not_told(state, goals, receiver):
    silent = Webhooks(state, goals, SystemClock(), WebhooksConfig())
    ended(goals)
    assert silent.collect(SystemClock().now()) == 0
    late = Webhooks(state, goals, SystemClock(), configured(receiver.url))
    assert late.collect(SystemClock().now()) == 0
    assert state.keys("llmos:webhook:*") == []


def test_secrets_are_blanked_in_the_body(goals):
    record = a_goal("use sk-ant-api03-abcdefghijkl")
    assert b"sk-ant-api03" not in make_body(record, "d")


def test_pauses_grow_to_an_hour():
    pauses = [pause_after(n) for n in (1, 2, 3, 50)]
    assert pauses == sorted(pauses)
    assert 8 <= pauses[0] <= 12
    assert pauses[-1] <= 4_320


@pytest.mark.parametrize("wrong", [
    {"urls": ["https://x/"]},
    {"urls": ["https://x/"], "secret": "short"},
    {"urls": ["file:///etc/passwd"], "secret": SECRET},
    {"urls": ["https://user:pw@x/"], "secret": SECRET},
    {"urls": ["https:///path"], "secret": SECRET},
])  # fmt: skip
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigError) as error:
        LLMOSConfig.from_dict({"webhooks": wrong})
    assert SECRET not in str(error.value)
