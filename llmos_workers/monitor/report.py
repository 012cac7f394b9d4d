"""The report: one HTML page that needs nothing but itself. Pure.

It shows figures, modes, and names of tools and projects; no goal's text, answer or path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from llmos_workers.contracts.base import MICRO_PER_USD, format_usd
from llmos_workers.kernel.clock import iso
from llmos_workers.kernel.economy_scopes import ScopeState, Sums
from llmos_workers.monitor import charts
from llmos_workers.monitor.charts import MODES, Bar, bars, columns
from llmos_workers.monitor.figures import Figures
from llmos_workers.monitor.history import Ended, ToolTimes, stretches, tool_times

MOST_SCOPES = 12
LOW_SHARE = 0.2
"""Part of a limit from which on what is left is drawn as little."""

STYLE = (
    """
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 900px; margin: 2em auto; padding: 0 1em; overflow-wrap: anywhere }
h1 { font-size: 1.5em } h2 { font-size: 1.1em; margin-top: 2em } h3 { font-size: 1em }
.note { color: var(--soft) }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 12px }
dl div { background: var(--card); padding: 10px; border-radius: 6px }
dt { color: var(--soft); font-size: 13px } dd { margin: 0; font-size: 20px }
table { border-collapse: collapse; width: 100% }
th, td { text-align: right; padding: 4px 8px; border-bottom: 1px solid var(--line);
  overflow-wrap: normal }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere }
"""
    + charts.STYLE
)


def page(figures: Figures, ended: Sequence[Ended], *, now: float, project: str | None) -> str:
    """The page. ``ended``: oldest first; ``now``: Unix time that it says."""
    of = f"project {project}" if project else "all projects"
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>llmos report</title><style>{STYLE}</style></head><body>",
            "<h1>llmos report</h1>",
            f'<p class="note">{iso(now)} · {escape(of)} · the newest {len(ended):,} goals that '
            "ended</p>",
            _headline(ended),
            *_over_time(ended),
            _section("Modes", "modes", _modes(ended)),
            _section("Budget left", "budget", _budget(figures.budgets, project)),
            _section("Internal state", "valence", _valence(figures, project)),
            _section("Slowest tools", "tools", _tools(tool_times(ended))),
            _section("Fleet now", "fleet", _fleet(figures)),
            "</body></html>\n",
        ]
    )


def _section(title: str, name: str, body: str) -> str:
    return f'<section id="{name}"><h2>{escape(title)}</h2>{body}</section>'


def _figures(pairs: Sequence[tuple[str, str]]) -> str:
    cells = [f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in pairs]
    return f"<dl>{''.join(cells)}</dl>"


def _headline(ended: Sequence[Ended]) -> str:
    outcomes = [each.outcome for each in ended]
    free = sum(outcome.llm_calls == 0 for outcome in outcomes)
    return _figures(
        [
            ("goals", f"{len(outcomes):,}"),
            ("succeeded", _percent(sum(o.ok for o in outcomes), len(outcomes))),
            ("without a model", _percent(free, len(outcomes))),
            ("cost", _usd(sum(o.cost_micro for o in outcomes))),
            ("saved", _usd(sum(o.saved_micro for o in outcomes))),
        ]
    )


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"


def _usd(micro: float) -> str:
    """Dollars for people: no more places than say something."""
    if micro >= 0.995 * MICRO_PER_USD:
        return f"${micro / MICRO_PER_USD:,.2f}"
    return format_usd(round(micro)) if round(micro) else "$0"


def _over_time(ended: Sequence[Ended]) -> list[str]:
    if not ended:
        return ['<section id="cost"><p class="note">no goal has ended yet.</p></section>']
    runs = stretches(ended)
    each = -(-len(ended) // len(runs))
    dearest = max(run.mean_cost_micro for run in runs)
    cost = columns(
        [{"LEARNER": run.mean_cost_micro} for run in runs],
        title="mean cost per goal", top=_usd(dearest), unit="micro-dollars each",
    )  # fmt: skip
    present = [mode for mode in MODES if any(mode in run.modes for run in runs)]
    mix = columns(
        [
            {mode: 100 * run.modes[mode] / run.goals for mode in present if mode in run.modes}
            for run in runs
        ],
        title="share of goals by mode", top="100%", unit="%",
    )  # fmt: skip
    first, last = (_usd(run.mean_cost_micro) for run in (runs[0], runs[-1]))
    size = f"about {each} goals" if each > 1 else "one goal"
    note = f'<p class="note">{first} at first, {last} at last; a column is {size}</p>'
    return [
        _section("Cost per goal", "cost", note + cost),
        _section("Who does the work", "mix", charts.key(present) + mix),
    ]


def _modes(ended: Sequence[Ended]) -> str:
    counts = Counter(each.mode for each in ended)
    rows = []
    for mode, number in counts.most_common():
        cost = sum(e.outcome.cost_micro for e in ended if e.mode == mode)
        words = f"{number:,} goals, {_usd(cost / number)} each"
        rows.append(Bar(mode, words, number / len(ended), mode))
    return bars(rows, title="goals by mode")


def _budget(scopes: Sequence[ScopeState], project: str | None) -> str:
    wanted = [s for s in scopes if project is None or s.scope in ("global", f"project:{project}")]
    rows = [
        _limit(scope.scope, sums)
        for scope in wanted[:MOST_SCOPES]
        for sums in scope.all_sums
        if sums.limit_micro is not None
    ]
    return bars(rows, title="budget left") if rows else '<p class="note">no limits are set.</p>'


def _limit(scope: str, sums: Sums) -> Bar:
    words = f"{_usd(sums.left_micro or 0)} of {_usd(sums.limit_micro or 0)}"
    kind = "enough" if sums.left_share > LOW_SHARE else "low"
    return Bar(f"{scope} {sums.window}".strip(), words, sums.left_share, kind)


def _valence(figures: Figures, project: str | None) -> str:
    chosen = {k: v for k, v in figures.feelings.items() if project in (None, k)}
    parts = []
    for name, state in list(chosen.items())[:MOST_SCOPES]:
        rows = [
            Bar(value.replace("_", "-"), f"{number:+.2f}", (number + 1) / 2, "state", start=0.5)
            for value, number in state.valence.model_dump().items()
        ]
        title = f"internal state of {name}, -1 to 1"
        parts.append(f"<h3>{escape(name)}</h3>{bars(rows, title=title)}")
    return "".join(parts) or '<p class="note">off.</p>'


def _tools(tools: Sequence[ToolTimes]) -> str:
    rows = "".join(
        f"<tr><td>{escape(tool.name)}</td><td>{tool.calls:,}</td><td>{tool.failed:,}</td>"
        f"<td>{tool.median_ms:,.1f}</td><td>{tool.p95_ms:,.1f}</td></tr>"
        for tool in tools
    )
    head = "<th>tool</th><th>calls</th><th>failed</th><th>median ms</th><th>p95 ms</th>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _fleet(figures: Figures) -> str:
    return _figures(
        [
            ("backlog", f"{figures.backlog.total:,}"),
            ("longest wait", f"{figures.backlog.oldest_s:,.0f} s"),
            ("workers", f"{len(figures.workers)}"),
            ("open approvals", f"{figures.approvals:,}"),
            ("traces", f"{figures.traces:,}"),
            ("runs taken back", f"{figures.counters.get('recovery.died', 0):,}"),
            ("wrong replays at most", f"{figures.wrong_bound:.2%}"),
        ]
    )
