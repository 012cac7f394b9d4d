"""``llmos demo``: the main job from start to end, on this machine, checked as it goes."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from llmos_cli.demo_script import INPUTS, SCENES, Scene
from llmos_cli.demo_svg import Bar, cost_chart
from llmos_cli.output import emit_each, json_option
from llmos_workers.client import LLMOS
from llmos_workers.config import LLMOSConfig, merge
from llmos_workers.config_sources import load_config
from llmos_workers.contracts.base import format_usd
from llmos_workers.contracts.events import GoalEvent
from llmos_workers.contracts.modes import REPLAYS, Mode
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.embedded.local import LocalSystem

if TYPE_CHECKING:
    from rich.console import Console

PROJECT = "demo"
GOAL_TIMEOUT_SECS = 300.0
TOOL_TIMEOUT_SECS = 60.0
COLOURS = {
    Mode.CRYSTALLIZED: "cyan",
    Mode.FOLLOWER: "green",
    Mode.MIXED: "yellow",
    Mode.LEARNER: "red",
}
CHANGES = {"redis": {"url": None}, "dispatcher": {"auto_crystallization": True}}


@dataclass(frozen=True)
class Played:
    """A scene with what came of it; ``fault`` is empty when it went as it should."""

    scene: Scene
    outcome: Outcome
    fault: str


@click.command()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-workspace"),
    show_default=True,
    help="Workspace of the demo; emptied first.",
)
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Draw the costs here.")
@json_option
def demo(folder: Path, svg: Path | None, as_json: bool) -> None:
    """Show on a private stack how goals get cheaper.

    Learned once, replayed from then on.

    Starts a server, the workers and (without a key) the scripted rehearsal model; checks every
    mode and every file; stops all of it at the end, on Ctrl-C and on failure. Exit code 1 when
    something did not go as it should.
    """
    from rich.console import Console

    console = Console(stderr=as_json)
    _prepare(folder)
    signal.signal(signal.SIGTERM, _as_interrupt)
    config = load_config(overrides={"workspace": str(folder)})
    config = LLMOSConfig.from_dict(merge(config.model_dump(), CHANGES))
    console.print("Starting valkey-server and the dispatch, llm, replay and upkeep workers ...")
    with LocalSystem(config, rehearsal_log=folder / "state" / "rehearsal.jsonl") as system:
        _say_who_answers(console, system)
        with LLMOS(system.config) as llmos:
            played = play(llmos, folder, console)
    console.print("All processes are stopped.")
    _table(console, played)
    if svg is not None:
        svg.write_text(_chart(played), encoding="utf-8")
    if as_json:
        emit_each(p.outcome for p in played)
    _say_what_next(console, folder)
    sys.exit(1 if any(p.fault for p in played) else 0)


def _as_interrupt(_signal: int, _frame: FrameType | None) -> None:
    """TERM ends the demo the way Ctrl-C does: through every ``with`` block."""
    raise KeyboardInterrupt


def _prepare(folder: Path) -> None:
    """An empty workspace with the input files. Only a folder of ours is ever emptied."""
    mark = folder / ".llmos-demo"
    if folder.exists() and any(folder.iterdir()):
        if not mark.exists():
            raise click.UsageError(f"{folder} is not empty and was not made by the demo.")
        shutil.rmtree(folder)
    output = folder / "projects" / PROJECT / "output"
    output.mkdir(parents=True)
    mark.touch()
    for name, content in INPUTS.items():
        (output / name).write_text(content, encoding="utf-8")


def _say_who_answers(console: Console, system: LocalSystem) -> None:
    if system.rehearsal is None:
        console.print(f"Model: [bold]{system.config.sdk.model}[/] (this costs real money)")
        return
    console.print(
        "Model: the [bold]scripted rehearsal model[/] of llmos. It is not an LLM: it follows "
        "scripts over HTTP.\nTokens are counted from the real text; costs are list prices of "
        f"{system.config.sdk.model}. Set ANTHROPIC_API_KEY to use Claude."
    )


def play(llmos: LLMOS, folder: Path, console: Console) -> list[Played]:
    """Run every scene in order and check it."""
    output = folder / "projects" / PROJECT / "output"
    played: list[Played] = []
    for number, scene in enumerate(SCENES, 1):
        if scene.before is not None:
            scene.before(output)
        if scene.once_compiled and scene.follows is not None:
            _wait_for_tool(llmos, played[scene.follows].outcome.learned_trace_id or "")
        console.print(f"\n[bold]{number}. {scene.goal}[/]  [dim]({scene.title})[/]")
        handle = llmos.submit(scene.goal, project=PROJECT)
        for event in handle.events(timeout=GOAL_TIMEOUT_SECS):
            line = _line(event)
            if line:
                console.print(f"   [dim]{line}[/]", highlight=False)
        outcome = handle.result(GOAL_TIMEOUT_SECS)
        fault = _fault(scene, outcome, played, output)
        played.append(Played(scene, outcome, fault))
        console.print(_verdict(outcome, fault), highlight=False)
    return played


def _wait_for_tool(llmos: LLMOS, trace_id: str) -> None:
    """Upkeep makes it within seconds; when it does not, the scene says what is wrong."""
    until = time.monotonic() + TOOL_TIMEOUT_SECS
    while time.monotonic() < until:
        trace = llmos.trace_manager.get(PROJECT, trace_id)
        if trace is not None and trace.crystallized_into_tool:
            return
        time.sleep(0.1)


def _line(event: GoalEvent) -> str:
    """An event in words, as ``llmos watch`` says it; mere states are left out."""
    from llmos_cli.render import event_line

    plain_state = event.kind == "state" and "mode" not in event.data
    return "" if plain_state else event_line(event) or ""


def _fault(scene: Scene, outcome: Outcome, played: list[Played], output: Path) -> str:
    """What is wrong with how the scene went."""
    if not outcome.ok:
        return outcome.error.message if outcome.error else outcome.status
    if outcome.mode not in scene.modes:
        right = " or ".join(sorted(mode.value for mode in scene.modes))
        return f"ran as {outcome.mode}, should be {right}"
    if outcome.mode in REPLAYS and (outcome.llm_calls or outcome.cost_micro):
        return "a replay called the model"
    if scene.follows is not None:
        learned = played[scene.follows].outcome
        if outcome.trace_id != (learned.learned_trace_id or learned.trace_id):
            return f"followed trace {outcome.trace_id}, not that of goal {scene.follows + 1}"
    return scene.check(output)


def _verdict(outcome: Outcome, fault: str) -> str:
    colour = COLOURS.get(outcome.mode, "white") if outcome.mode else "white"
    figures = f"{outcome.llm_calls} model calls, {format_usd(outcome.cost_micro)}"
    if outcome.saved_micro:
        figures += f", saved {format_usd(outcome.saved_micro)}"
    head = f"   [{colour}]{outcome.mode or outcome.status}[/]  {figures}"
    return f"{head}\n   [red]NOT AS IT SHOULD BE: {fault}[/]" if fault else head


def _table(console: Console, played: list[Played]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from llmos_cli.render import short

    table = Table(
        title="What the goals cost", title_justify="left",
        box=None, pad_edge=False, padding=(0, 1, 1, 0),
    )  # fmt: skip
    table.add_column("goal, and why it ran so", overflow="fold", ratio=1)
    for name in ("mode", "conf", "LLM\ncalls", "tokens", "cost", "time", "saved", ""):
        table.add_column(name, no_wrap=True, justify="left" if name == "mode" else "right")
    for p in played:
        o = p.outcome
        colour = COLOURS.get(o.mode, "white") if o.mode else "white"
        table.add_row(
            f"[bold]{escape(p.scene.goal)}[/]\n[dim]{escape(short(o.reason, 120))}[/]",
            f"[{colour}]{o.mode or o.status}[/]",
            f"{o.confidence:.2f}",
            str(o.llm_calls),
            f"{o.usage.total_tokens:,}",
            format_usd(o.cost_micro),
            f"{o.duration_s * 1000:.0f} ms",
            format_usd(o.saved_micro),
            "[red]✗[/]" if p.fault else "[green]✓[/]",
        )
    console.print()
    console.print(table)
    paid = sum(p.outcome.cost_micro for p in played)
    saved = sum(p.outcome.saved_micro for p in played)
    console.print(f"Paid {format_usd(paid)}, saved {format_usd(saved)}.")


def _chart(played: list[Played]) -> str:
    bars = [
        Bar(
            p.scene.goal,
            p.outcome.mode.value if p.outcome.mode else "",
            p.outcome.cost_micro,
            note=p.scene.title,
        )
        for p in played
    ]
    return cost_chart(
        bars,
        title="What each goal of the demo cost, in order",
        note="Scripted rehearsal model; tokens of the real text at list prices of the "
        "configured model.",
    )


def _say_what_next(console: Console, folder: Path) -> None:
    output, traces = folder / "projects" / PROJECT / "output", folder / "memories" / "traces"
    activate = Path(sys.prefix) / "bin" / "activate"
    hint = "" if shutil.which("llmos") else f" (source {activate} first)"
    console.print(
        f"\nFiles that the goals made: {output}\nWhat was learned, as Markdown: {traces}\n\n"
        f"Try next{hint}:\n"
        "  llmos up                                     start a stack of your own\n"
        '  llmos submit "Create a Python calculator"    in another terminal\n'
        "  llmos doctor                                 what is missing on this machine\n"
        "  export ANTHROPIC_API_KEY=...                 use Claude instead"
    )
