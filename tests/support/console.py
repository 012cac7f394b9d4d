"""Runs what a page of the documentation shows in a terminal, and holds its output against the page.

A block of the language ``console`` has commands behind ``$ `` and under each what it says on
stdout. ``NAME=$(command)`` keeps a value for the commands after it. A block behind a line that ends
with a file's name, as in "`app.py`:", is that file.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.wait import wait_until

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
FILE = re.compile(r"`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", re.M | re.S)
ASSIGNMENT = re.compile(r"([A-Z]+)=(\$\(.*\))")
MASKS = (
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"ed25519:[\w+/=]+"), "KEY"),
    (re.compile(r"\b(?=\w*\d)[0-9a-f]{12,64}\b"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\d(?:T[\d:]+(?:\.\d+)?Z)?"), "DATE"),
    (re.compile(r"(?<![\w.])0(?:\.0+)?(?![\d.]*\d)"), "ZERO"),
    (re.compile(r"\d[\d,.]*\d|\d"), "N"),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r"[-─]{3,}|[█▇▆▅▄▃▂▁░▒▓·]+"), "-"),
)
"""What differs from run to run. Zero stays: that nothing was paid is what pages tell."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language ('' for none) and its lines, without comments."""

    language: str
    text: str

    @property
    def lines(self) -> list[str]:
        return [line for line in self.text.splitlines() if line.strip()]


@dataclass(frozen=True)
class Step:
    """A command, and what the page says that it prints."""

    command: str
    said: str

    def __str__(self) -> str:
        return f"$ {self.command}\n{self.said}"


def blocks_of(text: str) -> list[Block]:
    """The fenced blocks of a page."""
    return [Block(*found) for found in FENCE.findall(text)]


def steps_of(console: str) -> list[Step]:
    """The commands of a block of language ``console``, in order."""
    return [Step(*_split(part)) for part in re.split(r"^\$ ", console, flags=re.M)[1:]]


def masked(text: str) -> str:
    """The text without what differs from run to run, and without blank lines."""
    for pattern, word in MASKS:
        text = pattern.sub(word, text)
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def clean_environment() -> dict[str, str]:
    """The venv on PATH, no key, no setting of whoever runs the tests."""
    ours = ("LLMOS_", "ANTHROPIC_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@contextmanager
def stack_in(folder: Path, command: str = "llmos up") -> Iterator[None]:
    """``llmos up`` in that folder; ended as Ctrl-C does, and held to end well."""
    log = folder / "up.log"
    with log.open("wb") as out:
        up = subprocess.Popen(
            shlex.split(command), cwd=folder, env=clean_environment(), stdout=out, stderr=out
        )
    try:
        wait_until(
            lambda: "llmos is up." in log.read_text() or up.poll() is not None, 60, "llmos is up"
        )
        assert up.poll() is None, log.read_text()
        yield
        up.send_signal(signal.SIGINT)
        assert up.wait(30) == 0
        assert "stopped" in log.read_text()
    finally:
        up.kill()
        up.wait()


def run(command: str, folder: Path, values: dict[str, str] | None = None) -> str:
    """The command's output; fails unless it succeeds."""
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=clean_environment() | (values or {}), timeout=60,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def play(page: Path, folder: Path) -> None:
    """Run the page's commands in order in that folder, and hold what they say against the page.

    With LLMOS_TEST_RECORD in the environment the page is written anew instead.
    """
    text, values = page.read_text(encoding="utf-8"), {}
    for name, content in FILE.findall(text):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    for block in blocks_of(text):
        steps = steps_of(block.text) if block.language == "console" else []
        fresh = [Step(step.command, _say(step.command, folder, values)) for step in steps]
        if os.environ.get("LLMOS_TEST_RECORD"):
            text = text.replace(block.text, "".join(map(str, fresh)), 1) if steps else text
            page.write_text(text, encoding="utf-8")
            continue
        for shown, real in zip(steps, fresh, strict=True):
            assert masked(real.said) == masked(shown.said), f"{page.name}: {real}"


def _say(command: str, folder: Path, values: dict[str, str]) -> str:
    """What a command prints; an assignment prints nothing and adds to ``values``."""
    kept = ASSIGNMENT.fullmatch(command)
    said = run(f"echo {kept[2]}" if kept else command, folder, values)
    if kept:
        values[kept[1]] = said.strip()
        return ""
    return "".join(f"{line.rstrip()}\n" for line in said.strip("\n").splitlines())


def _split(part: str) -> tuple[str, str]:
    """Command (with the lines that end in a backslash, or a here-document) and its output."""
    lines, count = part.splitlines(keepends=True), 1
    end = re.search(r"<<\s*'?(\w+)'?", lines[0])
    if end:
        count = next(n for n, line in enumerate(lines) if n and line.strip() == end[1]) + 1
    while lines[count - 1].rstrip().endswith("\\"):
        count += 1
    return "".join(lines[:count]).rstrip("\n"), "".join(lines[count:])
