"""Which pools a worker may have, what they all must know, and how they stop."""

from __future__ import annotations

from functools import partial
from typing import Any

from celery import bootsteps
from celery._state import _set_task_join_will_block

from llmos_workers.contracts.errors import ConfigError
from llmos_workers.kernel import drain

REFUSED_POOLS = ("gevent", "eventlet")


class PoolGuard(bootsteps.Step):  # type: ignore[misc]
    """Worker step that ends a worker whose pool loses running tasks when it stops.

    It also tells Celery that no task waits for another one's result. Only prefork says so by
    itself; in a thread pool each goal that is handed on would subscribe to its own result.
    """

    requires = {"celery.worker.components:Pool"}  # noqa: RUF012

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        pool = worker.pool_cls
        try:
            check_pool(pool if isinstance(pool, str) else pool.__module__)
        except ConfigError as error:
            raise SystemExit(f"llmos: {error}") from None
        _set_task_join_will_block(True)
        # Celery's soft shutdown sleeps for all of its time and tells nobody before. It runs in a
        # prefork worker's signal handler, so it cannot see its children finish either.
        longest = worker.app.conf.worker_soft_shutdown_timeout
        worker.wait_for_soft_shutdown = partial(drain.finish_steps, longest)


def check_pool(name: str) -> None:
    """Raise ConfigError for a pool, or the module of one, that llmos does not run on."""
    for refused in REFUSED_POOLS:
        if refused in name:
            raise ConfigError(
                f"the {refused} pool is not supported: it loses running tasks when it stops.",
                fix="Use threads (dispatch, llm, upkeep) or prefork (replay).",
            )
