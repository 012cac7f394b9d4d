"""Celery's settings for llmos, each for a measured reason. Pure: no connection is made.

A test checks every key against Celery's own table, because Celery ignores unknown ones silently.
"""

from __future__ import annotations

import os
from typing import Any

from kombu.entity import Queue

from llmos_workers.config import LLMOSConfig
from llmos_workers.kernel import codec
from llmos_workers.kernel.redis import database_url, keepalive

QUEUES = ("dispatch", "llm", "replay", "upkeep")
ROUTES = {
    "llmos.goal": {"queue": "dispatch"},
    "llmos.feedback": {"queue": "dispatch"},
    "llmos.think": {"queue": "llm"},
    "llmos.orchestrate": {"queue": "llm"},
    "llmos.replay": {"queue": "replay"},
    "llmos.upkeep*": {"queue": "upkeep"},
}
TASK_MODULES = "LLMOS_TASK_MODULES"
"""Environment: comma-separated modules of tasks that workers import, instead of ours."""

OUR_TASKS = "llmos_workers.tasks"

RETRY_DELAY_SECS = 5
SOFT_SHUTDOWN_SECS = 20.0
DRAIN_SECS = "LLMOS_DRAIN_SECS"
"""Environment: seconds that a prefork worker lets running tasks finish after SIGTERM."""


def celery_settings(config: LLMOSConfig, redis_url: str) -> dict[str, Any]:
    """All settings that differ from Celery's defaults; ``redis_url`` names no database."""
    redis = config.redis
    return {
        "broker_url": database_url(redis_url, redis.broker_db),
        "result_backend": database_url(redis_url, redis.result_db),
        **_connection(config),
        **_messages(),
        **_delivery(),
        **_results(config),
        **_worker(),
    }


def max_hold_secs(config: LLMOSConfig) -> float:
    """How long one delivery may stay renewed: the longest wall time a run may take."""
    return config.sdk.timeout_secs * config.sdk.max_turns + config.redis.visibility_timeout_secs


def _connection(config: LLMOSConfig) -> dict[str, Any]:
    timeout = config.redis.visibility_timeout_secs
    return {
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # a worker waits for its broker as long as it takes
        "broker_transport_options": {
            # Equal everywhere: whoever has the smallest one redelivers the others' tasks.
            "visibility_timeout": timeout,
            # Together with the throttle: how soon a dead worker's tasks are looked for.
            "unacked_restore_interval": max(1, min(5, timeout // 6)),
            "unacked_restore_throttle": 1,
            # Who dies while looking keeps all others from it for so long; kombu's own 5 minutes
            # are how long goals of another dead worker then wait. Looking takes milliseconds, and
            # two at once do no harm.
            "unacked_mutex_expire": max(2, min(10, timeout // 3)),
            # A BRPOP or a subscription that hears nothing for so long, or twice it, is made anew.
            "health_check_interval": config.redis.silence_secs,
            "socket_keepalive": True,
            "socket_keepalive_options": keepalive(config.redis.silence_secs),
            "socket_timeout": config.redis.silence_secs,
            "socket_connect_timeout": config.redis.connect_timeout_secs,
        },
        "redis_socket_keepalive": True,
        "redis_socket_timeout": float(config.redis.silence_secs),
        "redis_socket_connect_timeout": config.redis.connect_timeout_secs,
        "result_backend_transport_options": {"retry_policy": {"timeout": 5.0}},
        # A result is stored again when Redis was away for a moment; the broker's message stays.
        "result_backend_always_retry": True,
        "result_backend_max_retries": 20,
    }


def _messages() -> dict[str, Any]:
    return {
        "task_serializer": codec.NAME,
        "result_serializer": "json",  # a plain app has no codec of ours
        "accept_content": [codec.NAME, "json"],  # and so: never pickle
        "result_accept_content": ["json"],
        "task_default_queue": "dispatch",
        "task_create_missing_queues": False,  # a misspelt queue is an error, not a silent list
        "task_queues": [Queue(name, routing_key=name) for name in QUEUES],
        "task_routes": ROUTES,
        "imports": _task_modules(),
    }


def _delivery() -> dict[str, Any]:
    return {
        "task_acks_late": True,
        # A killed child's task is back in the queue at once. It would be for ever: the goal
        # record counts deliveries and ends in DEAD. Celery's own retry for this case would
        # send an ETA message instead, which is hoarded in memory and redelivered.
        "task_reject_on_worker_lost": True,
        "task_acks_on_failure": True,
        "task_acks_on_timeout": True,
        "task_annotations": {"*": {"default_retry_delay": RETRY_DELAY_SECS}},
        "worker_prefetch_multiplier": 1,
        "worker_eta_task_limit": 100,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_soft_shutdown_timeout": float(os.environ.get(DRAIN_SECS, SOFT_SHUTDOWN_SECS)),
    }


def _results(config: LLMOSConfig) -> dict[str, Any]:
    keep = config.kernel.result_retention_secs
    return {
        "task_ignore_result": False,
        "result_expires": keep,
        "result_failure_expires": keep,
        "result_chord_expires": max(keep, int(max_hold_secs(config))),
    }


def _worker() -> dict[str, Any]:
    return {
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        "worker_redirect_stdouts": False,
        "worker_max_tasks_per_child": 1000,
        "worker_enable_remote_control": True,
    }


def _task_modules() -> tuple[str, ...]:
    names = os.environ.get(TASK_MODULES, OUR_TASKS).split(",")
    return tuple(name.strip() for name in names if name.strip())
