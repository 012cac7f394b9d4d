"""pip, npm and other package managers: where packages come from, what is published."""

from __future__ import annotations

import re

from llmos_workers.execution.guard.generic import generic
from llmos_workers.execution.guard.lists import words
from llmos_workers.execution.guard.marks import UNKNOWN
from llmos_workers.execution.guard.paths import Use
from llmos_workers.execution.guard.programs import Options
from llmos_workers.execution.guard.scope import Call

_SOURCES = re.compile(r"-[if]|--[\w-]*(index|registry|source|links|proxy|trusted-host)[\w-]*")
"""Options that say where packages come from."""
_PUBLISHES = words(
    "publish upload login logout adduser token owner unpublish deprecate access yank dist-tag "
    "whoami_ profile team hook star"
)
_RUNS = frozenset({"exec", "dlx", "x"})
_DENIED = re.compile(
    r"--(install-option|global-option|build-option|config-settings|script-shell|prefix-dir|node-options|userconfig|globalconfig)(=|$)"
)


def manager(call: Call) -> str:
    """A package manager: installing from where it is configured to is fine inside the sandbox."""
    args = call.args
    command = next((arg for arg in args if not arg.startswith("-")), "")
    if command in _PUBLISHES:
        return call.deny("publish", f"{call.name} {command} acts in your name")
    for index, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        value = value if equals else "".join(args[index + 1 : index + 2])
        if _DENIED.match(arg):
            return call.deny("option", f"{name} runs what the package says")
        if _SOURCES.fullmatch(name) and not (name == "-f" and call.name not in ("pip", "pip3")):
            _source(call, name, value)
        elif re.match(
            r"(git\+|hg\+|svn\+|bzr\+)?(https?|ssh|git|file|ftp)://|git\+|git@|github:", arg
        ):
            _address(call, arg)
        elif name in (
            "-t",
            "--target",
            "--prefix",
            "--root",
            "--user-base",
            "-d",
            "--dest",
        ) and command in ("install", "download"):
            call.scope.path(value, Use.WRITE)
        elif name in ("-r", "--requirement", "-c", "--constraint"):
            call.scope.path(value, Use.READ)
    if command in ("uninstall", "remove", "rm", "cache", "clean") and call.name in ("pip", "pip3"):
        call.confirm("packages", "it removes packages") if command == "uninstall" else None
    if command == "config" and len(args) > 2 and "get" not in args and "list" not in args:
        return call.deny("packages", "it changes where packages come from")
    if command in _RUNS and call.name in ("npm", "yarn", "pnpm", "bun"):
        rest = [arg for arg in args[args.index(command) + 1 :] if arg not in ("--", "-y", "--yes")]
        return npx_words(call, rest)
    if command in ("run", "tool") and call.name in (
        "uv",
        "poetry",
        "pipenv",
        "pdm",
        "hatch",
        "rye",
        "conda",
    ):
        rest = [arg for arg in args[args.index(command) + 1 :] if not arg.startswith("-")]
        tail = args[args.index(rest[0]) :] if rest else []
        return call.scope.machine.run(tail, call.scope, call.stdin) if tail else UNKNOWN
    return generic(call, "tool", Options())


def _source(call: Call, name: str, value: str) -> None:
    if name == "--trusted-host":
        call.confirm("packages", "it trusts a host without a certificate")
    elif "://" in value:
        call.scope.url(value)
        call.confirm("packages", f"packages would come from {value[:80]}")
    elif name in ("--proxy",):
        call.deny("network", "it goes through a proxy")


def _address(call: Call, arg: str) -> None:
    address = re.sub(r"^(git|hg|svn|bzr)\+", "", arg)
    if address.startswith("github:"):
        address = f"https://github.com/{address[7:]}"
    if address.startswith("git@"):
        call.scope.host(re.split(r"[@:]", address)[1])
        return
    call.scope.url(re.sub(r"^ssh://(git@)?", "https://", address))


def npx(call: Call) -> str:
    """npx: runs a package's program."""
    return npx_words(
        call, [arg for arg in call.args if arg not in ("-y", "--yes", "--no-install", "--")]
    )


def npx_words(call: Call, words: list[str]) -> str:
    """The program behind npx, npm exec and the like."""
    if words[:1] in (["-c"], ["--call"]):
        return call.scope.machine.script(" ".join(words[1:]), call.scope.deeper(), call.stdin)
    while words and words[0].startswith("-"):
        if words[0] in ("-p", "--package"):
            return call.confirm("packages", "it runs a program of any package")
        words = words[1:]
    if not words:
        return UNKNOWN
    name = re.sub(r"(?<=.)@[\w.^~-]+$", "", words[0]).rsplit("/", 1)[-1]
    return call.scope.machine.run([name, *words[1:]], call.scope, call.stdin)


def system(call: Call) -> str:
    """apt and its like: looking is fine, installing is the host's business."""
    if any(re.match(r"-o|--option|-c=|--config-file", arg) and len(arg) > 1 for arg in call.args):
        return call.deny("option", "it changes how packages are installed")
    command = next((arg for arg in call.args if not arg.startswith("-")), "")
    looking = {
        "list",
        "search",
        "show",
        "info",
        "policy",
        "depends",
        "rdepends",
        "madison",
        "pkgnames",
        "",
    }
    queries = call.name in ("dpkg", "rpm") and any(
        re.fullmatch(
            r"-[lLsSqW][a-z]*|--(list|status|search|query|get-selections|print-architecture)", a
        )
        for a in call.args
    )
    if (
        (command in looking and call.name not in ("dpkg", "rpm"))
        or queries
        or call.name in ("dpkg-query", "apt-cache")
    ):
        return UNKNOWN
    return call.deny("packages", "it changes the machine's programs")


HANDLERS = {
    **dict.fromkeys(
        words(
            "pip pip3 pipx uv poetry pipenv pdm hatch rye conda mamba npm yarn pnpm gem "
            "bundle bundler cargo go composer nuget rustup nvm pyenv asdf cpan cpanm luarocks "
            "opam mise volta corepack"
        ),
        manager,
    ),
    **{"npx": npx, "bunx": npx, "pnpx": npx, "uvx": npx},
    **dict.fromkeys(
        words(
            "apt apt-get aptitude dpkg rpm yum dnf zypper pacman apk brew snap flatpak port "
            "emerge apt-cache dpkg-query apt-key add-apt-repository dpkg-deb nix-env guix "
            "apt-mark"
        ),
        system,
    ),
}
