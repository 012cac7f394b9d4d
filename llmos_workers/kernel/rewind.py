"""A stage set back to before a commit: the project as the committing run found it."""

from __future__ import annotations

import os
from contextlib import suppress

from llmos_workers.contracts.commits import Commit, CommittedFile, FileKind, FileState
from llmos_workers.contracts.errors import DataError
from llmos_workers.kernel import paths, tree
from llmos_workers.kernel.objects import Objects
from llmos_workers.kernel.stage import Stage


def rewind(stage: Stage, commit: Commit, objects: Objects) -> None:
    """Put what the commit replaced or removed back into the stage, and take out what it made.

    Only for a stage that no command has worked in, of a project where nothing else has changed
    those paths since. Raises DataError when a content is no longer kept, WorkspaceUnwritable.
    """
    try:
        # What was made goes first, the deepest first: a folder has to be empty.
        for file in sorted(commit.files, key=lambda file: file.path, reverse=True):
            if file.after is not None and not _both_folders(file):
                _remove(stage, file.path)
        for file in sorted(commit.files, key=lambda file: file.path):
            if file.before is not None and not _both_folders(file):
                _restore(stage, file.path, file.before, objects)
    except OSError as error:
        raise paths.refuse(str(stage.area), error, writing=True) from None


def _both_folders(file: CommittedFile) -> bool:
    states = (file.before, file.after)
    return all(state is not None and state.kind is FileKind.FOLDER for state in states)


def _remove(stage: Stage, path: str) -> None:
    with suppress(FileNotFoundError), tree.parent(stage.area, path) as (folder, name):
        entry = tree.entry_at(folder, name)
        if entry is not None and entry.kind is FileKind.FOLDER:
            os.rmdir(name, dir_fd=folder)
        elif entry is not None:
            os.unlink(name, dir_fd=folder)


def _restore(stage: Stage, path: str, state: FileState, objects: Objects) -> None:
    with tree.parent(stage.area, path) as (folder, name):
        if state.kind is FileKind.FOLDER:
            os.mkdir(name, state.mode | 0o700, dir_fd=folder)
            return
        if state.kind is FileKind.LINK:
            os.symlink(state.target, name, dir_fd=folder)
            return
        # Beside the area: what is fetched shows in it whole or not at all.
        fetched = stage.root / "rewound"
        fetched.unlink(missing_ok=True)
        if not objects.fetch(state.digest, fetched):
            raise DataError(
                f"the former content of {path!r} is no longer kept.",
                fix="Nothing: this run is not audited.",
            )
        fetched.chmod(state.mode)
        os.rename(fetched, name, dst_dir_fd=folder)
