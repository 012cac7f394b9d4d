"""Landlock by its three system calls: which files a process and its children may touch."""

from __future__ import annotations

import ctypes
import errno
import os

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_CONNECT = 2

# Rights by the bit in which the kernel defines them.
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << n for n in range(6))
MAKE_DIR, MAKE_REG, MAKE_FIFO, MAKE_SYM = 1 << 7, 1 << 8, 1 << 10, 1 << 12
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_DIR
FULL = (
    READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_FIFO | MAKE_SYM
) | (REFER | TRUNCATE)
DEVICE = READ_FILE | WRITE_FILE
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

_KIND, _FOLDER = 0o170000, 0o040000
"""The bits of a mode that tell the kind of file, and those of a folder."""

_libc = ctypes.CDLL(None, use_errno=True)


class _RulesetAttr(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathAttr(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("fd", ctypes.c_int32))


class _PortAttr(ctypes.Structure):
    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


def abi() -> int:
    """Version of Landlock that the kernel offers; 0 when there is none or it is switched off."""
    version = int(_libc.syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION_FLAG))
    return max(0, version)


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return result


def make_ruleset() -> int:
    """Descriptor of a ruleset that allows nothing yet: no file and, where the kernel knows how
    to forbid them, no TCP, no signals and no abstract sockets to the outside.
    """
    version = abi()
    if version < 1:
        raise OSError(errno.EOPNOTSUPP, "Landlock is not available")
    attr = _RulesetAttr(_handled(version), 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 8 if version < 4 else (16 if version < 6 else 24)
    return _check(_libc.syscall(_CREATE, ctypes.byref(attr), ctypes.c_size_t(size), 0))


def allow(ruleset: int, paths: list[str], rights: int, *, missing_ok: bool = False) -> None:
    """Add rules for ``paths`` and all below them: READ, FULL or DEVICE. Raises OSError.

    A rule holds on to what its path names now, whatever is moved later.
    """
    rights &= _handled(abi())
    for path in paths:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            if missing_ok:
                continue
            raise
        try:
            folder = os.fstat(fd).st_mode & _KIND == _FOLDER
            attr = _PathAttr(rights if folder else rights & _OF_FILES, fd)
            _check(_libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(attr), 0))
        finally:
            os.close(fd)


def allow_connect(ruleset: int, port: int) -> None:
    """Add a rule for TCP connections to a port, where the kernel would forbid them."""
    if abi() >= 4:
        attr = _PortAttr(_CONNECT, port)
        _check(_libc.syscall(_ADD_RULE, ruleset, _NET_PORT, ctypes.byref(attr), 0))


def _handled(version: int) -> int:
    """The rights to files that a version of Landlock can forbid."""
    handled = (1 << 13) - 1
    handled |= REFER if version >= 2 else 0
    handled |= TRUNCATE if version >= 3 else 0
    return handled | (IOCTL_DEV if version >= 5 else 0)


def restrict(ruleset: int) -> None:
    """Put this process and all it will start under the ruleset. Needs no_new_privs."""
    _check(_libc.syscall(_RESTRICT, ruleset, 0))
    os.close(ruleset)
