"""What a guard protects, as data: folders, files, hosts."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from llmos_workers.execution.secret_files import SECRET_GLOBS
from llmos_workers.execution.tools.globs import glob_pattern

READABLE = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt"),
    *("/etc/os-release", "/etc/hostname", "/etc/ssl/certs", "/etc/mime.types", "/etc/timezone"),
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/loadavg", "/proc/version", "/proc/uptime"),
    *("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"),
    *("/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/fd"),
)
"""What every program may read: the system's programs, and facts about the machine."""

WRITABLE = ("/tmp", "/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty", "/dev/fd")  # noqa: S108
"""The folder for temporary files is private to a run inside the sandbox, or not there."""

ALWAYS_PROTECTED = (
    *("**/.git/hooks/**", "**/.git/hooks", "**/.git/config", "**/.gitmodules"),
    *("**/.claude/**", "**/.claude", "**/.mcp.json", "**/.vscode/**", "**/.vscode", "**/.envrc"),
)
"""Files of a project that make other programs run something later."""


@dataclass(frozen=True)
class GuardPolicy:
    """What may be read, written and reached. Paths of the project are relative to it."""

    workspace: str
    """Real path of the folder that the tools work in; also where commands start."""
    home: str = "/home/agent"
    protected: tuple[str, ...] = ALWAYS_PROTECTED
    """Globs that no tool may write; reading is fine."""
    secrets: tuple[str, ...] = SECRET_GLOBS
    """Globs whose reading needs a yes."""
    readable: tuple[str, ...] = READABLE
    writable: tuple[str, ...] = WRITABLE
    hosts: tuple[str, ...] = ()
    """Hosts that may be reached without asking, with their subdomains."""
    follow_links: bool = True
    """Whether paths are resolved on this machine's disk; a guard of another machine's files
    cannot."""
    _patterns: dict[str, tuple[re.Pattern[str], ...]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def patterns(self, name: str) -> tuple[re.Pattern[str], ...]:
        """The globs of ``protected`` or ``secrets``, ready to match."""
        if name not in self._patterns:
            globs: tuple[str, ...] = getattr(self, name)
            self._patterns[name] = tuple(glob_pattern(one.lower()) for one in globs)
        return self._patterns[name]

    def protected_roots(self) -> tuple[str, ...]:
        """The fixed first parts of the protected globs: ``agents`` for ``agents/**``."""
        roots = (
            re.split(r"[*?\[{]", one.removeprefix("**/"), maxsplit=1)[0] for one in self.protected
        )
        return tuple(sorted({root.rstrip("/") for root in roots if root.strip("/")}))
