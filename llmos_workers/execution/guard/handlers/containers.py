"""docker and kubectl: looking is fine, everything else is another machine."""

from __future__ import annotations

import re

from llmos_workers.execution.guard.lists import words
from llmos_workers.execution.guard.marks import UNKNOWN
from llmos_workers.execution.guard.scope import Call

_DOCKER_LOOKS = words(
    "ps images version info logs inspect stats top port history search diff events df"
)
_DOCKER_GROUPS = words("container image volume network system context compose buildx")
_DOCKER_GROUP_LOOKS = words("ls list inspect ps logs config version top images df show port")
_DOCKER_ASKS = words("build pull tag stop start restart kill rm rmi prune up down")
_KUBE_LOOKS = words(
    "get describe logs version explain top api-resources api-versions cluster-info diff auth"
)


def docker(call: Call) -> str:
    """docker: a container may see the whole machine."""
    args = list(call.args)
    while args and args[0].startswith("-"):
        arg = args.pop(0)
        if arg in ("--version", "-v", "--help"):
            return UNKNOWN
        return call.deny("container", f"docker {arg} talks to another daemon")
    command, rest = (args[0] if args else ""), args[1:]
    if command in _DOCKER_GROUPS:
        command = next((arg for arg in rest if not arg.startswith("-")), "")
        if command in _DOCKER_GROUP_LOOKS:
            return UNKNOWN
    if command in _DOCKER_LOOKS or not command:
        return UNKNOWN
    if command in _DOCKER_ASKS:
        call.scope.shared.destructive = command in ("rm", "rmi", "prune", "down")
        return call.confirm("container", f"docker {command} changes what is outside the project")
    return call.deny("container", "a container may see the whole machine")


def kubectl(call: Call) -> str:
    """kubectl: changes a cluster."""
    command = next((arg for arg in call.args if not arg.startswith("-")), "")
    secret = any(re.match(r"secrets?(/|$)", arg) for arg in call.args)
    if command in _KUBE_LOOKS and not secret and "--kubeconfig" not in " ".join(call.args):
        return UNKNOWN
    if command == "config" and "view" in call.args and "--raw" not in call.args:
        return UNKNOWN
    if not command:
        return UNKNOWN
    return call.deny("container", "it changes a cluster, or reads its secrets")


def hub(call: Call) -> str:
    """gh and glab: looking is fine, acting is done in somebody's name."""
    command = " ".join([arg for arg in call.args if not arg.startswith("-")][:2])
    looks = re.fullmatch(
        r"(pr|issue|repo|run|release|workflow|gist|label|cache) "
        r"(list|view|status|diff|checks|watch)"
        r"|status|search \w+|--version|version|help|(pr|issue) status|",
        command,
    )
    if looks:
        return UNKNOWN
    if (
        re.match(r"(auth|secret|ssh-key|gpg-key|api|extension|alias|config|variable)\b", command)
        or "delete" in command
    ):
        return call.deny("publish", "it acts in somebody's name")
    return call.confirm("publish", "it acts in somebody's name")


HANDLERS = {
    **{"docker": docker, "docker-compose": docker, "kubectl": kubectl, "k": kubectl},
    **{"gh": hub, "glab": hub, "hub": hub},
}
