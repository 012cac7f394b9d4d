"""A web app that enqueues goals: app.py [PORT]. See README.md beside this."""

import json
import sys
from collections.abc import Callable, Iterable
from html import escape
from urllib.parse import parse_qs
from wsgiref.simple_server import make_server

from llmos_workers import LLMOS
from llmos_workers.contracts.errors import InfrastructureError, LLMOSError, UsageError
from llmos_workers.contracts.goal import GoalRecord

PROJECT = "web"
MOST_BYTES = 20_000
STATUS = {200: "200 OK", 202: "202 Accepted", 400: "400 Bad Request", 404: "404 Not Found",
          503: "503 Service Unavailable"}  # fmt: skip
FORM = (
    '<form method="post" action="/goals"><input name="goal" size="60"><button>Run</button></form>'
)

llmos = LLMOS()  # threads may share it; it connects when it is first used


def application(environ: dict, start_response: Callable) -> Iterable[bytes]:
    """The WSGI app."""
    headers = [("Content-Type", "text/html; charset=utf-8")]
    try:
        code, page, more = answer(environ)
    except LLMOSError as error:
        code = 503 if isinstance(error, InfrastructureError) else 400
        page, more = {"error": str(error)}, []
    if isinstance(page, dict) and wants_json(environ):
        headers, body = [("Content-Type", "application/json")], json.dumps(page)
    else:
        body = page if isinstance(page, str) else as_html(page)
    start_response(STATUS[code], headers + more)
    return [body.encode()]


def answer(environ: dict) -> tuple[int, dict | str, list]:
    """Status code, a page or data, and more headers."""
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"].strip("/").split("/")
    match method, *path:
        case ["GET", ""]:
            return 200, FORM + "".join(map(row, llmos.list(project=PROJECT))), []
        case ["POST", "goals"]:
            key = environ.get("HTTP_IDEMPOTENCY_KEY")
            handle = llmos.submit(goal_of(environ), project=PROJECT, idempotency_key=key)
            return 202, {"id": handle.id}, [("Location", f"/goals/{handle.id}")]
        case ["GET", "goals", goal_id]:
            record = llmos.get(goal_id).record()
            if record.options.project != PROJECT:  # other people's goals are not ours to show
                return 404, {"error": "there is no such goal"}, []
            outcome = record.outcome.model_dump(mode="json") if record.outcome else None
            return 200, {"goal": record.text, "state": record.state, "outcome": outcome}, []
    return 404, {"error": "there is no such page"}, []


def goal_of(environ: dict) -> str:
    """The posted goal, from a form or JSON; llmos refuses an empty one."""
    size = min(int(environ.get("CONTENT_LENGTH") or 0), MOST_BYTES)
    text = environ["wsgi.input"].read(size).decode("utf-8", "replace")
    if "json" not in environ.get("CONTENT_TYPE", ""):
        return parse_qs(text).get("goal", [""])[0]
    try:
        return str(json.loads(text)["goal"])
    except (ValueError, LookupError, TypeError):
        raise UsageError('send {"goal": "…"}') from None


def wants_json(environ: dict) -> bool:
    """Programs say so; browsers do not."""
    accepts = environ.get("HTTP_ACCEPT", "")
    sent = environ.get("CONTENT_TYPE", "")
    return "json" in accepts or ("json" in sent and "html" not in accepts)


def row(record: GoalRecord) -> str:
    """A goal in the list."""
    return f'<p><a href="/goals/{record.goal_id}">{escape(record.text)}</a> {record.state}</p>'


def as_html(data: dict) -> str:
    """A page that looks again every two seconds until there is an outcome."""
    wait = '<meta http-equiv="refresh" content="2">' if data.get("outcome", True) is None else ""
    return f"{wait}<pre>{escape(json.dumps(data, indent=2))}</pre><a href='/'>all goals</a>"


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    with llmos, make_server("127.0.0.1", port, application) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
