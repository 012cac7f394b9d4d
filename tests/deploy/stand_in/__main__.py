"""python -m tests.deploy.stand_in compose|kubernetes FOLDER: starts all, has a goal learned and
followed, looks at every view, ends all. Prints what it saw as JSON. Needs root and ``ip``.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from llmos_workers import LLMOS
from llmos_workers.config_sources import load_config
from llmos_workers.embedded.server import find_binary
from llmos_workers.rehearsal.server import RehearsalServer
from tests.deploy.stand_in.container import Container, Machine, Running
from tests.deploy.stand_in.declared import ROOT, compose, image_words, pods
from tests.deploy.stand_in.prometheus import figures, watching
from tests.support.wait import wait_until

INSIDE = "STAND_IN_INSIDE"
NAMESPACES = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
GOAL = "Create a README"
PATIENCE_S = 180


def secrets(folder: Path, model: str) -> None:
    """As docs/deploy.md makes them; the model is the rehearsal's, and there is no Qdrant."""
    script = [sys.executable, ROOT / "deploy" / "make_secrets.py", folder / "secrets"]
    subprocess.run(
        script, check=True, stdout=subprocess.DEVNULL,
        env=os.environ | {"ANTHROPIC_API_KEY": "rehearsal"},
    )  # fmt: skip
    path = folder / "secrets" / "worker.toml"
    before, _, rest = path.read_text().partition("[index]\n")
    path.unlink()
    path.write_text(f'{before}[sdk]{rest.partition("[sdk]")[2]}base_url = "{model}"\n')
    path.chmod(0o444)


def addresses(folder: Path, containers: Sequence[Container]) -> Path:
    """An address for each, none of which is loopback, and the file of names."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    lines = ["127.0.0.1 localhost"]
    for number, container in enumerate(containers, 1):
        address = f"198.18.0.{number}"
        subprocess.run(["ip", "addr", "add", f"{address}/32", "dev", "lo"], check=True)
        lines.append(f"{address} {container.name}")
    path = folder / "hosts"
    path.write_text("\n".join([*lines, ""]))
    subprocess.run(["mount", "--bind", path, "/etc/hosts"], check=True)
    return path


def programs(folder: Path) -> tuple[list[Path], dict[str, Path]]:
    """Where the image's programs are on this machine."""
    tools = folder / "tools"
    tools.mkdir()
    (tools / "valkey-server").symlink_to(find_binary())
    client = tools / "valkey-cli"
    client.write_text(
        f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("cli.py")} "$@"\n'
    )
    client.chmod(0o755)
    places = [ROOT, Path(sys.prefix), Path(sys.base_prefix), Path(find_binary()).parent, tools]
    return places, {"/srv/llmos": Path(sys.prefix)}


def get(url: str, login: str = "") -> tuple[int, str]:
    """Status and text."""
    request = urllib.request.Request(url)
    if login:
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


def use(folder: Path) -> dict[str, Any]:
    """What a producer and those who watch get."""
    with LLMOS(load_config(folder / "secrets" / "producer.toml")) as producer:
        ran = [producer.submit(GOAL).result(PATIENCE_S) for _ in range(2)]
    login = (folder / "secrets" / "flower-auth").read_text()
    metrics = get("http://metrics:9464/metrics")[1]
    return {
        "ran": [(str(each.status), str(each.mode)) for each in ran],
        "flower": [
            get("http://flower:5555/workers")[0],
            get("http://flower:5555/workers", login)[0],
        ],
        "workers": sorted(
            line.partition('"')[2].partition('"')[0]
            for line in metrics.splitlines()
            if line.startswith("llmos_workers{") and line.endswith(" 1.0")
        ),
    }


def run(containers: Sequence[Container], folder: Path, extra: Mapping[str, str]) -> dict[str, Any]:
    """Start all, use them, end them."""
    places, links = programs(folder)
    machine = Machine(folder, addresses(folder, containers), places, links, extra)
    with ExitStack() as parts:
        running = [parts.enter_context(Running(each, machine)) for each in containers]

        def well() -> bool:
            ended = [each for each in running if each.process.poll() is not None]
            assert not ended, f"{ended[0].container.name}: {ended[0].failing()}"
            return not any(each.failing() for each in running)

        wait_until(well, timeout=PATIENCE_S, what="all health checks succeed")
        with watching(folder) as watched:
            seen = use(folder)
            if watched:
                seen["prometheus"] = figures(PATIENCE_S)
        (upkeep,) = [each for each in running if each.container.name == "upkeep"]
        seen["doctor"] = doctor(upkeep)
        upkeep.process.send_signal(signal.SIGSTOP)
        wait_until(upkeep.failing, timeout=PATIENCE_S, what="a worker that hangs is told")
        upkeep.process.send_signal(signal.SIGCONT)
        seen["ended"] = {each.container.name: each.stop(PATIENCE_S) for each in reversed(running)}
    return seen


def doctor(worker: Running) -> dict[str, str]:
    """What llmos doctor says in a container, by check."""
    said = worker.inside([*image_words("ENTRYPOINT"), "doctor", "--json"]).stdout
    return {check["name"]: check["verdict"] for check in json.loads(said)["checks"]}


def main(kind: str, place: str) -> None:
    """Entry point."""
    if not os.environ.get(INSIDE):
        argv = [sys.executable, "-m", "tests.deploy.stand_in", kind, place]
        os.execvpe("unshare", ["unshare", *NAMESPACES, *argv], os.environ | {INSIDE: "1"})
    folder = Path(place)
    folder.chmod(0o755)
    with RehearsalServer() as model:
        secrets(folder, model.url)
        containers = compose(folder) if kind == "compose" else pods(folder)
        extra = {"PYTHONPATH": str(ROOT)}
        extra["PATH"] = f"{containers[-1].env['PATH']}:{folder / 'tools'}"
        print(json.dumps(run(containers, folder, extra)))


if __name__ == "__main__":
    main(*sys.argv[1:])
