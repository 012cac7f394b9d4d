"""The first rules on commands: few, on parsed words, for what nobody wants unattended.

Pure functions. Each rule takes a simple command and returns the reason for refusing it, or "".
"""

from __future__ import annotations

import re
from collections.abc import Callable

from llmos_workers.execution.hooks.shellwords import SHELLS, Simple

_DOWNLOADERS = frozenset({"curl", "wget", "fetch", "aria2c", "lwp-request", "http"})
_INTERPRETERS = SHELLS | {"node", "perl", "php", "ruby", "source", ".", "tclsh", "lua"}
_PYTHON = re.compile(r"python[0-9.]*|pypy[0-9.]*")
_SQL_CLIENTS = frozenset(
    {"sqlite3", "sqlite", "psql", "mysql", "mariadb", "duckdb", "clickhouse-client", "sqlcmd"}
)
_DISK_TOOLS = frozenset(
    {"mkfs", "mke2fs", "mkswap", "fdisk", "sfdisk", "parted", "wipefs", "format", "blkdiscard"}
)
_POWER = frozenset({"shutdown", "reboot", "halt", "poweroff", "telinit"})
_REMOVERS = frozenset({"rm", "rmdir", "unlink", "shred", "trash"})
_SECRET_FILE = re.compile(
    r"(^|/)(\.ssh|\.aws|\.gnupg|\.kube|\.netrc|\.docker)(/|$)"
    r"|^/etc/(shadow|gshadow|sudoers)|^/proc/\w+/(environ|mem|root)|^/dev/(mem|kmem|port)"
)
_DISK_DEVICE = re.compile(r"/dev/(sd|hd|vd|xvd|nvme|mmcblk|dm-|md|loop|disk)")
_BOMB = re.compile(r"([\w:.]+)\(\)\{.*?\1\|\1&.*?\}")
_DESTRUCTIVE_GIT = re.compile(r"reset.* --hard|clean( |$)|push.*( --force| -f)|checkout.* -- ")
# For command lines that cannot be read: with one of these in it, the answer is no.
OBVIOUS = re.compile(r"\b(rm|dd|mkfs\w*|shred|curl|wget|sudo|eval|psql|mysql|sqlite3|format)\b")


def is_bomb(command: str) -> bool:
    """Whether a function pipes itself into itself in the background, whatever its name."""
    return _BOMB.search(re.sub(r"\s+", "", command)) is not None


def outside(path: str) -> bool:
    """Whether a word, taken as a path, points out of the project's folder."""
    if path.startswith("/tmp/") and ".." not in path:  # noqa: S108
        return False  # nothing is there inside the sandbox
    if path.startswith(("/", "~", "$HOME", "${HOME")):
        return True
    return path == ".." or path.startswith("../") or "/../" in path or path.endswith("/..")


def _operands(command: Simple) -> list[str]:
    return [word for word in command.words[1:] if not word.startswith("-")]


def removes_outside(command: Simple) -> str:
    """rm and its like on anything that is not in the project's folder."""
    if command.program not in _REMOVERS:
        return ""
    for path in _operands(command):
        if outside(path):
            return f"it removes {path}, which is outside the project's folder"
    return ""


def removes_everything(command: Simple) -> str:
    """rm -r of the project's folder itself or of all in it."""
    recursive = any(
        word == "--recursive" or re.fullmatch(r"-\w*[rR]\w*", word) for word in command.words[1:]
    )
    if command.program == "rm" and recursive:
        for path in _operands(command):
            if path.rstrip("/") in (".", "*", "./*", "$PWD", "$(…)"):
                return "it removes everything in the project's folder"
    if command.program == "find" and "-delete" in command.words:
        filtered = any(w in ("-name", "-iname", "-path", "-regex", "-type") for w in command.words)
        return "" if filtered else "it removes everything that find meets"
    return ""


def finds_outside(command: Simple) -> str:
    """find -delete or -exec rm over folders that are not the project's."""
    if command.program != "find" or not {"-delete", "rm", "shred"} & set(command.words):
        return ""
    for path in command.words[1:]:
        if path.startswith("-"):
            break
        if outside(path):
            return f"it removes files under {path}, which is outside the project's folder"
    return ""


def runs_download(command: Simple) -> str:
    """What a downloader fetched, or what was decoded, fed to an interpreter."""
    name = command.program
    if not (name in _INTERPRETERS or name == "eval" or _PYTHON.fullmatch(name)):
        return ""
    sources = {before.program for before in command.upstream}
    for inner in command.inner:
        sources |= {word.rsplit("/", 1)[-1] for word in inner.split()}
    # python3 -m json.tool reads data from stdin, not a program.
    if "-m" in command.words and _PYTHON.fullmatch(name):
        return ""
    if sources & _DOWNLOADERS:
        return f"it feeds a download to {name}"
    decoded = sources & {"base64", "xxd", "base32", "openssl"}
    if decoded and name in _INTERPRETERS | {"eval"}:
        return f"it feeds decoded text to {name}"
    return ""


