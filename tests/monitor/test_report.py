"""``llmos report``: one page that is whole, says the figures, and tells no goal's text."""

from __future__ import annotations

import random
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from llmos_cli.main import main
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Outcome, ToolCallSummary
from llmos_workers.monitor.charts import columns
from llmos_workers.monitor.history import Ended, read_ended, stretches, tool_times

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
VOID = {"meta", "br", "link", "img"}


class Page(HTMLParser):
    """Tags, text by section, and whether each tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {"": ""}
        self.section = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.section = dict(attrs)["id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text[self.section] = self.text.get(self.section, "") + data + "\n"


@pytest.fixture
def written(client, end, redis_server, monkeypatch, tmp_path) -> Path:
    end(cost_micro=9_000, llm_calls=2, text="the <secret> answer")
    for _ in range(3):
        end(Mode.FOLLOWER, cost_micro=0, saved_micro=9_000, tool_ms=700.0)
    monkeypatch.setenv("LLMOS_REDIS_URL", redis_server)
    target = tmp_path / "report.html"
    assert main(["report", "--html", str(target)]) == 0
    return target


def test_the_page_says_the_figures(written):
    page = Page(written.read_text())
    assert {"cost", "mix", "modes", "budget", "valence", "tools", "fleet"} <= set(page.text)
    assert "75.0%" in page.text[""]  # three of four without a model
    assert "$0.027" in page.text[""]
    assert "3 goals, $0" in page.text["modes"]
    assert "700.0" in page.text["tools"]
    assert "of $10" in page.text["budget"]
    assert len([1 for tag, _ in page.tags if tag == "svg"]) == 5


def test_the_page_needs_nothing_else_and_tells_no_text(written):
    text = written.read_text()
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object"}
    assert not any(name in ("src", "href") for _, attrs in page.tags for name in attrs)
    assert "http" not in text.replace("http-equiv", "")
    assert "url(" not in text
    assert "secret" not in text
    assert "write" not in text.lower().replace("<td>write</td>", "")


@pytest.mark.skipif(BROWSER is None, reason="this machine has no Chromium")
def test_a_browser_shows_it(written, tmp_path):
    shot = tmp_path / "shot.png"
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--screenshot={shot}"]
    subprocess.run([*command, written.as_uri()], check=True, timeout=60, capture_output=True)
    assert shot.stat().st_size > 5_000


def test_a_system_without_goals_has_a_page(client, redis_server, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("LLMOS_REDIS_URL", redis_server)
    target = tmp_path / "empty.html"
    assert main(["report", "--html", str(target), "--project", "p<q"]) == 0
    page = Page(target.read_text())
    assert "no goal has ended yet" in page.text["cost"]
    assert "p<q" in page.text[""]
    assert main(["report", "--html", str(tmp_path / "no" / "x.html")]) == 6
    assert "cannot be written" in capsys.readouterr().err


def test_only_the_newest_and_only_the_project(client, end):
    for number in range(4):
        end(cost_micro=number)
    found = read_ended(client.redis, limit=2)
    assert [each.outcome.cost_micro for each in found] == [2, 3]
    assert read_ended(client.redis, limit=9, project="q") == []


def goals(costs: list[int]) -> list[Ended]:
    return [
        Ended(n, Outcome(goal_id=str(n), status="SUCCEEDED", cost_micro=cost))
        for n, cost in enumerate(costs)
    ]


@pytest.mark.parametrize("number", [0, 1, 3, 39, 40, 41, 1_000])
def test_stretches_hold_each_goal_once(number):
    costs = [random.Random(number + n).randrange(100) for n in range(number)]
    runs = stretches(goals(costs))
    assert (
        sum(run.goals for run in runs) == number == sum(n for r in runs for n in r.modes.values())
    )
    assert round(sum(run.goals * run.mean_cost_micro for run in runs)) == sum(costs)
    assert len(runs) == min(40, number)


def test_the_slowest_tool_stands_first():
    def call(name, ms, ok=True):
        return ToolCallSummary(name=name, summary="", ok=ok, duration_ms=ms)

    calls = [call("Read", ms) for ms in range(1, 101)] + [call("Bash", 500, ok=False)]
    ended = [Ended(0, Outcome(goal_id="g", status="SUCCEEDED", tool_calls=tuple(calls)))]
    first, second = tool_times(ended)
    assert (first.name, first.failed, first.p95_ms) == ("Bash", 1, 500)
    assert (second.name, second.calls, second.median_ms, second.p95_ms) == ("Read", 100, 50, 95)


def test_words_in_a_chart_are_text_not_markup():
    drawn = columns([{"<b>": 1.0}], title='"><script>', top="<i>", colours={})
    assert "<script" not in drawn
    assert "<b>" not in drawn
