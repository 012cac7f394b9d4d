"""An app that knows Celery and Redis and nothing of llmos. Run by a Python that has only those.

``python plain_app.py COMMAND`` reads one JSON value from stdin and prints one; ``celery -A
plain_app worker -Q plain`` runs its own task. PLAIN_BROKER and PLAIN_BACKEND are Redis URLs.
"""

import json
import os
import sys
from contextlib import suppress

import redis
from celery import Celery, chord, group

BROKER, BACKEND = os.environ["PLAIN_BROKER"], os.environ["PLAIN_BACKEND"]
TIMEOUT = 60
ENDED = "task-succeeded"

app = Celery("plain", broker=BROKER, backend=BACKEND)


@app.task(name="plain.join")
def join(outcomes, counter):
    """Body of a chord: counts its runs, and tells what came of the header."""
    with redis.Redis.from_url(BACKEND) as client:
        client.incr(counter)
    return [[outcome["goal_id"], outcome["status"]] for outcome in outcomes]


@app.task(name="plain.linked")
def linked(outcome, counter):
    """Callback of one goal."""
    with redis.Redis.from_url(BACKEND) as client:
        client.rpush(counter, outcome["status"])


def send(requests):
    """Send each request (options of send_task, with kwargs); their ids."""
    return [app.send_task("llmos.goal", **{"queue": "dispatch", **r}).id for r in requests]


def get(ids):
    """[id, outcome] of each."""
    return [[task_id, app.AsyncResult(task_id).get(timeout=TIMEOUT)] for task_id in ids]


def run(requests):
    """Send and get."""
    return get(send(requests))


def _header(payloads):
    return [app.signature("llmos.goal", kwargs=p, queue="dispatch") for p in payloads]


def run_chord(asked):
    """A chord of goals with a body of this app, which may name its queue."""
    header = _header(asked["goals"])
    body = join.s(asked["counter"])
    if asked["queue"]:
        body = body.set(queue=asked["queue"])
    joined = chord(header, app=app)(body)
    return {
        "ids": [result.id for result in joined.parent.results],
        "joined": joined.get(timeout=TIMEOUT),
    }


def run_group(payloads):
    """A group of goals: ids and outcomes."""
    results = group(_header(payloads), app=app).apply_async()
    return {"ids": [r.id for r in results], "outcomes": results.get(timeout=TIMEOUT)}


def run_linked(asked):
    """One goal with a callback of this app."""
    callback = linked.s(asked["counter"]).set(queue="plain")
    sent = app.send_task("llmos.goal", kwargs=asked["goal"], queue="dispatch", link=callback)
    return sent.get(timeout=TIMEOUT)


def watch(request):
    """One goal, with all task events that workers sent of it."""
    seen = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": seen.append})
        with receiver.consumer_context(wakeup=False) as (live, _channel, _consumers):
            with suppress(TimeoutError):
                live.drain_events(timeout=0.01)  # the first poll subscribes
            ((goal_id, outcome),) = run([request])
            while not any(e.get("uuid") == goal_id and e["type"] == ENDED for e in seen):
                live.drain_events(timeout=TIMEOUT)
    return {"outcome": outcome, "events": [e for e in seen if e.get("uuid") == goal_id]}


if __name__ == "__main__":
    commands = {
        "send": send, "get": get, "run": run, "chord": run_chord, "group": run_group,
        "linked": run_linked, "watch": watch,
    }  # fmt: skip
    print(json.dumps(commands[sys.argv[1]](json.load(sys.stdin))))
