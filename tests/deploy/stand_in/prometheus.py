"""A real Prometheus, where one is installed: scrapes what runs, evaluates what deploy/ asks."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.stand_in.declared import ROOT
from tests.support.wait import wait_until

URL = "http://127.0.0.1:9090/api/v1"
NOTHING_TO_SHOW = {"Goals that did not succeed, per minute A"}
"""Panels of what has not happened here."""
DEPLOY = ROOT / "deploy"


def ask(path: str, **words: str) -> Any:
    """The data of an answer. Raises OSError for an expression that is none."""
    with urllib.request.urlopen(f"{URL}/{path}?{urllib.parse.urlencode(words)}", timeout=20) as got:
        return json.load(got)["data"]


@contextmanager
def watching(folder: Path) -> Iterator[bool]:
    """Scrapes each second; False: there is no Prometheus here."""
    program = shutil.which("prometheus")
    if program is None:
        yield False
        return
    said = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(DEPLOY / "prometheus" / "rules.yaml")],
        "scrape_configs": [
            {"job_name": "llmos", "static_configs": [{"targets": ["metrics:9464"]}]}
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(said))
    argv = [program, f"--config.file={folder / 'prometheus.yml'}"]
    argv += [f"--storage.tsdb.path={folder / 'tsdb'}", "--web.listen-address=127.0.0.1:9090"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(argv, cwd=folder, stdout=log, stderr=log)
    try:
        yield True
    finally:
        process.terminate()
        process.wait()


def panels() -> dict[str, str]:
    """Title and expression of each query of the dashboard."""
    board = json.loads((DEPLOY / "grafana" / "llmos.json").read_text())
    return {
        f"{panel['title']} {target['refId']}": target["expr"].replace("[1d]", "[1m]")
        for panel in board["panels"]
        for target in panel["targets"]
    }


def scaling() -> dict[str, str]:
    """Query of each scaled role."""
    path = DEPLOY / "kubernetes" / "keda" / "scaling.yaml"
    found = yaml.safe_load_all(path.read_text())
    return {
        f"scaling of {each['metadata']['name']}": each["spec"]["triggers"][0]["metadata"]["query"]
        for each in found
    }


def figures(patience_s: float) -> dict[str, Any]:
    """Queries that show nothing, and alerts that fire though all is well."""

    def scraped() -> bool:
        try:
            found = ask("query", query="count_over_time(llmos_up[1m])")["result"]
        except OSError:
            return False
        return bool(found) and float(found[0]["value"][1]) >= 3

    wait_until(scraped, timeout=patience_s, what="Prometheus scrapes")
    asked = panels() | scaling()

    def empty() -> set[str]:
        return {name for name, query in asked.items() if not ask("query", query=query)["result"]}

    wait_until(lambda: empty() <= NOTHING_TO_SHOW, timeout=patience_s, what="all panels show")
    rules = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
    return {
        "empty": sorted(empty()),
        "alerts": sorted(rule["name"] for rule in rules if rule["state"] == "firing"),
        "broken": sorted(rule["name"] for rule in rules if rule["health"] == "err"),
    }
