"""What one worker process keeps between tasks."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

from celery import Celery

from llmos_workers.config import LLMOSConfig
from llmos_workers.flow.dispatch import Dispatcher
from llmos_workers.kernel import telemetry
from llmos_workers.kernel.redact import shared
from llmos_workers.kernel.redis import connect
from llmos_workers.runtime import Runtime

ROLE = "LLMOS_ROLE"
"""Environment: the role of this worker, as worker.py sets it."""

_making = threading.Lock()


@dataclass(frozen=True)
class Process:
    """What one worker process keeps between tasks."""

    pid: int
    runtime: Runtime
    dispatcher: Dispatcher


def process_of(app: Celery) -> Process:
    """The process's layers, kept on the app; made anew in a forked child."""
    with _making:
        kept: Process | None = getattr(app, "llmos_process", None)
        if kept is None or kept.pid != os.getpid():
            config: LLMOSConfig = app.llmos_config
            for secret in (config.sdk.api_key, config.index.qdrant_api_key):
                if secret is not None:
                    shared().add(secret.get_secret_value())
            state, broker = (
                connect(config.redis, db=db, url=app.conf.broker_url)
                for db in (config.redis.state_db, config.redis.broker_db)
            )
            role = os.environ.get(ROLE, "worker")
            telemetry.start(config.telemetry, f"llmos-{role}")
            runtime = Runtime(config, redis=state, broker=broker)
            kept = Process(os.getpid(), runtime, Dispatcher(runtime))
            app.llmos_process = kept
        return kept
