"""Log lines: what they belong to, in both forms, and no secrets in either."""

from __future__ import annotations

import io
import json
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from llmos_workers.kernel import logs, telemetry
from llmos_workers.kernel.redact import shared

SECRET = 'with"quotes-hunter2'


@pytest.fixture
def log():
    """(a logger, what it wrote), by form."""

    def made(form: str) -> tuple[logging.Logger, io.StringIO]:
        written, logger = io.StringIO(), logging.Logger("llmos.test")
        handler = logging.StreamHandler(written)
        handler.setFormatter(logging.Formatter("[%(levelname)s] %(message)s"))
        logger.addHandler(handler)
        logs.dress(logger, form)
        logs.dress(logger, form)  # Celery says twice that it is ready
        return logger, written

    return made


def fail(logger: logging.Logger) -> None:
    try:
        raise ValueError(f"no {SECRET} here")
    except ValueError:
        logger.exception("it failed with %s", SECRET)


def test_json_says_the_goal_and_keeps_secrets_also_in_tracebacks(log):
    shared().add(SECRET)
    logger, written = log("json")
    with logs.about(goal_id="g1", task="llmos.think"):
        logs.note(mode="LEARNER", run="2")
        fail(logger)
    logger.warning("outside")
    inside, outside = map(json.loads, written.getvalue().splitlines())
    assert (inside["goal_id"], inside["mode"], inside["run"]) == ("g1", "LEARNER", "2")
    assert inside["message"] == "it failed with [redacted]"
    assert inside["error"].endswith("ValueError: no [redacted] here")
    assert inside["level"] == "ERROR"
    assert "hunter2" not in written.getvalue()
    assert "goal_id" not in outside
    assert "error" not in outside


def test_text_keeps_its_form_and_says_the_goal_on_the_first_line(log):
    shared().add(SECRET)
    logger, written = log("text")
    with logs.about(goal_id="g1"):
        fail(logger)
    logger.warning("outside")
    first, *_, error, outside = written.getvalue().splitlines()
    assert first == "[ERROR] it failed with [redacted] [goal_id=g1]"
    assert error == "ValueError: no [redacted] here"
    assert outside == "[WARNING] outside"


def test_what_is_noted_belongs_to_its_hop_and_to_threads_that_work_for_it(log):
    logger, written = log("text")
    logs.note(mode="NOBODYS")
    with ThreadPoolExecutor(1) as pool, logs.about(goal_id="g1"):
        logs.note(mode="MIXED")
        pool.submit(logs.carried(logger.warning), "read").result()
        pool.submit(logger.warning, "another").result()
    with logs.about(goal_id="g2"):
        logger.warning("next")
    assert written.getvalue().splitlines() == [
        "[WARNING] read [goal_id=g1 mode=MIXED]",
        "[WARNING] another",
        "[WARNING] next [goal_id=g2]",
    ]


@pytest.mark.parametrize(("task", "named"), [("llmos.think", True), ("llmos.upkeep", False)])
def test_celerys_own_lines_name_the_goal_of_the_task(log, task, named):
    logger, written = log("json")
    logger.info("Task %s", task, extra={"data": {"id": "g3", "name": task}})
    assert (json.loads(written.getvalue()).get("goal_id") == "g3") is named


def test_without_telemetry_a_span_is_nothing_and_a_context_is_kept():
    with telemetry.span("x", {"a": 1}) as span:
        span.set({"b": 2})
        span.fail("X")
        assert span.traceparent is telemetry.here() is telemetry.trace_id() is None
    assert telemetry.submitted("00-a-b-01", {}) == "00-a-b-01"
    assert telemetry.of_sdk() == {"propagation": False, "traces": False}
