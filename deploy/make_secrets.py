"""Make all secrets of a deployment: ``python deploy/make_secrets.py FOLDER``.

Standard library only. Each is a file of its own, in a folder that only its owner enters (the files
themselves are readable: containers read them under another user); passwords are random. Nothing
that is there already is overwritten. Redis gets hashes only.

ANTHROPIC_API_KEY of the environment, when set, goes into the workers' settings.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

QUEUES = ("dispatch", "llm", "replay", "upkeep")
# kombu's lists of lower priorities: the name, two control characters, and a digit.
_OF_QUEUES = " ".join(f"~{queue} ~{queue}??[369]" for queue in QUEUES)
# Who subscribes by pattern must be allowed that very pattern.
_EVENTS = "&/0.celery.pidbox &/0.celeryev/*"
_KOMBU = "~_kombu.* ~*.celery.pidbox* ~celeryev* "

ROLES: Mapping[str, str] = {
    # Submits, waits, cancels: plain commands, no scripts. Messages enter by queue dispatch alone.
    "producer": "~llmos:* ~dispatch ~dispatch??[369] %R~celery-task-meta-* resetchannels "
    "&celery-task-meta-* "
    "+@read +@write +@connection +@transaction +@pubsub -@dangerous -@admin "
    "-@scripting",
    # A plain Celery app: messages to queue dispatch, results. Nothing of llmos's own.
    "app": "~dispatch ~dispatch??[369] %R~celery-task-meta-* resetchannels "
    "&celery-task-meta-* +@connection +@transaction -@dangerous -@admin +info "
    "+lpush +llen +get +mget +subscribe +unsubscribe "
    # kombu binds its queue by a script of its own.
    "(~_kombu.binding.dispatch ~_kombu.binding_permanent.dispatch "
    "+sadd +smembers +evalsha +script|load +script|exists)",
    # Runs goals: scripts of ours, Celery's keys, nothing of the server itself.
    "worker": f"~llmos:* {_OF_QUEUES} {_KOMBU}~unacked* ~celery-task-meta-* "
    "~celery-taskset-meta-* resetchannels &celery-task-meta-* "
    f"{_EVENTS} "
    "+@read +@write +@connection +@transaction +@pubsub +@blocking +@scripting +time +restore "
    "+config|get -@dangerous -@admin +info +restore -script|flush -script|kill -function",
    # Metrics, top, report: reads.
    "observer": f"%R~llmos:* {_OF_QUEUES.replace('~', '%R~')} %R~unacked "
    "resetchannels +@read +@connection +@transaction +time +info -@dangerous -@admin +info",
    # Flower: reads, hears events, asks workers how they are; takes nothing out of a queue.
    "flower": f"%R~* {_KOMBU}resetchannels {_EVENTS} "
    "+@read +@write +@connection +@transaction +@pubsub +@blocking -@dangerous -@admin "
    "-@scripting +info +time "
    # kombu binds its queues by a script of its own.
    "(~_kombu.* +evalsha +script|load +script|exists)",
}
"""Role -> what its user may do, in the words of ACL SETUSER."""


def acl_lines(passwords: Mapping[str, str]) -> list[str]:
    """The ACL file. Whoever gives no name may nothing."""
    lines = ["user default off resetkeys resetchannels -@all"]
    for role, rights in ROLES.items():
        digest = hashlib.sha256(passwords[role].encode()).hexdigest()
        lines.append(f"user llmos-{role} on #{digest} -@all {rights}")
    return lines


def settings(role: str, passwords: Mapping[str, str], *, host: str, model_key: str) -> str:
    """The settings file of a role."""
    url = f"redis://llmos-{role}:{passwords[role]}@{host}:6379"
    lines = ['preset = "production"', "[logging]", 'format = "json"', "[redis]", f'url = "{url}"']
    if role == "worker":
        lines += ["[index]", 'qdrant_url = "http://qdrant:6333"']
        lines += [f'qdrant_api_key = "{passwords["qdrant"]}"']
        if model_key:
            lines += ["[sdk]", f'api_key = "{model_key}"']
    return "\n".join([*lines, ""])


def files(
    passwords: Mapping[str, str], *, host: str = "redis", model_key: str = ""
) -> dict[str, str]:
    """Name -> content of all secrets."""
    made = {
        f"{role}.toml": settings(role, passwords, host=host, model_key=model_key) for role in ROLES
    }
    made["users.acl"] = "\n".join([*acl_lines(passwords), ""])
    made["qdrant.yaml"] = f"service:\n  api_key: {passwords['qdrant']}\n"
    made["flower-auth"] = f"llmos:{passwords['web']}"
    return made


def main(arguments: list[str]) -> int:
    """Write them; 0, 1 when one is there already, 2 for wrong usage."""
    if len(arguments) != 1:
        sys.stderr.write("usage: make_secrets.py FOLDER\n")
        return 2
    folder = Path(arguments[0])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    passwords = {name: secrets.token_urlsafe(24) for name in (*ROLES, "qdrant", "web")}
    made = files(passwords, model_key=os.environ.get("ANTHROPIC_API_KEY", ""))
    if there := [name for name in made if (folder / name).exists()]:
        sys.stderr.write(f"{folder} holds {', '.join(there)} already; nothing was written.\n")
        return 1
    for name, content in made.items():
        with open(folder / name, "x", opener=lambda p, flags: os.open(p, flags, 0o444)) as file:
            file.write(content)
    sys.stdout.write(f"{len(made)} secrets in {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
