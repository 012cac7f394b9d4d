"""``llmos up``: the embedded stack in the foreground, and a screen that says what runs where."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.base import format_usd
from llmos_workers.contracts.errors import ConfigError, InfrastructureError
from llmos_workers.embedded import discovery
from llmos_workers.kernel.redis import safe_url

if TYPE_CHECKING:
    from llmos_workers.embedded.stack import EmbeddedStack

REHEARSAL = "REHEARSAL MODEL: scripted answers from data files, NOT an LLM"
STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def run(config: LLMOSConfig, roles: dict[str, int | None]) -> int:
    """Run the stack until Ctrl-C or TERM. Raises InfrastructureError, ConfigError."""
    _refuse_second(config)
    with ExitStack() as cleanup:
        config, model = with_model(config, cleanup)
        from llmos_workers.embedded.stack import EmbeddedStack

        print(f"starting the embedded stack on {config.workspace.absolute()} …", flush=True)
        url = config.sdk.base_url if model == REHEARSAL else None
        stack = EmbeddedStack(config, roles=roles, model_url=url)
        with _stoppable():
            try:
                with stack:
                    print("\n".join(screen(stack, model)), flush=True)
                    while not stack.wait(3_600):
                        pass
            except KeyboardInterrupt:
                print("\nstopped: server and workers are down; goals and traces are kept.")
    return 0


def _refuse_second(config: LLMOSConfig) -> None:
    if config.redis.url:
        raise ConfigError(
            f"redis.url names a server already ({safe_url(config.redis.url)}); up brings its own.",
            fix="Start workers for that server with llmos worker ROLE, or unset redis.url.",
        )
    if running := discovery.read(config.workspace):
        raise InfrastructureError(
            f"the embedded stack of {config.workspace} is up already (process {running.pid}).",
            fix="Use it as it is, or stop it with Ctrl-C where it runs.",
        )


def with_model(config: LLMOSConfig, cleanup: ExitStack) -> tuple[LLMOSConfig, str]:
    """The configuration with a model that answers, and what to call it: the configured one, or
    a rehearsal server that ``cleanup`` stops.
    """
    if config.sdk.base_url:
        return config, f"{config.sdk.model} at {config.sdk.base_url}"
    if config.sdk.api_key is not None:
        return config, f"{config.sdk.model} at Anthropic"
    from llmos_workers.rehearsal.server import RehearsalServer

    state = config.workspace / "state"
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InfrastructureError(
            f"the workspace {config.workspace} cannot be written: {error.strerror}.",
            fix="Choose another with --workspace.",
        ) from error
    server = cleanup.enter_context(RehearsalServer(log_path=state / "rehearsal.jsonl"))
    sdk = config.sdk.model_copy(update={"base_url": server.url})
    return config.model_copy(update={"sdk": sdk}), REHEARSAL


def screen(stack: EmbeddedStack, model: str) -> list[str]:
    """What runs where, and what to do next."""
    config = stack.config
    lines = [
        "llmos is up.",
        f"  workspace  {stack.workspace}",
        f"  redis      {safe_url(stack.redis_url)} (process {stack.server_pid}, private)",
    ]
    lines += [f"  worker     {name} (process {pid})" for name, pid in stack.workers.items()]
    lines += [
        f"  logs       {stack.log_folder}",
        f"  budget     {format_usd(config.kernel.budget_micro)} in all",
        f"  model      {model}",
    ]
    if model == REHEARSAL:
        lines += [
            "",
            "  !! No ANTHROPIC_API_KEY and no base_url are set, so goals are answered by the",
            "  !! rehearsal model: it is scripted, it knows a few job families only, and the",
            "  !! costs it reports are what they would be, not money you pay.",
        ]
    where = "" if config.workspace.name == "workspace" else f" --workspace {stack.workspace}"
    return [
        *lines,
        "",
        "In another terminal, from this folder:",
        f'  llmos{where} submit "Create a Python calculator"',
        f"  llmos{where} doctor",
        "Ctrl-C stops all of it.",
    ]


@contextmanager
def _stoppable() -> Iterator[None]:
    """TERM and HUP end the stack as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        sys.stdout.flush()
        for number, handler in before.items():
            signal.signal(number, handler)
