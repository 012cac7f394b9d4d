"""What compose.yaml and the manifests declare is run: commands, users, files, health checks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.hosts_parts.network import missing
from tests.deploy.stand_in.declared import ROOT, compose, pods

NEVER_HERE = "Goals that did not succeed, per minute A"


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize("kind", ["compose", "kubernetes"])
def test_what_is_declared_runs(kind: str, tmp_path: Path) -> None:
    if os.geteuid() or missing():
        pytest.skip("it needs root and network namespaces")
    argv = [sys.executable, "-m", "tests.deploy.stand_in", kind, str(tmp_path)]
    with (tmp_path / "said").open("wb") as said:
        ended = subprocess.run(
            argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=said, timeout=900, check=False
        )
    logs = "".join(f"{log.name}: {log.read_text()[-1000:]}\n" for log in tmp_path.glob("*.log"))
    assert ended.returncode == 0, f"{(tmp_path / 'said').read_text()}\n{logs}"
    seen = json.loads(ended.stdout)
    assert seen["ran"] == [["SUCCEEDED", "LEARNER"], ["SUCCEEDED", "FOLLOWER"]]
    assert seen["flower"] == [401, 200]
    assert seen["workers"] == ["dispatch", "llm", "replay", "upkeep"]
    assert set(seen["doctor"].values()) == {"ok"}, seen["doctor"]
    if "prometheus" in seen:
        assert seen["prometheus"] == {"empty": [NEVER_HERE], "alerts": [], "broken": []}
    assert set(seen["ended"].values()) == {0}
    assert len(seen["ended"]) == 7


def test_whoever_is_declared_may_do_little(tmp_path: Path) -> None:
    """Both ways declare the same programs, each with what its health tells."""
    (tmp_path / "secrets").mkdir()
    for name in ("worker.toml", "flower.toml", "observer.toml", "flower-auth", "users.acl"):
        (tmp_path / "secrets" / name).write_text("")
    if os.geteuid():
        pytest.skip("owners of files cannot be set")
    services = {each.name: each for each in compose(tmp_path)}
    declared = {each.name: each for each in pods(tmp_path)}
    assert set(services) == set(declared)
    for name, service in services.items():
        pod = declared[name]
        assert list(service.argv) == list(pod.argv), name
        assert service.checks, name
        assert pod.checks, name
        assert service.user[0] == pod.user[0] > 0
        assert service.env.get("LLMOS_HEARTBEAT_FILE") == pod.env.get("LLMOS_HEARTBEAT_FILE")