def writes_sql(command: Simple) -> str:
    """DROP, TRUNCATE or DELETE without WHERE sent to a database through its client."""
    if command.program not in _SQL_CLIENTS:
        return ""
    texts = [*command.words[1:], *command.fed, *command.inner]
    for before in command.upstream:
        texts += [*before.words[1:], *before.fed]
    for text in texts:
        for statement in re.sub(r"'[^']*'|--[^\n]*", " ", text).split(";"):
            words = " ".join(statement.lower().split()).strip("\"' ")
            drops = re.search(r"(^|\(|echo )\W*(drop (table|database|schema)|truncate)\b", words)
            deletes = re.search(r"(^|echo )\W*delete from\b", words) and " where " not in words
            if drops or deletes:
                return "it destroys data of a database"
    return ""


def touches_devices(command: Simple) -> str:
    """Making file systems, writing to disks, switching the machine off."""
    name = command.program
    if name in _DISK_TOOLS or name.startswith("mkfs."):
        return f"{name} destroys file systems"
    if name in _POWER or (name == "init" and command.words[1:2] in (["0"], ["6"])):
        return f"{name} stops the machine"
    if any(_DISK_DEVICE.match(path) for path in written_paths(command)):
        return "it writes to a disk device"
    return ""


def truncates(command: Simple) -> str:
    """truncate on globs, on paths outside, or to sizes that fill disks."""
    if command.program != "truncate":
        return ""
    for path in _operands(command):
        if outside(path) or "*" in path:
            return f"it truncates {path}"
    huge = re.search(r"\d{4,}G|\d{3,}G|\d+[TPE]", " ".join(command.words))
    return "it makes a file that fills the disk" if huge else ""


def reads_secrets(command: Simple) -> str:
    """Words that name keys, password files or other processes' memory."""
    words = command.words[1:]
    if command.program in ("grep", "rg", "sed", "awk", "echo", "printf", "git"):
        words = words[1:]  # the first is a pattern or a text, hardly a file
    for word in [*words, *command.targets]:
        value = word.partition("=")[2] or word
        for path in (word, value, value.lstrip("@<")):
            plain = re.sub(r"^(~|\$HOME|\$\{HOME\})", "/home/user", path)
            if _SECRET_FILE.search(plain):
                return f"it names the secret {path}"
    return ""


def writes_outside(command: Simple) -> str:
    """Redirections, and changes of mode or owner, outside the project's folder."""
    harmless = ("/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty", "/dev/fd/")
    for path in command.targets:
        if outside(path) and not path.startswith(harmless):
            return f"it writes to {path}, which is outside the project's folder"
    if command.program in ("chmod", "chown", "chgrp"):
        for path in _operands(command)[1:]:
            if outside(path):
                return f"it changes {path}, which is outside the project's folder"
    return ""


def signals_others(command: Simple) -> str:
    """kill of every process, or of the first."""
    if command.program == "kill" and {"-1", "1"} & set(command.words[2:]):
        return "it signals processes that are not its own"
    return ""


_WRITERS = _REMOVERS | {
    *("mv", "cp", "tee", "touch", "ln", "install", "chmod", "chown", "truncate", "patch", "rsync")
}


def written_paths(command: Simple) -> list[str]:
    """Paths that a command plainly writes: redirections and operands of writing programs."""
    written = [*command.targets, *(w[3:] for w in command.words if w.startswith("of="))]
    in_place = command.program == "sed" and any(w.startswith("-i") for w in command.words)
    if command.program in _WRITERS or in_place:
        written += _operands(command)
    return written


DENIED: tuple[tuple[str, Callable[[Simple], str]], ...] = (
    ("rm-outside", removes_outside),
    ("find-outside", finds_outside),
    ("run-download", runs_download),
    ("sql", writes_sql),
    ("device", touches_devices),
    ("truncate", truncates),
    ("secret", reads_secrets),
    ("write-outside", writes_outside),
    ("signal", signals_others),
)
CONFIRMED: tuple[tuple[str, Callable[[Simple], str]], ...] = (("wipe", removes_everything),)


def destructive(command: Simple) -> bool:
    """Whether a command removes or overwrites what may not come back."""
    if command.program == "git":
        return _DESTRUCTIVE_GIT.search(" ".join(command.words)) is not None
    removes = command.program in _REMOVERS | {"truncate", "dd"}
    return removes or "-delete" in command.words or bool(writes_sql(command))
