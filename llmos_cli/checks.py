"""The checks of ``llmos doctor``. Each looks at one part and names the fix of what it finds."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from llmos_cli.context import Session
from llmos_workers.config import LLMOSConfig, SandboxDemand
from llmos_workers.contracts.errors import LLMOSError

if TYPE_CHECKING:
    from redis import Redis

    from llmos_workers.client import LLMOS

OLDEST_REDIS = (7, 0)
FEW_BYTES_FREE = 1 << 30
NO_BYTES_FREE = 64 << 20
NEEDED_ROLES = ("dispatch", "llm", "replay")
ROLES = (*NEEDED_ROLES, "upkeep")


class Verdict(StrEnum):
    """How a check went."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """What one check says."""

    name: str
    verdict: Verdict
    detail: str
    fix: str = ""


def ok(name: str, detail: str) -> Finding:
    """All is well."""
    return Finding(name, Verdict.OK, detail)


def warn(name: str, detail: str, fix: str) -> Finding:
    """It works, with a drawback."""
    return Finding(name, Verdict.WARN, detail, fix)


def fail(name: str, detail: str, fix: str) -> Finding:
    """Goals cannot run, or can be lost."""
    return Finding(name, Verdict.FAIL, detail, fix)


@dataclass
class Patient:
    """What the checks look at."""

    session: Session
    online: bool = False
    redis_answers: bool = False
    """Set by check_redis, for the checks that need Redis."""

    @property
    def config(self) -> LLMOSConfig:
        """The settings."""
        return self.session.config

    @property
    def client(self) -> LLMOS:
        """The thin client."""
        return self.session.client


Check = Callable[[Patient], Iterator[Finding]]


def examine(patient: Patient) -> Iterator[Finding]:
    """Run all checks, one after the other; a check that breaks is a failure itself."""
    from llmos_cli.checks_parts import (
        check_agents,
        check_hooks,
        check_index,
        check_model,
        check_schema,
        check_traces,
    )

    checks: dict[str, Check] = {
        "settings": check_settings,
        "redis": check_redis,
        "schema": check_schema,
        "workers": check_workers,
        "model": check_model,
        "index": check_index,
        "workspace": check_workspace,
        "sandbox": check_sandbox,
        "agents": check_agents,
        "hooks": check_hooks,
        "traces": check_traces,
    }
    for name, check in checks.items():
        try:
            yield from check(patient)
        except LLMOSError as error:
            yield fail(name, error.message, error.fix)
            if name == "settings":
                return
        except Exception as error:  # noqa: BLE001 - one broken part must not hide the others
            yield fail(name, f"{type(error).__name__}: {error}", "Please report this.")


def check_settings(patient: Patient) -> Iterator[Finding]:
    """Files, variables and flags parse; raises ConfigError otherwise."""
    origins = sorted(set(patient.session.sources.values())) if patient.config else []
    yield ok("settings", ", ".join(origins) or "defaults")


def check_redis(patient: Patient) -> Iterator[Finding]:
    """It answers, is new enough, never evicts, and keeps what it is told."""
    place = patient.client.ping()
    patient.redis_answers = True
    yield ok("redis", f"answers at {place}")
    facts = patient.client.redis.info("server", "memory", "persistence")
    version = str(facts.get("valkey_version") or facts.get("redis_version") or "0")
    yield redis_version(version)
    yield eviction(str(facts.get("maxmemory_policy", "")))
    yield append_only(int(facts.get("aof_enabled", 0)), _fsync(patient.client.redis))


def redis_version(version: str) -> Finding:
    """New enough."""
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < OLDEST_REDIS:
        return fail("redis version", version, "Use Redis 7 or newer, or Valkey.")
    return ok("redis version", version)


def eviction(policy: str) -> Finding:
    """Only noeviction keeps queued goals."""
    if policy != "noeviction":
        return fail(
            "redis eviction",
            f"maxmemory-policy is {policy or 'unknown'}: goals may vanish when memory is short.",
            "Set maxmemory-policy noeviction.",
        )
    return ok("redis eviction", policy)


def _fsync(redis: Redis) -> str:
    """When Redis writes to the disk; empty where this user may not ask."""
    with contextlib.suppress(RedisError):
        return str(redis.config_get("appendfsync").get("appendfsync", ""))
    return ""


def append_only(enabled: int, fsync: str) -> Finding:
    """Without the append-only file a crash of Redis forgets goals and money; written only now
    and then, it forgets the last seconds.
    """
    if not enabled:
        return warn(
            "redis persistence",
            "appendonly is off: a crash of Redis forgets goals, ledger and queues.",
            "Set appendonly yes, appendfsync always.",
        )
    if fsync in ("everysec", "no"):
        return warn(
            "redis persistence",
            f"appendfsync is {fsync}: a crash may forget goals accepted in its last seconds.",
            "Set appendfsync always; everysec where that is too slow for the disk.",
        )
    return ok("redis persistence", "append-only file" + (f", fsync {fsync}" if fsync else ""))


def check_workers(patient: Patient) -> Iterator[Finding]:
    """Every role has a worker whose heart beats."""
    if not patient.redis_answers:
        yield fail("workers", "cannot be seen without Redis.", "See redis.")
        return
    from llmos_workers.kernel.workers import live_workers

    seen: dict[str, list[str]] = {role: [] for role in ROLES}
    for worker in live_workers(patient.client.redis):
        for queue in worker.get("queues", ()):
            seen.setdefault(queue, []).append(str(worker.get("worker", "?")))
    for role in ROLES:
        yield worker_role(role, seen[role])


def worker_role(role: str, workers: list[str]) -> Finding:
    """At least one worker serves the role's queue."""
    name = f"worker {role}"
    if workers:
        return ok(name, ", ".join(workers))
    make = fail if role in NEEDED_ROLES else warn
    return make(
        name, f"none: what is queued for {role} waits.", f"llmos up, or llmos worker {role}."
    )


