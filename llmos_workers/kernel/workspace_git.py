"""The workspace as a git repository: its ignore rules, and commits of single files by llmos.

Git runs without network, prompts, hooks, signing programs and file system monitors, and with no
settings but the repository's own and those given here. Commits name their paths, so that what
people have staged stays staged. One process at a time commits; whoever finds the lock taken leaves
it to that one. Nobody's goal waits for it: it is a duty of upkeep.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from llmos_workers.contracts.errors import InfrastructureError
from llmos_workers.kernel.workspace import Workspace, make_folder

IGNORE = """\
# Written by llmos once; yours to change.
# Keys, locks, sockets, counters, logs and data of processes:
/state/
# Stages of runs, what they replaced, snapshots:
/projects/*/state/
# Copies of old versions, which git keeps anyway:
/agents/.history/
/memories/traces/*/history/
# Logs of sessions come and go:
/memories/sessions/
*.staged
*.llmos-tmp
.env*
# What goals make is tracked; to leave it out:
# /projects/*/output/
"""
LOCK = ".git.lock"
TIMEOUT_S = 30.0
QUIET = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "commit.gpgSign=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "protocol.allow=never",
    # Who set ``learning.git_commit`` means this repository, whoever owns it.
    "safe.directory=*",
)


class GitFailed(InfrastructureError):
    """Git is not there, or did not do what it was asked."""


@dataclass(frozen=True)
class Changed:
    """A file that differs from the last commit."""

    path: str
    """Relative to the workspace."""
    gone: bool
    new: bool


def write_ignore(workspace: Workspace) -> bool:
    """Write the ignore rules where there are none; whether that was so."""
    path = workspace.root / ".gitignore"
    if os.path.lexists(path):
        return False
    workspace.write_atomic(path, IGNORE.encode())
    return True


class WorkspaceGit:
    """The repository that holds a workspace, or that the workspace is."""

    def __init__(self, workspace: Workspace, author: str) -> None:
        """``author``: ``Name <address>``, of author and committer."""
        self._workspace, self._author = workspace, author

    @property
    def there(self) -> bool:
        """Whether the workspace lies in a repository."""
        root = self._workspace.root
        return any(os.path.lexists(folder / ".git") for folder in (root, *root.parents))

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Hold the lock; False: somebody else does, and sees to it."""
        make_folder(self._workspace.state)
        path = self._workspace.state / LOCK
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            yield False
            return
        try:
            yield True
        finally:
            os.close(fd)

    def changed(self, folders: Sequence[str]) -> list[Changed]:
        """Files below these folders that are not as in the last commit, sorted. Raises
        GitFailed.
        """
        prefix = self._run("rev-parse", "--show-prefix").decode().strip()
        told = self._run(
            "status",
            "--porcelain=v1",
            "-z",
            "--untracked-files=all",
            "--no-renames",
            "--",
            *folders,
        )
        found = []
        for entry in told.split(b"\0"):
            if entry:
                state, path = entry[:2].decode(), os.fsdecode(entry[3:])
                gone = not os.path.lexists(self._workspace.root / path.removeprefix(prefix))
                found.append(Changed(path.removeprefix(prefix), gone, state == "??"))
        wanted = tuple(f"{each}/" for each in folders)
        return sorted((c for c in found if c.path.startswith(wanted)), key=lambda c: c.path)

    def commit(self, paths: Sequence[str], message: str) -> None:
        """Commit exactly these paths as they are now. Raises GitFailed."""
        self._run("add", "--all", "--", *paths)
        self._run("commit", "--quiet", "--no-verify", "--only", f"--author={self._author}",
                  "--message", message, "--", *paths)  # fmt: skip

    def _run(self, *arguments: str) -> bytes:
        root = self._workspace.root
        settings = [part for each in QUIET for part in ("-c", each)]
        command = ["git", "--literal-pathspecs", "--no-optional-locks", *settings, *arguments]
        try:
            done = subprocess.run(
                command, cwd=root, env=self._environment(), stdin=subprocess.DEVNULL,
                capture_output=True, timeout=TIMEOUT_S, check=False,
            )  # fmt: skip
        except FileNotFoundError:
            raise GitFailed("there is no git on this host.", fix="Install git.") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise GitFailed(f"git {arguments[0]} did not end: {error}.") from None
        if done.returncode:
            said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
            raise GitFailed(f"git {arguments[0]} failed: {said[:300]}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        name, _, address = self._author.rstrip(">").partition(" <")
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": "/nonexistent",
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_EDITOR": "true",
            "GIT_COMMITTER_NAME": name,
            "GIT_COMMITTER_EMAIL": address,
        }
