"""``llmos report``: one page that is whole, says the figures, and tells no goal's text."""

from __future__ import annotations

import json
import random
import re
from functools import partial
from html import unescape
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from llmos_cli.main import main
from llmos_workers.contracts.modes import Mode
from llmos_workers.contracts.outcome import Outcome, ToolCallSummary
from llmos_workers.monitor import history
from llmos_workers.monitor.charts import Bar, bars, columns
from llmos_workers.monitor.figures import look
from llmos_workers.monitor.history import Ended, read_ended, stretches, tool_times
from llmos_workers.monitor.report import page as draw
from tests.support import browser

LONG = "quarterly-reconciliation-of-suppliers-north-america"
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
    client.token_economy.set_limit(f"project:{LONG}", 2_000_000)
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
    drawn = [attrs.get("class") for _, attrs in page.tags]
    assert (drawn.count("chart"), drawn.count("bars")) == (2, 3)
    assert "$0.0090 at first, $0 at last" in page.text["cost"]


def test_the_page_needs_nothing_else_and_tells_no_text(written):
    text = written.read_text()
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object"}
    assert not any(name in ("src", "href") for _, attrs in page.tags for name in attrs)
    assert "http" not in text.replace("http-equiv", "")
    assert "url(" not in text
    assert "secret" not in text
    assert "write" not in text.lower().replace("<td>write</td>", "")


PROBE = """<!doctype html><body><script>
const seen = []
function light(colour) {
  const part = colour.match(/[0-9.]+/g).slice(0, 3).map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2]
}
function behind(box) {
  for (; box; box = box.parentElement) {
    const colour = box.ownerDocument.defaultView.getComputedStyle(box).backgroundColor
    if (!/, 0\\)$/.test(colour)) return colour
  }
}
function measure(frame) {
  const page = frame.contentDocument, view = frame.contentWindow, outside = []
  let contrast = 21
  for (const box of page.body.querySelectorAll("*")) {
    if (![...box.childNodes].some(n => n.nodeType == 3 && n.data.trim())) continue
    const words = page.createRange(); words.selectNodeContents(box)
    const at = words.getBoundingClientRect(), own = box.getBoundingClientRect()
    if (at.left < 0 || at.right > frame.clientWidth || !at.width || at.right > own.right + 1 ||
        at.left < own.left - 1) outside.push(box.textContent)
    const [a, b] = [light(view.getComputedStyle(box).color), light(behind(box))]
    contrast = Math.min(contrast, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05))
  }
  const tall = page.querySelector("#mix .plot i").getBoundingClientRect().height
  seen.push({width: frame.clientWidth, outside, contrast, tall, page: behind(page.body)})
  document.querySelector("pre").textContent = seen.length < 2 ? "" : JSON.stringify(seen)
}
</script><pre></pre>
<iframe src="report.html" style="width:1000px;height:900px;border:0" onload="measure(this)">
</iframe>
<iframe src="report.html" style="width:340px;height:900px;border:0" onload="measure(this)">
</iframe></body>"""


@pytest.fixture
def served(written, tmp_path):
    """(URL of the report's folder, paths that were asked for)."""
    asked: list[str] = []

    class Folder(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "probe.html").write_text(PROBE)
    handler = partial(Folder, directory=str(written.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_all_of_it_wide_and_narrow_light_and_dark(served, end, tmp_path, dark):
    url, asked = served
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    _, found = browser.look_for(
        partial(re.search, "<pre>(.+?)</pre>"), f"{url}/probe.html", scheme,
        "--window-size=1100,2000", folder=tmp_path,
    )  # fmt: skip
    seen = json.loads(unescape(found.group(1)))
    assert sorted(frame["width"] for frame in seen) == [340, 1000]
    for frame in seen:
        assert frame["outside"] == [], "words that are cut off"
        assert frame["contrast"] >= 4.5, "what WCAG asks of text"
        assert frame["tall"] > 20, "columns are drawn"
        assert frame["page"] == ("rgb(15, 23, 32)" if dark else "rgb(255, 255, 255)")
    assert set(asked) - {"/favicon.ico"} == {"/probe.html", "/report.html"}


def test_a_system_without_goals_has_a_page(client, redis_server, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("LLMOS_REDIS_URL", redis_server)
    target = tmp_path / "empty.html"
    assert main(["report", "--html", str(target), "--project", "p-q"]) == 0
    page = Page(target.read_text())
    assert "no goal has ended yet" in page.text["cost"]
    assert "project p-q" in page.text[""]
    odd = Page(draw(look(client), [], now=0.0, project="p<q"))
    assert "p<q" in odd.text[""]
    assert main(["report", "--html", str(tmp_path / "no" / "x.html")]) == 6
    assert "cannot be written" in capsys.readouterr().err


def test_the_newest_of_the_project_whatever_others_did_since(client, end, monkeypatch):
    monkeypatch.setattr(history, "PAGE", 2)
    for number in range(4):
        end(cost_micro=number, status="FAILED" if number % 2 else "SUCCEEDED")
    for number in range(5):
        client.cancel(client.submit(f"another {number}", project="q").id)

    def costs(**of) -> list[int]:
        return [each.outcome.cost_micro for each in read_ended(client.redis, **of)]

    assert costs(limit=2, project="p") == [2, 3]
    assert costs(limit=9, project="p") == [0, 1, 2, 3]
    assert costs(limit=6) == [3, 0, 0, 0, 0, 0]
    assert len(costs(limit=100)) == 9
    assert costs(limit=9, project="nobody's") == []


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
    drawn = columns([{'"><b>': 1.0}], title='"><script>', top="<u>", unit="<u>")
    drawn += bars([Bar("<b>", "<u>", 1.0, '"><b>')], title='"><script>')
    for tag in ("<script", "<b>", "<u>"):
        assert tag not in drawn
