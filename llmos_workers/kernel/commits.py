"""The log of each project's commits in Redis: what counts, in which order, and who did it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis

from llmos_workers.contracts.commits import Commit
from llmos_workers.contracts.errors import Cancelled, LeaseLost, PublishConflict
from llmos_workers.kernel import keys, scripts
from llmos_workers.kernel.lease import Lease
from llmos_workers.kernel.tainted import FileTaint, TaintedFiles, names_of

KEPT = 1_000
"""Commits of a project that the log holds; older ones stand in state/commits.jsonl only."""


class CommitPending(Exception):
    """Another commit's files have to be moved in before this one can be logged."""


class AlreadyUndone(Exception):
    """The commit to take back was taken back meanwhile."""


@dataclass(frozen=True)
class LogState:
    """The newest commit's number, and the commit whose files are still being moved in."""

    seq: int
    pending: str


class CommitLog:
    """Reads and writes the commits of all projects. ``kept``: commits held per project."""

    def __init__(self, redis: redis.Redis, *, kept: int = KEPT) -> None:
        self._redis, self._kept = redis, kept

    def state(self, project: str) -> LogState:
        """Where the project's log stands."""
        found = cast(
            list[bytes | None], self._redis.hmget(keys.commit_state(project), "seq", "pending")
        )
        return LogState(int(found[0] or 0), (found[1] or b"").decode())

    def intend(
        self,
        commit: Commit,
        *,
        lease: Lease | None,
        start: int,
        checks: Iterable[str],
        sets: Iterable[str],
        taints: Mapping[str, str] | None = None,
    ) -> int:
        """Log a commit and make it pending; its number. From here on it counts.

        ``start``: the newest commit that the change knew; any of the paths ``checks`` that a
        later one has set is a conflict. ``sets``: the paths that it sets. ``taints``: those that
        hold what others wrote (kernel/tainted.marks). All or nothing.
        Raises LeaseLost, Cancelled (with a lease), PublishConflict, CommitPending,
        AlreadyUndone.
        """
        checked, written = sorted(set(checks)), sorted(set(sets))
        fence, owner = (lease.fence, lease.owner) if lease else ("", "")
        args = [fence, owner, start, commit.model_dump_json(), commit.undoes, self._kept]
        marked = [part for pair in (taints or {}).items() for part in pair]
        args += [len(checked), len(written), len(marked) // 2, *checked, *written, *marked]
        reply = self._run("intend", commit.project, commit.commit_id, commit.goal_id, args)
        code = reply[0].decode()
        if code == "ok":
            return int(reply[1])
        if code == "conflict":
            raise self._conflict(commit, reply[1:])
        raise _refusal(code, commit.goal_id)

    def done(self, project: str, commit_id: str) -> bool:
        """Say that a pending commit's files are in their places; whether it was pending."""
        return bool(self._run("done", project, commit_id, "", ())[0] == b"ok")

    def lost(self, project: str, commit_id: str) -> None:
        """Say that a pending commit's files are gone: nobody can move them in any more."""
        self._run("lost", project, commit_id, "", ())

    def forget(self, project: str) -> None:
        """Drop the whole log: its files are gone with their board."""
        self._redis.unlink(
            keys.commit_state(project), keys.commits(project), keys.commit_log(project),
            keys.commit_paths(project), keys.tainted_files(project),
        )  # fmt: skip

    def tainted(self, project: str) -> TaintedFiles:
        """The project's files that hold what others wrote."""
        stored = cast(dict[bytes, bytes], self._redis.hgetall(keys.tainted_files(project)))
        return TaintedFiles.read({k.decode(): v.decode() for k, v in stored.items()})

    def carry(self, project: str, files: TaintedFiles) -> None:
        """What a place was made from is tainted there, too."""
        if stored := files.dump():
            self._redis.hset(keys.tainted_files(project), mapping=dict[Any, Any](stored))

    def trust(self, project: str, path: str, taint: FileTaint | None, digest: str) -> bool:
        """A person vouches for a file that has this taint and content. False: it has another
        taint by now.
        """
        names = names_of(path, taint, digest)
        args = [part for pair in names.items() for part in pair]
        return bool(self._run("trust", project, "", "", args)[0] == b"ok")

    def get(self, project: str, commit_id: str) -> Commit | None:
        """One commit, if the log still holds it."""
        found = cast(bytes | None, self._redis.hget(keys.commits(project), commit_id))
        if found is None:
            return None
        seq = self._redis.zscore(keys.commit_log(project), commit_id)
        return Commit.model_validate_json(found).model_copy(update={"seq": int(seq or 0)})

    def newest(self, project: str, *, limit: int | None = None) -> list[Commit]:
        """The project's commits, newest first."""
        last = -1 if limit is None else limit - 1
        ids = cast(
            list[tuple[bytes, float]],
            self._redis.zrange(keys.commit_log(project), 0, last, desc=True, withscores=True),
        )
        if not ids:
            return []
        records = cast(
            list[bytes | None],
            self._redis.hmget(keys.commits(project), [commit_id for commit_id, _ in ids]),
        )
        return [
            Commit.model_validate_json(record).model_copy(update={"seq": int(seq)})
            for (_, seq), record in zip(ids, records, strict=True)
            if record is not None
        ]

    def why(self, project: str, path: str) -> list[Commit]:
        """The commits behind a path, newest first."""
        return [
            commit
            for commit in self.newest(project)
            if any(file.path == path for file in commit.files)
        ]

    def of_goal(self, project: str, goal_id: str) -> list[Commit]:
        """What a goal published and nobody took back, newest first.

        A run that resumes a goal asks this: what is here is already published.
        """
        commits = self.newest(project)
        undone = {commit.undoes for commit in commits if commit.undoes}
        return [
            commit
            for commit in commits
            if commit.goal_id == goal_id and not commit.undoes and commit.commit_id not in undone
        ]

    def since(self, project: str, seq: int, paths: Iterable[str]) -> tuple[str, ...]:
        """Goals whose commits after ``seq`` changed any of these paths, newest first."""
        wanted = set(paths)
        goals = [
            commit.goal_id
            for commit in self.newest(project)
            if commit.seq > seq and any(file.path in wanted for file in commit.files)
        ]
        return tuple(dict.fromkeys(goals))

    def _conflict(self, commit: Commit, found: Sequence[bytes]) -> PublishConflict:
        paths = tuple(path.decode() for path in found[::2])
        by_seq = {each.seq: each.goal_id for each in self.newest(commit.project)}
        others = dict.fromkeys(by_seq.get(int(seq), "an older goal") for seq in found[1::2])
        return conflict(paths, tuple(others))

    def _run(
        self, op: str, project: str, commit_id: str, goal_id: str, args: Iterable[scripts.Argument]
    ) -> list[Any]:
        names = [keys.commit_state(project), keys.commits(project), keys.commit_log(project)]
        names += [keys.commit_paths(project), keys.goal(goal_id), keys.tainted_files(project)]
        script = scripts.load("commits", include=("fence",))
        reply: list[Any] = script.run(self._redis, names, (op, commit_id, *args))
        return reply


def conflict(paths: Sequence[str], others: Sequence[str]) -> PublishConflict:
    """The error for paths that ``others`` changed; nobody: a person or another program did."""
    shown = ", ".join(path.rstrip("/") for path in paths[:10])
    more = f" and {len(paths) - 10:,} more" if len(paths) > 10 else ""
    who = f"goal {', '.join(others[:5])}" if others else "someone outside llmos"
    return PublishConflict(
        f"nothing was published: {shown}{more} changed meanwhile (by {who}).",
        files=tuple(path.rstrip("/") for path in paths),
        others=tuple(others),
        fix="Submit the goal again: it then starts from the files as they are now.",
    )


def _refusal(code: str, goal_id: str) -> Exception:
    if code == "pending":
        return CommitPending()
    if code == "undone":
        return AlreadyUndone()
    if code == "cancel":
        return Cancelled("the goal was cancelled; nothing was published.")
    return LeaseLost(f"the run of goal {goal_id} lost its lease and may publish nothing.")
