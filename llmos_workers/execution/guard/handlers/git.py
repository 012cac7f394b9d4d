"""git: what each subcommand changes, and the options by which git runs other programs."""

from __future__ import annotations

import re

from llmos_workers.execution.guard.handlers.interpreters import run_text
from llmos_workers.execution.guard.lists import words
from llmos_workers.execution.guard.marks import INSIDE, UNKNOWN, known
from llmos_workers.execution.guard.paths import Use
from llmos_workers.execution.guard.scope import Call

_HARMLESS_KEYS = re.compile(
    r"(user|author|committer)\.(name|email)|color\..*|core\.(quotepath|autocrlf|eol|abbrev|longpaths)"
    r"|init\.defaultbranch|advice\..*|log\..*|diff\.(renames|algorithm|context|colormoved)"
    r"|pull\.(rebase|ff)|push\.default|merge\.(ff|conflictstyle)|commit\.gpgsign|tag\.gpgsign"
    r"|gc\.auto|protocol\.version|http\.(postbuffer|lowspeedlimit|lowspeedtime)|status\..*"
    r"|column\..*|format\.pretty|fetch\.prune|rebase\.(autostash|autosquash)",
    re.I,
)
_RUNS = re.compile(
    r"--(upload-pack|receive-pack|exec|ext-diff|open-files-in-pager|extcmd|exec-path|textconv|tool"
    r"|template|config-env|sendmail-cmd|smtp-server|edit-cmd|web-browse|namespace|separate-git-dir)(=|$)"
)
_READS = words(
    "status log diff show branch tag rev-parse rev-list ls-files ls-tree cat-file blame grep "
    "describe shortlog remote reflog config stash help version merge-base name-rev show-ref "
    "for-each-ref count-objects fsck check-ignore check-attr diff-tree diff-index diff-files "
    "whatchanged ls-remote cherry range-diff var symbolic-ref verify-commit verify-tag bundle "
    "notes archive show-branch worktree annotate check-ref-format interpret-trailers"
)
_WRITES = words(
    "add commit checkout switch restore merge rebase pull fetch push init clone mv rm reset "
    "clean cherry-pick revert apply am format-patch submodule gc prune repack sparse-checkout "
    "lfs update-index read-tree write-tree commit-tree hash-object update-ref pack-refs "
    "bisect mktag mktree maintenance rerere stage subtree unpack-objects index-pack"
)
_REFUSED = {
    "filter-branch": "it rewrites history with commands",
    "filter-repo": "it rewrites history with commands",
    "difftool": "it runs another program",
    "mergetool": "it runs another program",
    "send-email": "it sends mail",
    "daemon": "it serves the repository",
    "instaweb": "it serves the repository",
    "http-backend": "it serves the repository",
    "credential": "it shows passwords",
    "credential-store": "it shows passwords",
    "hook": "it runs hooks",
    "shell": "it starts a shell",
    "svn": "it talks to another machine",
    "p4": "it talks to another machine",
    "web--browse": "it runs another program",
    "for-each-repo": "it runs commands elsewhere",
    "upload-pack": "it serves the repository",
    "receive-pack": "it serves the repository",
    "remote-ext": "it runs another program",
    "remote-fd": "it runs another program",
}
_REMOTE = frozenset(
    {"clone", "fetch", "pull", "push", "ls-remote", "remote", "submodule", "archive"}
)


def git(call: Call) -> str:
    """git: first its own options, then the subcommand."""
    args = list(call.args)
    while args and args[0].startswith("-"):
        arg = args.pop(0)
        name, equals, value = arg.partition("=")
        if name in (
            "-C",
            "--git-dir",
            "--work-tree",
            "-c",
            "--exec-path",
            "--namespace",
            "--config-env",
        ):
            value = value if equals else (args.pop(0) if args else "")
        if name in ("-c", "--config-env"):
            key = value.partition("=")[0]
            if not _HARMLESS_KEYS.fullmatch(key):
                return call.deny("git", f"the setting {key} may make git run something")
        elif name in ("-C", "--git-dir", "--work-tree"):
            call.scope.path(value, Use.WRITE if name == "-C" else Use.READ)
            if name != "-C" and value.startswith(("/tmp", "../")):  # noqa: S108
                call.confirm(
                    "git", "the repository's own settings run programs, and it lies outside"
                )
        elif name == "--exec-path" and equals:
            return call.deny("git", "git would take its programs from elsewhere")
    if not args:
        return UNKNOWN
    return _subcommand(call, args[0], args[1:])


