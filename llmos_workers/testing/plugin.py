"""pytest fixtures for tests of apps that use llmos; installed with the package.

``llmos_stack``: the embedded stack with the rehearsal model, once per session.
``llmos``: a client of it. Whoever uses neither pays for neither: nothing is imported before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from llmos_workers.client import LLMOS
    from llmos_workers.config import LLMOSConfig
    from llmos_workers.embedded.stack import EmbeddedStack

CONCURRENCY = {"dispatch": 2, "llm": 4, "replay": 1, "upkeep": 1}


@pytest.fixture(scope="session")
def llmos_config(tmp_path_factory: pytest.TempPathFactory) -> LLMOSConfig:
    """Settings of the session's stack; override this fixture to change them.

    The workspace is a fresh temporary folder, and the budget one dollar. Upkeep asks no model:
    its calls would come between those that tests count.
    """
    from llmos_workers.config import LLMOSConfig

    workspace = tmp_path_factory.mktemp("llmos-workspace")
    given = {"workspace": workspace, "kernel": {"budget_usd": 1.0}, "memory": {"insights": False}}
    return LLMOSConfig.from_dict(given)


@pytest.fixture(scope="session")
def llmos_stack(llmos_config: LLMOSConfig) -> Iterator[EmbeddedStack]:
    """A running embedded stack: private server, workers, and the rehearsal model.

    The rehearsal model follows scripts; it is no LLM. A base_url or an API key in
    ``llmos_config`` replaces it.
    """
    from llmos_workers.embedded.local import LocalSystem

    with LocalSystem(llmos_config, roles=CONCURRENCY) as system:
        yield system.stack


@pytest.fixture
def llmos(llmos_stack: EmbeddedStack) -> Iterator[LLMOS]:
    """A client of the session's stack; ``llmos.submit("…").result(timeout=10)``."""
    from llmos_workers.client import LLMOS

    with LLMOS(llmos_stack.config) as client:
        yield client
