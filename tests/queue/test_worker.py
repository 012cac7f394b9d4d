"""Roles: how a worker of each one is started."""

from __future__ import annotations

import pytest

from llmos_workers.app_settings import QUEUES
from llmos_workers.contracts.errors import ConfigError
from llmos_workers.worker import ROLES, worker_arguments, worker_command
from llmos_workers.worker_pool import check_pool


def value_of(arguments: list[str], option: str) -> str:
    return arguments[arguments.index(option) + 1]


def test_the_roles_serve_every_queue_once_on_allowed_pools() -> None:
    assert sorted(queue for role in ROLES.values() for queue in role.queues) == sorted(QUEUES)
    for role in ROLES.values():
        check_pool(role.pool)


@pytest.mark.parametrize("role", sorted(ROLES))
def test_arguments_follow_the_preset(role: str) -> None:
    arguments = worker_arguments(role)
    assert value_of(arguments, "--queues") == role
    assert value_of(arguments, "--pool") == ROLES[role].pool
    assert value_of(arguments, "--concurrency") == str(ROLES[role].concurrency)
    assert ("--disable-prefetch" in arguments) == (ROLES[role].prefetch is None)


def test_a_number_of_slots_can_be_given() -> None:
    assert value_of(worker_arguments("llm", 50), "--concurrency") == "50"
    assert value_of(worker_command("llm", 50), "--concurrency") == "50"
    with pytest.raises(ConfigError, match="1 or more"):
        worker_arguments("llm", 0)


def test_an_unknown_role_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="dispatch, llm, replay, upkeep"):
        worker_command("gpu")