def _subcommand(call: Call, command: str, args: list[str]) -> str:  # noqa: PLR0911 - one way out for each case
    if command in _REFUSED:
        return call.deny("git", _REFUSED[command])
    for arg in args:
        if _RUNS.match(arg) and not (command in ("archive",) and arg.startswith("--output")):
            return call.deny("git", f"the option {arg.split('=')[0]} makes git run something")
        if command == "grep" and arg.startswith("-O"):
            return call.deny("git", "it opens files in another program")
    if command in _REMOTE:
        _remotes(call, command, args)
    handler = _SPECIAL.get(command)
    if handler is not None:
        handler(call, args)
    _paths(call, command, args)
    if command not in _READS | _WRITES:
        return call.confirm("git", f"git {command} is not known to the guard")
    if command in ("ls-files", "diff", "grep", "ls-tree", "show", "status", "log"):
        return INSIDE
    if command == "rev-parse":
        return call.scope.policy.workspace if "--show-toplevel" in args else UNKNOWN
    return UNKNOWN


def _paths(call: Call, command: str, args: list[str]) -> None:
    for index, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        if name in ("--output", "--output-directory", "--directory") or (
            name == "-o" and command in ("format-patch", "archive")
        ):
            call.scope.path(value if equals else "".join(args[index + 1 : index + 2]), Use.WRITE)
        elif "--no-index" in args and not arg.startswith("-"):
            call.scope.path(arg, Use.READ)
        elif re.match(r"(/|~|\.\./)", arg) and command not in ("log", "commit", "check-ignore"):
            call.scope.path(
                arg, Use.WRITE if command in ("clone", "worktree", "init") else Use.READ
            )
        elif name in ("-F", "--file") and command in ("commit", "tag", "notes"):
            call.scope.path(value or "".join(args[index + 1 : index + 2]), Use.READ)
    if command == "rm" and "." in args:
        _destroys(call, ["rm", *args])
    if command == "add":
        for arg in args:
            call.scope.path("." if arg.startswith("-") else arg, Use.READ)
    if command in ("rm", "mv", "checkout", "restore"):
        for arg in args:
            if not arg.startswith("-") and (command in ("rm", "mv") or "/" in arg):
                call.scope.path(arg, Use.WRITE)


def _remotes(call: Call, command: str, args: list[str]) -> None:
    operands = [re.sub(r"^--(remote|repo)=", "", arg) for arg in args]
    for arg in (one for one in operands if not one.startswith("-")):
        if re.match(r"(ext|fd)::", arg):
            call.deny("git", f"{arg} makes git run something")
        elif re.match(r"(https?|git|ssh|ftps?|file)://", arg):
            plain = re.sub(r"^(ssh|git)://(git@)?", "https://", arg)
            call.scope.url(plain)
        elif match := re.match(r"(?:[\w.-]+@)?([\w.-]+\.[\w.-]+):(?!\d+$)", arg):
            call.scope.host(match[1])
        elif not known(arg) and command == "clone":
            call.confirm("network", "where it clones from is only known at run time")
    if any(arg.startswith("--recurse-submodules") for arg in args) and command == "clone":
        return


