"""Before a worker takes anything: is what stands in Redis of a schema that it can work on?"""

from __future__ import annotations

import logging
import time
from itertools import count
from typing import Any

import redis
from celery import bootsteps

from llmos_workers.config import LLMOSConfig
from llmos_workers.contracts.errors import LLMOSError
from llmos_workers.kernel.redis import connect, safe_url
from llmos_workers.kernel.signing import KeyRing
from llmos_workers.kernel.workspace import Workspace
from llmos_workers.learning.migrations import schema_of

log = logging.getLogger(__name__)

RETRY_SECS = 1.0


class SchemaGate(bootsteps.Step):  # type: ignore[misc]
    """Worker step that brings the data to this release's schema, or ends the worker."""

    requires = {"celery.worker.components:Pool"}  # noqa: RUF012

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        config: LLMOSConfig = worker.app.llmos_config
        workspace = Workspace(config.workspace)
        signing = KeyRing(workspace.keys, key_file=config.security.signing_key_file)
        for attempt in count(1):
            try:
                with connect(config.redis, url=worker.app.conf.broker_url) as state:
                    schema_of(state, workspace, signing).migrate()
                    break
            except (redis.ConnectionError, redis.TimeoutError) as error:
                if attempt & (attempt - 1) == 0:  # ever more seldom
                    place = safe_url(worker.app.conf.broker_url)
                    log.warning("the worker waits for Redis at %s: %s", place, error)
                time.sleep(RETRY_SECS)
            except LLMOSError as error:
                raise SystemExit(f"llmos: {error}") from None
