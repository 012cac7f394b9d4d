"""The Celery app: settings that exist, formats, routes, and what people see."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from celery.app.defaults import DEFAULTS
from kombu.exceptions import ContentDisallowed, EncodeError
from kombu.serialization import dumps, loads
from kombu.transport.redis import Mutex

from llmos_workers.app import make_app
from llmos_workers.app_settings import QUEUES, ROUTES, celery_settings, max_hold_secs
from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.errors import ConfigError
from llmos_workers.worker_pool import PoolGuard, check_pool

CONFIG = LLMOSConfig.from_dict({"redis": {"visibility_timeout_secs": 90}})
URL = "redis://127.0.0.1:1"


@pytest.fixture
def app() -> Any:
    app = make_app(CONFIG, redis_url=URL)
    yield app
    app.close()


def test_every_setting_is_one_that_celery_knows() -> None:
    """Celery ignores unknown keys without a word."""
    unknown = set(celery_settings(CONFIG, URL)) - set(DEFAULTS)
    assert unknown == set()


def test_who_dies_looking_for_messages_of_the_dead_keeps_others_from_it_for_seconds(
    redis_server,
) -> None:
    app = make_app(CONFIG, redis_url=redis_server)
    with app.connection() as connection:
        channel = connection.default_channel
        with channel.conn_or_acquire() as client:
            held = Mutex(client, "a-mutex-of-the-dead", channel.unacked_mutex_expire)
            held.__enter__()  # and nobody ever leaves
            left = client.pttl("a-mutex-of-the-dead")
            client.delete("a-mutex-of-the-dead")
    app.close()
    assert 0 < left <= 10_000
    assert left <= CONFIG.redis.visibility_timeout_secs * 1_000


def test_every_transport_option_is_one_that_kombu_reads() -> None:
    from kombu.transport.redis import Channel

    options = celery_settings(CONFIG, URL)["broker_transport_options"]
    assert set(options) <= set(Channel.from_transport_options)
    assert "global_keyprefix" not in options


def test_broker_and_results_have_databases_of_their_own(app: Any) -> None:
    assert app.conf.broker_url == f"{URL}/0"
    assert app.conf.result_backend == f"{URL}/1"


def test_nothing_is_lost_by_setting(app: Any) -> None:
    conf = app.conf
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert not conf.task_ignore_result
    assert conf.result_chord_expires >= max_hold_secs(CONFIG)
    assert conf.broker_transport_options["visibility_timeout"] == 90


@pytest.mark.parametrize(
    ("task", "queue"),
    [
        ("llmos.goal", "dispatch"), ("llmos.explain", "dispatch"), ("llmos.think", "llm"),
        ("llmos.orchestrate", "llm"), ("llmos.replay", "replay"), ("llmos.upkeep", "upkeep"),
        ("llmos.upkeep.decay", "upkeep"), ("another.task", "celery"),
    ],
)  # fmt: skip
def test_tasks_are_routed_by_name(app: Any, task: str, queue: str) -> None:
    assert app.amqp.router.route({}, task)["queue"].name == queue


def test_callbacks_of_other_apps_go_to_their_queues_in_json(app: Any) -> None:
    route = app.amqp.router.route({"queue": "theirs"}, "another.task")
    assert (route["queue"].name, route["serializer"]) == ("theirs", "json")
    assert "serializer" not in app.amqp.router.route({}, "llmos.think")
    assert "theirs" not in app.amqp.queues  # nothing of ours consumes it


def test_a_misspelt_queue_is_an_error(app: Any) -> None:
    from celery.exceptions import QueueNotFound

    with pytest.raises(QueueNotFound):
        app.send_task("llmos.goal", queue="dispach")
    assert {route["queue"] for route in ROUTES.values()} == set(QUEUES)


def test_pickle_is_refused(app: Any) -> None:
    content_type, encoding, body = dumps({"a": 1}, serializer="pickle")
    accept = {"application/x-llmos-msgpack", "application/json"}
    with pytest.raises(ContentDisallowed):
        loads(body, content_type, encoding, accept=accept)
    assert set(app.conf.accept_content) == {"llmos-msgpack", "json"}
    assert set(app.conf.result_accept_content) == {"json"}


def test_what_our_codec_cannot_carry_fails_when_it_is_sent(app: Any) -> None:
    with pytest.raises(EncodeError):
        dumps({"x": object()}, serializer=app.conf.task_serializer)


def message(app: Any, **options: Any) -> Any:
    return app.amqp.create_task_message("id-1", "llmos.goal", create_sent_event=True, **options)


def test_flower_sees_id_and_short_text_only(app: Any) -> None:
    """In the message's headers and in the task-sent event alike."""
    text = "Deploy with password=hunter2xyz " + "and more " * 100
    sent = message(app, kwargs={"goal": text, "metadata": {"secret": "hunter2xyz"}})
    for shown in (sent.headers["argsrepr"], sent.sent_event["args"]):
        assert shown.startswith("(id-1: Deploy with password=")
        assert len(shown) < 120
    seen = json.dumps([sent.headers, {k: str(v) for k, v in sent.sent_event.items()}])
    assert "hunter2xyz" not in seen