def _config(call: Call, args: list[str]) -> None:
    reading = {
        "--get",
        "--get-all",
        "--list",
        "-l",
        "--get-regexp",
        "--show-origin",
        "get",
        "list",
        "--get-urlmatch",
    }
    if reading & set(args):
        return
    operands = [arg for arg in args if not arg.startswith("-")]
    if "--file" in args or "-f" in args:
        at = next(i for i, arg in enumerate(args) if arg in ("--file", "-f"))
        call.scope.path("".join(args[at + 1 : at + 2]), Use.WRITE)
        operands = [one for one in operands if one not in args[at + 1 : at + 2]]
    if "--global" in args or "--system" in args:
        call.deny("git", "it changes the settings of all projects")
    if len(operands) > 1 or {"--unset", "--add", "--replace-all", "-e", "--edit", "set"} & set(
        args
    ):
        key = next((one for one in operands if "." in one), "")
        if not _HARMLESS_KEYS.fullmatch(key):
            call.deny("git", f"the setting {key or 'it edits'} may make git run something")


def _destroys(call: Call, args: list[str]) -> None:
    call.scope.shared.destructive = True
    call.confirm("wipe", f"it throws work away ({' '.join(args)[:60]})")


def _reset(call: Call, args: list[str]) -> None:
    if {"--hard", "--merge", "--keep"} & set(args):
        _destroys(call, ["reset", *args])


def _clean(call: Call, args: list[str]) -> None:
    short = "".join(arg[1:] for arg in args if re.fullmatch(r"-[a-zA-Z]+", arg))
    if not ("n" in short or "--dry-run" in args):
        _destroys(call, ["clean", *args])


def _push(call: Call, args: list[str]) -> None:
    forced = any(re.match(r"--force|--mirror|--delete|--prune|-[a-zA-Z]*[fd]", arg) for arg in args)
    if forced or any(arg.startswith(("+", ":")) for arg in args):
        _destroys(call, ["push", *args])


def _checkout(call: Call, args: list[str]) -> None:
    if "." in args or "-f" in args or "--force" in args or args[:1] == ["--"]:
        _destroys(call, ["checkout", *args])


def _restore(call: Call, args: list[str]) -> None:
    if "." in args and "--staged" not in args:
        _destroys(call, ["restore", *args])


def _stash(call: Call, args: list[str]) -> None:
    if args[:1] in (["drop"], ["clear"]):
        _destroys(call, ["stash", *args])


def _branch(call: Call, args: list[str]) -> None:
    if "-D" in args:
        _destroys(call, ["branch", *args])


def _bisect(call: Call, args: list[str]) -> None:
    if args[:1] == ["run"]:
        call.scope.machine.run(args[1:], call.scope.deeper(), None)


def _rebase(call: Call, args: list[str]) -> None:
    for index, arg in enumerate(args):
        if arg in ("-x", "--exec"):
            call.deny("git", "it runs a command for each commit")
        elif arg.startswith("-x"):
            run_text(call, arg[2:], None)
        del index


def _submodule(call: Call, args: list[str]) -> None:
    if args[:1] == ["foreach"]:
        run_text(call, " ".join(arg for arg in args[1:] if arg != "--recursive"), None)
    elif args[:1] in (["add"], ["set-url"]):
        call.confirm("git", "it takes up another repository")


def _remote(call: Call, args: list[str]) -> None:
    if args[:1] in (["set-url"], ["rm"], ["remove"]):
        call.confirm("git", "it changes where git pushes to")


def _reflog(call: Call, args: list[str]) -> None:
    if args[:1] in (["expire"], ["delete"]):
        _destroys(call, ["reflog", *args])


def _history(call: Call, args: list[str]) -> None:
    if "-d" in args or "--delete" in args or "--stdin" in args:
        _destroys(call, ["update-ref", *args])


_SPECIAL = {
    **{"config": _config, "reset": _reset, "clean": _clean, "push": _push, "remote": _remote},
    **{"checkout": _checkout, "switch": _checkout, "restore": _restore, "stash": _stash},
    **{"branch": _branch, "bisect": _bisect, "rebase": _rebase, "submodule": _submodule},
    **{"reflog": _reflog, "update-ref": _history},
}

HANDLERS = {"git": git}
