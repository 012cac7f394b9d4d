"""A network of a command's own, with nothing in it but one listening socket.

The socket is made inside and given to the worker, whose proxy answers on it: whatever connects
in there ends up at the proxy or nowhere.
"""

from __future__ import annotations

import _socket as socket
import ctypes
import os
import struct

PORT = 3128
_NEW_USER, _NEW_NET = 0x10000000, 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _UP = 0x8913, 0x8914, 1
_BACKLOG = 64
_libc = ctypes.CDLL(None, use_errno=True)


def isolate(line: int) -> None:
    """Leave the host's network, and send the listening socket over ``line``. Raises OSError."""
    if _libc.unshare(_NEW_NET):
        _own_user_namespace()
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
    _bring_up(listener, b"lo")
    listener.bind(("127.0.0.1", PORT))
    listener.listen(_BACKLOG)
    channel = socket.socket(fileno=os.dup(line))
    carried = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", listener.fileno()))]
    channel.sendmsg([b"n"], carried)
    channel.close()
    listener.close()


def _own_user_namespace() -> None:
    """Without the right to a network namespace there may still be one inside a user namespace,
    in which we stay who we are.
    """
    uid, gid = os.geteuid(), os.getegid()
    if _libc.unshare(_NEW_USER | _NEW_NET):
        code = ctypes.get_errno()
        raise OSError(code, f"no network namespace: {os.strerror(code)}")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(fd, text.encode())
        os.close(fd)


def _bring_up(with_socket: socket.socket, name: bytes) -> None:
    request = ctypes.create_string_buffer(struct.pack("16sH22x", name, 0), 40)
    for order, flags in ((_SIOCGIFFLAGS, 0), (_SIOCSIFFLAGS, _UP)):
        if flags:
            now = struct.unpack_from("16sH", request)[1]
            struct.pack_into("16sH", request, 0, name, now | flags)
        if _libc.ioctl(with_socket.fileno(), ctypes.c_ulong(order), request):
            code = ctypes.get_errno()
            raise OSError(code, f"loopback: {os.strerror(code)}")
