"""Bundles of made-up traces, and a device that follows them in a process of its own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from llmos_workers.contracts.outcome import FileDigest
from llmos_workers.contracts.tools import ToolCall
from llmos_workers.contracts.trace import ExecutionTrace, Slot, SlotType, Standing, TraceStep
from llmos_workers.kernel.signing import KeyRing
from llmos_workers.learning.edge_bundle import Allowed, Bundle, write_bundle
from tests.learning.conftest import make_trace

RUNNER = Path(__file__).parents[2] / "edge_runtime" / "run_follower.py"
AGENTIC = RUNNER.with_name("run_agentic_follower.py")


def digest(path: str, data: str) -> FileDigest:
    return FileDigest(path=path, digest=hashlib.sha256(data.encode()).hexdigest(), size=len(data))


def learned(goal: str, *steps: TraceStep, **fields: Any) -> ExecutionTrace:
    """A proved trace that a trusted key signed."""
    writes = tuple(written for step in steps for written in step.writes)
    return make_trace(goal, steps=steps, standing=Standing.SIGNED, **{"outputs": writes} | fields)


def sorting() -> ExecutionTrace:
    step = TraceStep(
        call=ToolCall(name="Bash", arguments={"command": "sort names.txt > sorted.txt"}),
        exit_code=0,
        informative=True,
        reads=(digest("names.txt", "b\na\n"),),
        writes=(digest("sorted.txt", "a\nb\n"),),
    )
    slots = (
        Slot(name="source", type=SlotType.PATH, value="names.txt"),
        Slot(name="target", type=SlotType.PATH, value="sorted.txt"),
    )
    return learned(
        "Sort the lines of names.txt into sorted.txt",
        step,
        slots=slots,
        inputs=step.reads,
        answer="Sorted names.txt into sorted.txt.",
    )


def noting() -> ExecutionTrace:
    content = "milk\n"
    step = TraceStep(
        call=ToolCall(name="Write", arguments={"path": "note.txt", "content": content}),
        writes=(digest("note.txt", content),),
    )
    slots = (
        Slot(name="text", value="milk", declared=True),
        Slot(name="file", type=SlotType.PATH, value="note.txt"),
    )
    return learned('Write the note "milk" to note.txt', step, slots=slots)


def moving() -> ExecutionTrace:
    step = TraceStep(call=ToolCall(name="MoveArm", arguments={"x": 120, "speed": "slow"}))
    slots = (Slot(name="x", type=SlotType.NUMBER, value="120"),)
    return learned("Move the arm to 120", step, slots=slots, outputs=())


@dataclass
class Device:
    """A folder to work in, and what the device allows."""

    root: Path
    keys: KeyRing
    allows: dict[str, Any] = field(
        default_factory=lambda: {
            "tools": ["Read", "Write", "Edit", "Bash"], "commands": ["sort", "cp"],
        }
    )  # fmt: skip

    @property
    def base(self) -> Path:
        return self.root / "work"

    @property
    def bundle(self) -> Path:
        return self.root / "bundle.llmos"

    def load(
        self,
        *traces: ExecutionTrace,
        allowed: Allowed | None = None,
        counter: int = 1,
        now: float | None = None,
    ) -> Bundle:
        made = write_bundle(
            traces,
            self.keys,
            allowed or Allowed(tools={"Read", "Write", "Edit", "Bash"}, commands={"sort", "cp"}),
            project="default",
            now=time.time() if now is None else now,
            counter=counter,
        )
        self.bundle.write_bytes(made.data)
        return made

    def options(self, key: str = "") -> Sequence[str]:
        (self.root / "device.json").write_text(json.dumps(self.allows))
        return (
            *("--key", key or self.keys.own().text, "--base", str(self.base)),
            *("--device", str(self.root / "device.json"), "--state", str(self.root / "state.json")),
        )

    def follow(
        self,
        *words: str,
        key: str = "",
        runner: Path = RUNNER,
        patience: float = 60,
        python: str = sys.executable,
    ) -> tuple[int, dict[str, Any]]:
        """Exit code and report."""
        options = self.options(key)
        argv = [python, "-I", str(runner), str(self.bundle), *words, *options]
        ended = subprocess.run(argv, capture_output=True, text=True, timeout=patience, check=False)
        assert not ended.stderr, ended.stderr
        return ended.returncode, json.loads(ended.stdout)


@pytest.fixture
def device(tmp_path: Path) -> Device:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "names.txt").write_text("b\na\n")
    return Device(tmp_path, KeyRing(tmp_path / "keys"))


Follow = Callable[..., tuple[int, dict[str, Any]]]


class StandInModel:
    """Chat completions over HTTP: says what it is told to, to anybody, and remembers what it was
    asked. A reply is the message's text, or bytes that are the whole body.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.reply: str | bytes = "{}"
        self.status = 200
        self.ended = "stop"
        self.hang = threading.Event()
        self.hang.set()
        self.asked: list[dict[str, Any]] = []
        self.heads: list[dict[str, str]] = []

    def says(self, **values: Any) -> StandInModel:
        self.reply = json.dumps(values)
        return self


@pytest.fixture
def model() -> Iterator[StandInModel]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.asked.append(json.loads(body) | {"path": self.path})
            made.heads.append(dict(self.headers))
            made.hang.wait(60)
            data = made.reply
            if isinstance(data, str):
                choice = {"message": {"content": data}, "finish_reason": made.ended}
                data = json.dumps({"choices": [choice]}).encode()
            with suppress(OSError):  # who asked may have gone
                self.send_response(made.status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = StandInModel(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield made
        made.hang.set()
        server.shutdown()
        thread.join()
