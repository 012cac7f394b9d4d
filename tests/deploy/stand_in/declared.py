"""Containers as compose.yaml, the Dockerfile and the manifests declare them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.stand_in.container import Container, Mount

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
OURS = "llmos:latest"
LEFT_OUT = {"qdrant"}
"""No program of it is on this machine."""


def image_env() -> dict[str, str]:
    """ENV of the last stage."""
    last = DOCKERFILE.replace("\\\n", " ").rpartition("\nFROM ")[2]
    lines = re.findall(r"^ENV (.*)$", last, re.MULTILINE)
    pairs = (word.partition("=")[::2] for line in lines for word in shlex.split(line))
    system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {name: value.replace("$PATH", system) for name, value in pairs}


def image_words(kind: str) -> list[str]:
    """The last ENTRYPOINT or CMD."""
    found: list[str] = json.loads(re.findall(rf"^{kind} (\[.*\])$", DOCKERFILE, re.MULTILINE)[-1])
    return found


def volume(folder: Path, name: str, user: tuple[int, int]) -> Path:
    """A folder that keeps what is written; made once, as the image has it."""
    path = folder / "volumes" / name
    if not path.exists():
        path.mkdir(parents=True)
        shutil.chown(path, *user)
        path.chmod(0o750)
    return path


# -- Compose -------------------------------------------------------------------------------------


def compose(folder: Path) -> list[Container]:
    """The services, with the secrets of ``folder/secrets``."""
    said = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return [
        _service(name, service, said, folder)
        for name, service in said["services"].items()
        if name not in LEFT_OUT and "profiles" not in service
    ]


def _service(name: str, service: dict[str, Any], said: dict[str, Any], folder: Path) -> Container:
    ours = service["image"] == OURS
    user, _, group = service["user"].partition(":")
    owner = (int(user), int(group))
    mounts = [Mount(text.partition(":")[0], None, True) for text in service["tmpfs"]]
    for each in service.get("volumes", ()):
        source, _, target = each.partition(":")
        mounts.append(Mount(target, volume(folder, source, owner), True))
    if ours and not service.get("volumes"):  # VOLUME of the image: one of its own
        mounts.append(Mount("/workspace", volume(folder, f"{name}-own", owner), True))
    for each in service.get("secrets", ()):
        words = {"source": each} if isinstance(each, str) else each
        target = words.get("target", f"/run/secrets/{words['source']}")
        mounts.append(Mount(target, folder / said["secrets"][words["source"]]["file"]))
    mounts += [
        Mount(each["target"], ROOT / said["configs"][each["source"]]["file"])
        for each in service.get("configs", ())
    ]
    test = service["healthcheck"]["test"]
    check = ["/bin/sh", "-c", test[1]] if test[0] == "CMD-SHELL" else test[1:]
    argv = [*image_words("ENTRYPOINT"), *service["command"]] if ours else service["command"]
    env = (image_env() if ours else _foreign_env()) | {
        variable: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
        for variable, value in service.get("environment", {}).items()
    }
    return Container(name, argv, env, owner, mounts, [check])


def _foreign_env() -> dict[str, str]:
    return {"PATH": image_env()["PATH"]}


# -- Kubernetes ----------------------------------------------------------------------------------


def secrets_of_the_docs() -> Mapping[str, list[str]]:
    """Secret -> files, as docs/deploy.md makes them."""
    page = (ROOT / "docs" / "deploy.md").read_text()
    made = re.findall(r"create secret generic (\S+) (.*)", page)
    return {name: re.findall(r"--from-file=secrets/(\S+)", files) for name, files in made}


def pods(folder: Path) -> list[Container]:
    """One pod of each Deployment and StatefulSet."""
    found = []
    for path in sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml")):
        for thing in yaml.safe_load_all(path.read_text()):
            if "template" not in thing.get("spec", {}):
                continue
            name = thing["metadata"]["name"]
            if name not in LEFT_OUT:
                found.append(_pod(name, thing["spec"]["template"]["spec"], folder))
    return found


def _pod(name: str, pod: dict[str, Any], folder: Path) -> Container:
    (container,) = pod["containers"]
    context = pod["securityContext"]
    owner = (context["runAsUser"], context["runAsGroup"])
    volumes = {each["name"]: each for each in pod["volumes"]}
    mounts = []
    for each in container["volumeMounts"]:
        source = volumes.get(each["name"], {"persistentVolumeClaim": {"claimName": name}})
        mounts.append(
            Mount(
                each["mountPath"],
                _source(source, folder, owner, name),
                not each.get("readOnly", False),
            )
        )
    ours = container["image"] == OURS
    argv = container.get("command") or [*image_words("ENTRYPOINT"), *container["args"]]
    env = (image_env() if ours else _foreign_env()) | {
        each["name"]: each["value"] for each in container.get("env", ())
    }
    ports = {each["name"]: each["containerPort"] for each in container.get("ports", ())}
    checks: list[list[str]] = []
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container.get(kind, {})
        if "exec" in probe:
            checks.append(probe["exec"]["command"])
        elif probe:
            get = probe["httpGet"]
            checks.append([f"http://{name}:{ports[get['port']]}{get['path']}"])
    return Container(name, argv, env, owner, mounts, checks)


def _source(said: dict[str, Any], folder: Path, owner: tuple[int, int], name: str) -> Path | None:
    if "emptyDir" in said:
        return None
    if "persistentVolumeClaim" in said:
        return volume(folder, said["persistentVolumeClaim"]["claimName"], owner)
    made = folder / "volumes" / f"{name}-{said['name']}"
    made.mkdir(parents=True)
    if "configMap" in said:
        shutil.copy(ROOT / "deploy" / "redis" / "redis.conf", made)  # deploy/kustomization.yaml
        return made
    secret = said["secret"]
    for file in secrets_of_the_docs()[secret["secretName"]]:
        shutil.copy(folder / "secrets" / file, made / file)
        (made / file).chmod(secret["defaultMode"])
        shutil.chown(made / file, 0, owner[1])  # fsGroup
    return made
