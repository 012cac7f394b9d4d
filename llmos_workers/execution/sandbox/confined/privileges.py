"""Giving up what a process could do as its user: limits, user, capabilities."""

from __future__ import annotations

import ctypes
import os
import resource

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_CAPBSET_DROP = 1, 8, 24
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 36, 38, 47
_AMBIENT_RAISE = 2
_DAC_READ_SEARCH = 2
_LAST_CAPABILITY = 63
_CAPABILITY_V3 = 0x20080522


def _prctl(option: int, *values: int) -> bool:
    return bool(_libc.prctl(option, *(*values, 0, 0, 0, 0)[:4]) == 0)


def _must(done: bool, what: str) -> None:
    if not done:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def become_subreaper() -> None:
    """Orphans among our descendants come to us, not to init."""
    _must(_prctl(_PR_SET_CHILD_SUBREAPER, 1), "subreaper")


def die_with_parent(signal_number: int) -> None:
    """The kernel sends us this signal when the launcher dies."""
    _must(_prctl(_PR_SET_PDEATHSIG, signal_number), "parent death signal")


def no_new_privileges() -> None:
    """No program started from here gains anything by being setuid."""
    _must(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "no_new_privs")


def set_limits(limits: dict[str, int]) -> None:
    """Resource limits by their names in the resource module, without RLIMIT_."""
    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(kind)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (most, most))


def change_user(uid: int, gid: int, *, keep_search: bool) -> None:
    """Become ``uid``; with ``keep_search`` folders on the way to the area may be passed."""
    os.setgroups([])
    if keep_search:
        _must(_prctl(_PR_SET_KEEPCAPS, 1), "keep capabilities")
    else:
        _prctl(_PR_CAPBSET_DROP, _DAC_READ_SEARCH)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _set_capabilities(1 << _DAC_READ_SEARCH if keep_search else 0)
    if keep_search:
        _must(_prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, _DAC_READ_SEARCH), "ambient capability")


def drop_capabilities() -> None:
    """Stay the same user, without any capability."""
    _prctl(_PR_CAPBSET_DROP, _DAC_READ_SEARCH)
    _set_capabilities(0)


def drop_bounding() -> None:
    """No program started from here gains a capability, but the one that change_user can keep."""
    for capability in range(_LAST_CAPABILITY + 1):
        if capability != _DAC_READ_SEARCH and not _prctl(_PR_CAPBSET_DROP, capability):
            break  # the kernel knows no more, or we lack CAP_SETPCAP for any of them


def _set_capabilities(mask: int) -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_V3, 0)
    data = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    _must(_libc.capset(header, data) == 0, "capset")
