"""A result that somebody planted in the backend is data: reading it runs nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis
from celery.result import AsyncResult
from kombu.exceptions import DecodeError

from llmos_workers.app import make_app
from llmos_workers.config import LLMOSConfig


@pytest.mark.parametrize(
    "meta",
    [
        {"exc_type": "system", "exc_module": "os", "exc_message": ["touch {mark}"]},
        {"exc_type": "system", "exc_module": "os", "exc_message": "touch {mark}"},
        {"exc_type": "Popen", "exc_module": "subprocess", "exc_message": [["touch", "{mark}"]]},
        {"exc_type": "eval", "exc_module": "builtins", "exc_message": ["open('{mark}', 'w')"]},
    ],
)
def test_an_exception_of_the_backend_does_not_execute(
    redis_server: str, tmp_path: Path, meta: dict[str, Any]
) -> None:
    """CVE-2021-23727."""
    mark = tmp_path / "mark"
    planted = json.dumps(
        {"status": "FAILURE", "result": meta, "traceback": None, "children": [], "task_id": "g"}
    ).replace("{mark}", str(mark))
    app = make_app(LLMOSConfig(), redis_url=redis_server)
    with redis.Redis.from_url(f"{redis_server}/1") as results:
        results.set("celery-task-meta-g", planted)
    try:
        result = AsyncResult("g", app=app)
        # Celery says that it is no exception, or hands one over that is only named so.
        try:
            read: object = result.result
            result.get(timeout=60, propagate=False)
        except Exception as error:  # noqa: BLE001 - whatever is raised, nothing may have run
            read = error
        assert isinstance(read, Exception)
        assert not mark.exists()
    finally:
        app.close()


def test_a_result_that_is_pickled_is_not_loaded(redis_server: str, tmp_path: Path) -> None:
    import pickle

    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "mark",)

    app = make_app(LLMOSConfig(), redis_url=redis_server)
    with redis.Redis.from_url(f"{redis_server}/1") as results:
        results.set("celery-task-meta-p", pickle.dumps(Bomb()))
    with pytest.raises(DecodeError):
        AsyncResult("p", app=app).get(timeout=60)
    assert not (tmp_path / "mark").exists()
    app.close()
