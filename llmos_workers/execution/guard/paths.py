"""What may be done with a path, as far as its text and the disk tell."""

from __future__ import annotations

import fnmatch
import os
import posixpath
import re
from enum import Enum

from llmos_workers.execution.guard.marks import ANY_MARK, GLOB, INSIDE, UNSET, shown
from llmos_workers.execution.guard.policy import GuardPolicy
from llmos_workers.execution.guard.verdict import FINE, Finding, confirm, deny

HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f\u00a0\u00ad\u115f\u1160\u200b-\u200f\u2028-\u202e\u2044\u205f-\u206f"
    "\u2215\u3000\ufeff\ue000-\uf8ff\U000e0000-\U000e007f]"
)
"""Characters that hide or turn around what a person would read."""

_STANDARD = re.compile(r"/dev/(stdin|stdout|stderr|null|tty|fd/\d+)")
_MACHINE = re.compile(r"/(proc|sys|dev)(/|$)")


class Use(Enum):
    """What is done with a path."""

    READ = "reads"
    WRITE = "writes"
    DELETE = "removes"
    WIPE = "removes with all that is in it"
    """Recursive."""

    @property
    def changes(self) -> bool:
        """Whether anything is different afterwards."""
        return self is not Use.READ


def check_path(path: str, use: Use, policy: GuardPolicy, cwd: str) -> Finding:
    """Judge one path as a program gets it; ``cwd`` is absolute."""
    if not path.replace(UNSET, ""):
        return FINE
    if re.search(r"\\.*\.\.|\.\.\\", path):
        return deny("path", f"{shown(path)!r} is spelled so that it may lead elsewhere")
    if ANY_MARK.sub("", path) != path:
        return _half_known(path, use, policy, cwd)
    full = path if path.startswith("/") else f"{cwd}/{path}"
    return _known(full, path, use, policy)


def _known(full: str, said: str, use: Use, policy: GuardPolicy) -> Finding:  # noqa: PLR0911 - one way out for each case
    if _STANDARD.fullmatch(full):
        return FINE
    lexical = _normal(full)
    real = _real(full, policy)
    if _MACHINE.match(lexical) and not _below(lexical, policy.readable):
        return deny("path", f"it {use.value} {said}, which belongs to the machine")
    for place in (real, lexical):
        inside = _relative(place, policy.workspace)
        if inside is not None:
            finding = _inside(inside, said, use, policy)
            if finding is not FINE:
                return finding
    if _relative(real, policy.workspace) is not None:
        return FINE
    if _below(real, policy.writable) and not (
        use in (Use.DELETE, Use.WIPE) and _is_root(real, policy.writable)
    ):
        return FINE
    if not use.changes and _below(real, policy.readable):
        return FINE
    return deny("path", f"it {use.value} {shown(said)}, which is outside the project's folder")


def _inside(relative: str, said: str, use: Use, policy: GuardPolicy) -> Finding:
    lower = relative.lower()
    if use.changes:
        if use is Use.WIPE and relative in (".", ".git"):
            return confirm("wipe", f"it {use.value} {said}")
        if use in (Use.WIPE, Use.DELETE) and any(
            root.startswith(f"{lower}/") for root in policy.protected_roots()
        ):
            return deny("protected", f"it {use.value} {said}, with protected files in it")
        below = f"{lower}/x"
        for pattern in policy.patterns("protected"):
            if pattern.fullmatch(lower) or pattern.fullmatch(below):
                return deny("protected", f"it {use.value} {said}, which is protected")
        return FINE
    if any(pattern.fullmatch(lower) for pattern in policy.patterns("secrets")):
        return confirm("secret", f"it reads {said}, which holds secrets by its name")
    return FINE


def _half_known(path: str, use: Use, policy: GuardPolicy, cwd: str) -> Finding:
    """A path with parts that only the run knows: its known beginning is judged."""
    plain = path.replace(UNSET, "")
    first = ANY_MARK.search(plain)
    if first is None:
        return _unset(plain, use, policy, cwd)
    start = plain[: first.start()]
    if "/.." in plain[first.start() :] and GLOB not in plain:
        return confirm("path", f"{shown(path)} may lead out of the project's folder")
    if UNSET in path and start.startswith("/"):
        return _unset(start, use, policy, cwd)
    folder = start.rsplit("/", 1)[0] + "/" if "/" in start else ""
    if start.startswith("/") or ".." in start:
        finding = _known(_join(cwd, f"{folder or start}_"), shown(path), use, policy)
        if finding.rule != "wipe":
            return finding
    return _may_match(plain, use, policy, cwd)


def _unset(plain: str, use: Use, policy: GuardPolicy, cwd: str) -> Finding:
    """A path behind a variable that nobody set: as bash would see it, without the variable."""
    finding = _known(
        _join(cwd, plain), f"{shown(plain)} (a variable in it is not set)", use, policy
    )
    if finding.rule != "path" or use is Use.WIPE or _sensitive(plain):
        return finding
    return confirm("path", finding.reason) if use.changes else FINE


def _sensitive(path: str) -> bool:
    return re.match(r"/+(etc|root|home|proc|sys|var|dev|boot|srv|run)(/|$)|~", path) is not None


def _may_match(path: str, use: Use, policy: GuardPolicy, cwd: str) -> Finding:
    """Whether a path with unknown parts below the project can be a protected or secret one."""
    whole = _relative(_join(cwd, path), policy.workspace)
    if whole is None:
        return FINE
    parts = whole.split("/")
    if use is Use.WIPE and path.removeprefix("./") == GLOB:
        return confirm("wipe", f"it {use.value} {shown(path)}")
    if use is Use.WIPE and not ANY_MARK.sub("", whole).strip("./") and INSIDE not in path:
        return confirm("wipe", f"it {use.value} what only the run knows")
    if not use.changes:
        return FINE
    for root in policy.protected_roots():
        goals = root.split("/")
        count = min(len(goals), len(parts))
        if use in (Use.WRITE, Use.DELETE) and len(parts) < len(goals):
            continue
        tried = [(_as_glob(part), goal) for part, goal in zip(parts, goals, strict=False)]
        telling = any(re.search(r"\w", ANY_MARK.sub("", part)) for part in parts[:count])
        if telling and all(fnmatch.fnmatchcase(goal, glob) for glob, goal in tried):
            return confirm("protected", f"{shown(path)} may name {root}, which is protected")
    return FINE


def _as_glob(part: str) -> str:
    return ANY_MARK.sub("*", part.lower().replace("[", "[[]"))


def _join(cwd: str, path: str) -> str:
    return path if path.startswith("/") else f"{cwd}/{path}"


def _normal(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))


def _real(full: str, policy: GuardPolicy) -> str:
    if not policy.follow_links:
        return _normal(full)
    try:
        return os.path.realpath(full)
    except (OSError, ValueError):
        return "/unreadable"


def _relative(place: str, folder: str) -> str | None:
    """``place`` as seen from the folder, ``.`` for itself; None outside of it."""
    place = _normal(place)
    if place == folder:
        return "."
    return place[len(folder) + 1 :] if place.startswith(f"{folder}/") else None


def _below(place: str, folders: tuple[str, ...]) -> bool:
    return any(place == folder or place.startswith(f"{folder}/") for folder in folders)


def _is_root(place: str, folders: tuple[str, ...]) -> bool:
    return place in folders and not place.startswith("/dev/")