def check_workspace(patient: Patient) -> Iterator[Finding]:
    """It can be written, and there is room."""
    root = patient.config.workspace.absolute()
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    if not there.is_dir():
        yield fail("workspace", f"{there} is no folder.", "Choose another with --workspace.")
        return
    if reason := unwritable(there):
        yield fail(
            "workspace", f"{there} cannot be written: {reason}.",
            "Give this user the right to write it, or choose another with --workspace.",
        )  # fmt: skip
    else:
        yield ok("workspace", f"{root} is writable" if there == root else f"{root} can be made")
    yield room(shutil.disk_usage(there).free)


def unwritable(folder: Path) -> str:
    """Why a file cannot be written there; empty when it can."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".llmos-doctor-") as probe:
            probe.write(b"x")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return error.strerror or str(error)
    return ""


def room(free: int) -> Finding:
    """Enough of the disk is left, in bytes."""
    detail = f"{free / (1 << 30):.1f} GiB free"
    if free < NO_BYTES_FREE:
        return fail("disk", detail, "Free some space: goals and traces cannot be written.")
    if free < FEW_BYTES_FREE:
        return warn("disk", detail, "Free some space soon.")
    return ok("disk", detail)


def check_sandbox(patient: Patient) -> Iterator[Finding]:
    """Commands can be confined on this host."""
    from llmos_workers.execution.sandbox import probe

    security = patient.config.security
    report = probe()
    reasons = "; ".join(report.reasons)
    if report.level >= 1:
        yield ok("sandbox", f"level {report.level}, Landlock ABI {report.landlock_abi}")
        yield from _network(patient)
        return
    detail = f"level 0: {reasons or 'this host cannot confine commands'}."
    if security.sandbox is SandboxDemand.PREFER and security.allow_unconfined:
        yield warn(
            "sandbox", f"{detail} Shell tools run unconfined.", "Use a kernel with Landlock."
        )
    else:
        yield fail(
            "sandbox", f"{detail} Shell tools are refused.",
            "Run workers on Linux 5.13 or newer with Landlock; where you trust every goal, set "
            "security.allow_unconfined.",
        )  # fmt: skip


def _network(patient: Patient) -> Iterator[Finding]:
    """Commands that are granted hosts can be given a network with nothing else in it."""
    from llmos_workers.evolution.agents import AgentLoader
    from llmos_workers.execution.sandbox.level1 import network_fault

    fault = network_fault()
    if not fault:
        yield ok("egress", "commands can have networks of their own; out by the proxy only")
        return
    agents = AgentLoader(patient.config.workspace).load_agents()
    granted = [agent.name for agent in agents if agent.network]
    strict = patient.config.security.sandbox is SandboxDemand.REQUIRE
    what = "are refused" if strict else "run without it"
    detail = f"{fault}: commands that are granted hosts {what}"
    if granted:
        yield warn("egress", detail, "Allow the workers network namespaces (CAP_SYS_ADMIN, or "
                   f"user namespaces), or take network out of: {', '.join(granted)}.")  # fmt: skip
    else:
        yield ok("egress", f"{detail}; no agent is granted any")
