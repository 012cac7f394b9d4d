"""bench.judge measures whatever answers: the scripted model, and an OpenAI-compatible endpoint."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bench.judge import Asked, figures, measure, settings
from bench.judging import LabelJudge, question_of
from llmos_workers.contracts.decision import MatchCandidate
from llmos_workers.rehearsal.server import RehearsalServer

PAIRS = [
    {"a": "Convert a.csv to JSON", "b": "I need the rows of a.csv as JSON", "label": "same"},
    {"a": "Create a Python calculator", "b": "A calculator in JavaScript, make one",
     "label": "different"},
    {"a": "Convert a.csv to JSON", "b": "Count the lines in a.csv", "label": "different"},
]  # fmt: skip


class Endpoint(BaseHTTPRequestHandler):
    """Says yes to every question, in the form that was asked for."""

    seen: list = []  # noqa: RUF012

    def log_message(self, *_args):
        """Quiet."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.seen.append((self.path, body))
        text = body["messages"][1]["content"]
        listed = text.split("<differences>\n")[1].split("\n</differences>")[0].splitlines()
        numbers = range(1, len([line for line in listed if line[0].isdigit()]) + 1)
        answer = {
            "differences": [{"number": n, "harmless": True, "why": "-"} for n in numbers],
            "missing_or_extra": "",
            "verdict": "yes",
        }
        message = {"content": json.dumps(answer)}
        told = json.dumps({
            "choices": [{"message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 400, "completion_tokens": 40},
        }).encode()  # fmt: skip
        self.send_response(200)
        self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)


@pytest.fixture
def endpoint():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Endpoint.seen.clear()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_the_scripted_model_is_measured_at_list_prices(monkeypatch):
    with RehearsalServer() as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "any")
        found = figures(measure(settings("haiku", None), PAIRS, 1.0))
        charged = sum(entry.charged_micro for entry in server.log.entries())
    assert (found["recall"], found["false_rate"]) == (1.0, 0.0)
    assert found["cost_usd_per_verdict"] == pytest.approx(charged / 1e6 / 3, rel=0.01)
    assert found["p50_ms"] > 0


def test_an_openai_compatible_endpoint_is_asked_for_the_schema_and_costs_nothing(endpoint):
    found = figures(measure(settings("local-1", endpoint), PAIRS, 1.0))
    assert (found["recall"], found["false_rate"], found["cost_usd_per_verdict"]) == (1.0, 1.0, 0.0)
    path, body = Endpoint.seen[0]
    assert path == "/v1/chat/completions"
    assert body["response_format"]["type"] == "json_schema"
    assert body["model"] == "local-1"


def test_what_gives_no_answer_is_counted_and_no_yes():
    found = figures(measure(settings("local-1", "http://127.0.0.1:9/v1"), PAIRS, 1.0))
    assert (found["unanswered"], found["recall"], found["false_rate"]) == (3, 0.0, 0.0)


def test_the_figures_are_those_of_the_pairs():
    told = [Asked(p, answer, 100, 0.1) for p, answer in zip(PAIRS, ("yes", "yes", "unsure"))]  # noqa: B905
    found = figures(told)
    assert (found["recall"], found["false_rate"], found["unsure"]) == (1.0, 0.5, 1)
    assert found["cost_usd_per_verdict"] == 0.0001


def test_the_judge_of_labels_errs_as_often_as_it_is_told():
    judge = LabelJudge(0.1)
    candidate = MatchCandidate(trace_id="0", goal_text="", stage="structure", confidence=0.4)
    pairs = [{"a": "a", "b": str(n), "label": "same"} for n in range(500)]
    yes = sum(judge.says_yes(p, question_of(p["a"], p["b"], candidate), right=True) for p in pairs)
    assert 0.86 < yes / 500 < 0.94
    assert judge.calls == 500
    assert 20 * 500 < judge.cost_micro < 300 * 500
