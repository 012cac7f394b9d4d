"""A commit's prepared files: all that is needed to move it in, whoever does it.

``projects/<project>/state/commits/<commit id>/``: ``plan.json`` and, for each made or changed
file or link, the new one under its number in the plan. Each is moved from here to its place by
one rename, so that it is done once however many try, in whatever order, however late: a run that
was stopped in between and wakes up finds nothing left to move. Removals are renames as well, out
of the project into the draft, and what turns out to be another file is put back.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from llmos_workers.contracts.commits import Commit, CommittedFile, FileKind, FileState
from llmos_workers.kernel import paths, tree
from llmos_workers.kernel.clone import clone_or_copy

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TRIES = 100
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def nothing(_point: str) -> None:
    """The listener of a publisher that nobody watches."""


class Draft:
    """The folder of one commit's prepared files."""

    def __init__(self, root: Path, output: Path) -> None:
        self.root, self.output = root, output

    def put_file(self, number: int, folder: int, name: str, mode: int) -> FileState:
        """Take a file of an open folder in, without copying it; its state.

        From now on it belongs to the project's owner: no command can open it for writing.
        """
        place = self.root / str(number)
        try:
            os.link(name, place, src_dir_fd=folder, follow_symlinks=False)
        except OSError:
            source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                with place.open("xb") as target:
                    clone_or_copy(source, target.fileno())
            finally:
                os.close(source)
        return self.seal(number, mode)

    def seal(self, number: int, mode: int) -> FileState:
        """Give a prepared file its owner and mode, and bring it to the disk; its state."""
        place = self.root / str(number)
        if os.geteuid() == 0:
            owner = self.output.stat()
            os.chown(place, owner.st_uid, owner.st_gid)
        place.chmod((mode | 0o400) & 0o777)
        with place.open("rb") as file:
            os.fsync(file.fileno())
        state = tree.state_at(self.root, str(number))
        if state is None:
            raise FileNotFoundError(place)
        return state

    def put_link(self, number: int, target: str) -> None:
        """Prepare a symlink."""
        (self.root / str(number)).symlink_to(target)

    def write_plan(self, commit: Commit, inodes: dict[str, int]) -> None:
        """Write down what is to be done. ``inodes``: of what will be removed, by path."""
        plan = {"commit": commit.model_dump(mode="json"), "inodes": inodes}
        with (self.root / "plan.json").open("x", encoding="utf-8") as file:
            json.dump(plan, file)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(self.root)
        _sync_folder(self.root.parent)

    def read_plan(self) -> tuple[Commit, dict[str, int]]:
        """What is to be done. Raises FileNotFoundError."""
        plan = json.loads((self.root / "plan.json").read_text(encoding="utf-8"))
        return Commit.model_validate(plan["commit"]), plan["inodes"]

    def remove(self) -> None:
        """Remove the draft."""
        tree.remove_tree(self.root)

    def move_in(
        self, commit: Commit, inodes: dict[str, int], reached: Callable[[str], None]
    ) -> None:
        """Bring a commit's files to their places; what is there already stays. Raises OSError."""
        files = list(enumerate(commit.files))
        for number, file in sorted(files, key=lambda item: item[1].path, reverse=True):
            if file.before is not None and _gives_way(file):
                self._take_away(number, file, inodes.get(file.path, 0))
                reached("removed")
        for _, file in sorted(files, key=lambda item: item[1].path):
            if file.after is not None and file.after.kind is FileKind.FOLDER:
                self._make_folder(file.path, file.after.mode, commit.commit_id)
        for number, file in files:
            if file.after is not None and file.after.kind is not FileKind.FOLDER:
                self._move(number, file.path, commit.commit_id)
                reached("moved")
        folders = {file.path.rpartition("/")[0]: file.path for file in commit.files}
        for path in folders.values():  # one may have become a file or a link, or be gone
            gone = suppress(FileNotFoundError, NotADirectoryError)
            with gone, tree.parent(self.output, path) as (folder, _):
                os.fsync(folder)

    def _take_away(self, number: int, file: CommittedFile, inode: int) -> None:
        gone = suppress(FileNotFoundError, NotADirectoryError)
        with gone, tree.parent(self.output, file.path) as (folder, name):
            if file.before is not None and file.before.kind is FileKind.FOLDER:
                with suppress(OSError):  # something else is in it by now: it stays
                    if self.root.exists():
                        os.rmdir(name, dir_fd=folder)
                return
            entry = tree.entry_at(folder, name)
            if entry is not None and entry.ino == inode:
                self._take_file(folder, name, self.root / f"old-{number}", inode)

    def _take_file(self, folder: int, name: str, aside: Path, inode: int) -> None:
        """Move a file out; back again when it is another one, put there since we looked."""
        # Onto a file no folder can be moved.
        os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with suppress(FileNotFoundError, NotADirectoryError):
            os.rename(name, aside, src_dir_fd=folder)
            if aside.lstat().st_ino != inode:
                with suppress(FileExistsError):
                    os.link(aside, name, dst_dir_fd=folder, follow_symlinks=False)

    def _make_folder(self, path: str, mode: int, commit_id: str) -> None:
        if not self.root.exists():
            return  # all is done already
        with _folders(self.output, f"{path}/x", commit_id) as way:
            if way.made:
                os.fchmod(way.fd, mode | 0o700)

    def _move(self, number: int, path: str, commit_id: str) -> None:
        source = self.root / str(number)
        for _ in range(_TRIES):
            if not os.path.lexists(source):
                return  # somebody moved it already
            with suppress(FileNotFoundError), _folders(self.output, path, commit_id) as way:
                try:
                    os.rename(source, way.name, dst_dir_fd=way.fd)
                except IsADirectoryError:
                    step_aside(way.fd, way.name, commit_id)
        raise FileNotFoundError(errno.ENOENT, "its folder is being removed", str(self.output))


def _gives_way(file: CommittedFile) -> bool:
    """Whether what was at the path has to go before: a rename alone would not replace it."""
    if file.after is None or file.before is None:
        return True
    return (file.before.kind is FileKind.FOLDER) != (file.after.kind is FileKind.FOLDER)


class _folders:  # noqa: N801 - used as a function in a with statement
    """The open folder that a path lies in, made if missing; ``made``: the last one is new."""

    def __init__(self, output: Path, path: str, commit_id: str) -> None:
        *folders, self.name = path.split("/")
        self.made = False
        self.fd = os.open(output, _DIRECTORY)
        try:
            for each in folders:
                self._enter(each, commit_id)
        except BaseException:
            os.close(self.fd)
            raise

    def _enter(self, name: str, commit_id: str) -> None:
        entry = tree.entry_at(self.fd, name)
        if entry is not None and entry.kind is not FileKind.FOLDER:
            step_aside(self.fd, name, commit_id)
        self.made = False
        with suppress(FileExistsError):
            os.mkdir(name, paths.FOLDER_MODE, dir_fd=self.fd)
            paths.give_to_owner_of(self.fd, name)
            self.made = True
        inner = os.open(name, _OPEN_FOLDER, dir_fd=self.fd)
        os.close(self.fd)
        self.fd = inner

    def __enter__(self) -> _folders:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def step_aside(folder: int, name: str, commit_id: str) -> None:
    """Rename what a person put in the way since the commit was checked; nothing is lost."""
    with suppress(FileNotFoundError):
        other = f"{name[:150]}.before-{commit_id[:60]}"
        os.rename(name, other, src_dir_fd=folder, dst_dir_fd=folder)


def _sync_folder(path: Path) -> None:
    fd = os.open(path, _DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
