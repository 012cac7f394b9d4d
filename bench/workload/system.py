"""The arms that run on the real system: server, workers, sandbox, model over HTTP."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.workload.arms import Arm, Run, Spent
from bench.workload.checks import Result
from bench.workload.stream import Ask
from llmos_workers.client import LLMOS
from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.outcome import Outcome
from llmos_workers.embedded.local import LocalSystem
from llmos_workers.kernel import keys
from llmos_workers.runtime import Runtime

PROJECT = "workload"
TIMEOUT_SECS = 120
EARNED_VERDICTS = 1_000
"""Right verdicts before the stream: enough to be trusted at dispatcher.max_replay_error."""

Prepare = Callable[[LocalSystem], None]


def run_stream(
    name: str,
    asks: Sequence[Ask],
    *,
    settings: Mapping[str, Any] | None = None,
    rehearsal: Mapping[str, Any] | None = None,
    prepare: Prepare | None = None,
    mode: str = "auto",
) -> Arm:
    """Run every goal, one after the other, each on its inputs as they are at that moment."""
    arm = Arm(name)
    with tempfile.TemporaryDirectory(prefix="llmos-workload-") as folder:
        given = {"workspace": folder, "kernel": {"budget_usd": 1000.0}, **(settings or {})}
        config = LLMOSConfig.from_dict(given)
        with LocalSystem(config, rehearsal_options=rehearsal) as system:
            if prepare is not None:
                prepare(system)
            with LLMOS(system.config) as llmos:
                output = Path(folder) / "projects" / PROJECT / "output"
                for number, ask in enumerate(asks, 1):
                    _lay_out(output, ask.inputs())
                    arm.add(ask, _run(system, llmos, output, ask, mode))
                    if number % 50 == 0:
                        _tell(f"{name}: {number} of {len(asks)} goals")
    return arm


def trust_the_judge(system: LocalSystem) -> None:
    """Give the judge the record of one that was right in every verdict so far."""
    runtime = Runtime(system.config)
    judge = runtime.judge
    if judge is None:
        raise RuntimeError("no judge is configured")
    record: dict[Any, Any] = {"yes": EARNED_VERDICTS, "right": EARNED_VERDICTS}
    runtime.redis.hset(keys.judge(judge.name), mapping=record)
    runtime.redis.sadd(keys.JUDGES, judge.name)


def _run(system: LocalSystem, llmos: LLMOS, output: Path, ask: Ask, mode: str) -> Run:
    served = len(_served(system))
    started = time.perf_counter()
    outcome = llmos.submit(ask.goal, project=PROJECT, mode=mode).result(TIMEOUT_SECS)
    ms = (time.perf_counter() - started) * 1000
    new = _served(system)[served:]
    tokens = sum(
        value
        for entry in new
        for key, value in entry.usage.items()
        if key.endswith("_tokens") and isinstance(value, int)
    )
    spent = Spent(len(new), tokens, sum(entry.charged_micro for entry in new))
    shown = outcome.mode.value if outcome.mode else outcome.status
    return Run(spent, ms, Result(outcome.ok, _text(outcome), _files(output)), shown)


def _text(outcome: Outcome) -> str:
    return outcome.text or (outcome.error.message if outcome.error else "")


def _served(system: LocalSystem) -> list[Any]:
    return system.rehearsal.log.entries() if system.rehearsal else []


def _lay_out(output: Path, inputs: Mapping[str, bytes]) -> None:
    """Exactly the inputs, as they are now: what earlier goals left must not help."""
    output.mkdir(parents=True, exist_ok=True)
    for name, content in _files(output).items():
        if inputs.get(name) != content:
            (output / name).unlink()
    for name, content in inputs.items():
        path = output / name
        if not path.exists():
            path.write_bytes(content)


def _files(output: Path) -> dict[str, bytes]:
    found = (path for path in output.rglob("*") if path.is_file())
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in found}


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
