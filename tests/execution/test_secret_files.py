"""Files that hold keys by their names: one list for the guard and for taint."""

from __future__ import annotations

import pytest

from llmos_workers.execution.guard.policy import GuardPolicy
from llmos_workers.execution.secret_files import NAMES, SECRET_FILE


@pytest.mark.parametrize("name", [name.replace("*", "x") for name in NAMES])
def test_the_guard_and_taint_know_the_same_files(name: str) -> None:
    guard = GuardPolicy("/project").patterns("secrets")
    for path in (name, f"deep/er/{name}", f"deep/{name.upper()}"):
        assert SECRET_FILE.fullmatch(path), path
        assert any(pattern.fullmatch(path.lower()) for pattern in guard), path
    for path in (f"{name}/inner", f"a{name.replace('x', '')}.txt".lstrip(".")):
        assert not SECRET_FILE.fullmatch(path), path
    assert SECRET_FILE.fullmatch(f"/home/me/{name}")