def test_a_senders_own_words_are_kept_but_shortened(app: Any) -> None:
    sent = message(app, kwargs={"goal_id": "g"}, argsrepr="g: api_key=hunter2xyz " + "x" * 200)
    assert sent.headers["argsrepr"].startswith("g: api_key=[redacted]")
    assert len(sent.headers["argsrepr"]) == 160


def test_messages_of_plain_apps_are_shown_the_same_way(app: Any) -> None:
    from llmos_workers.app import QuietRequest

    text, body = "token: hunter2xyz and go", [[], {"goal": "token: hunter2xyz and go"}, {}]
    headers = {"id": "id-1", "task": "llmos.goal", "argsrepr": "()", "kwargsrepr": text}
    raw = SimpleNamespace(
        headers=headers, body=b"", payload=body, content_type="application/json",
        content_encoding="utf-8", delivery_info={}, properties={},
    )  # fmt: skip

    app.loader.import_default_modules()  # so that the request finds its task
    request = QuietRequest(raw, app=app)
    sent: dict[str, Any] = {}
    request._eventer = SimpleNamespace(enabled=True, send=lambda _, **fields: sent.update(fields))
    request.send_event("task-succeeded", result="password: hunter2xyz " + "x" * 500, runtime=1.0)
    assert sent["result"].startswith("password: [redacted] x")
    assert (len(sent["result"]), sent["runtime"]) == (120, 1.0)
    assert request.argsrepr == "(id-1: token: [redacted] and go)"
    assert "hunter2xyz" not in request.argsrepr + request.kwargsrepr


@pytest.mark.parametrize("pool", ["gevent", "eventlet", "celery.concurrency.gevent"])
def test_pools_that_lose_tasks_are_refused(pool: str) -> None:
    with pytest.raises(ConfigError, match="threads"):
        check_pool(pool)
    with pytest.raises(SystemExit, match="not supported"):
        PoolGuard(SimpleNamespace(pool_cls=type("TaskPool", (), {"__module__": pool})))


def test_the_app_is_found_and_importing_it_connects_nowhere() -> None:
    """``celery -A llmos_workers`` imports it; a closed port would hang or fail here."""
    script = (
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit('connected at import')\n"
        "socket.socket.connect = refuse\n"
        "from celery.app.utils import find_app\n"
        "print(find_app('llmos_workers').main)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("llmos", "")


def test_importing_the_package_does_not_import_celery() -> None:
    script = "import sys, llmos_workers; print('celery' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "False"


def test_a_foreign_scheme_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="redis://"):
        make_app(CONFIG, redis_url="amqp://localhost")


@pytest.mark.parametrize("signal", ["after_setup_logger", "after_setup_task_logger"])
def test_what_a_worker_logs_goes_through_the_redactor(app: Any, signal: str) -> None:
    from celery import signals

    del app  # made, which is all that has to have happened
    written = io.StringIO()
    logger = logging.Logger("worker")
    logger.addHandler(logging.StreamHandler(written))
    getattr(signals, signal).send(sender=None, logger=logger)
    logger.error("password: hunter2-hunter2")
    assert written.getvalue() == "password: «secret:password»\n"
