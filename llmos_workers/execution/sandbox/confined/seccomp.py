"""A system call filter: no sockets, namespaces, mounts, tracing, io_uring, shared IPC."""

from __future__ import annotations

import ctypes
import errno
import os

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _JEQ, _JGE, _JSET, _AND, _RET = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER, _ARCH, _ARG0, _ARG1, _ARG2 = 0, 4, 16, 24, 32
_X32 = 0x40000000
_NEW_NAMESPACE = 0x7E020000
"""All CLONE_NEW* bits that clone can carry."""
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C

_ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# Numbers from 424 on are the same everywhere.
_COMMON = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
}
_X86_64 = (
    "shmget 29 shmat 30 shmctl 31 semget 64 semop 65 semctl 66 msgget 68 msgsnd 69 msgrcv 70 "
    "msgctl 71 ptrace 101 syslog 103 pivot_root 155 adjtimex 159 chroot 161 acct 163 "
    "settimeofday 164 mount 165 umount2 166 swapon 167 swapoff 168 reboot 169 sethostname 170 "
    "setdomainname 171 iopl 172 ioperm 173 init_module 175 delete_module 176 quotactl 179 "
    "semtimedop 220 clock_settime 227 mq_open 240 kexec_load 246 add_key 248 request_key 249 "
    "keyctl 250 unshare 272 perf_event_open 298 open_by_handle_at 304 clock_adjtime 305 "
    "setns 308 process_vm_readv 310 process_vm_writev 311 kcmp 312 finit_module 313 "
    "kexec_file_load 320 bpf 321 userfaultfd 323"
)
_AARCH64 = (
    "umount2 39 mount 40 pivot_root 41 chroot 51 quotactl 60 acct 89 unshare 97 kexec_load 104 "
    "init_module 105 delete_module 106 clock_settime 112 syslog 116 ptrace 117 reboot 142 "
    "sethostname 161 setdomainname 162 settimeofday 170 adjtimex 171 mq_open 180 msgget 186 "
    "msgctl 187 msgrcv 188 msgsnd 189 semget 190 semctl 191 semtimedop 192 semop 193 shmget 194 "
    "shmctl 195 shmat 196 add_key 217 request_key 218 keyctl 219 swapon 224 swapoff 225 "
    "perf_event_open 241 open_by_handle_at 265 clock_adjtime 266 setns 268 process_vm_readv 270 "
    "process_vm_writev 271 kcmp 272 finit_module 273 bpf 280 userfaultfd 282 kexec_file_load 294"
)
# Calls that are judged by an argument: socket, socketpair, clone, ioctl.
_JUDGED = {"x86_64": (41, 53, 56, 16), "aarch64": (198, 199, 220, 29)}
_CLONE3 = 435
_INET, _STREAM, _SEQPACKET = 2, 1, 5

Instruction = tuple[int, int, int, int]

# A stream with the default protocol or TCP; MPTCP would get around Landlock's rules.
_TCP: list[Instruction] = [
    (_LOAD, 0, 0, _ARG1),
    (_AND, 0, 0, 0xF),
    (_JEQ, 0, 3, _STREAM),
    (_LOAD, 0, 0, _ARG2),
    (_JEQ, 2, 0, 0),
    (_JEQ, 1, 0, 6),
]


def supported() -> bool:
    """Whether the numbers of this machine's architecture are known."""
    return os.uname().machine in _ARCHES


def _refused() -> dict[str, int]:
    words = (_X86_64 if os.uname().machine == "x86_64" else _AARCH64).split()
    return {**dict(zip(words[::2], map(int, words[1::2]), strict=True)), **_COMMON}


def program(*, connect: bool = False) -> bytes:
    """The filter as the kernel reads it; ``connect``: TCP sockets over IPv4 may be made."""
    machine = os.uname().machine
    denied, unknown = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
    socket, socketpair, clone, ioctl = _JUDGED[machine]
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_JEQ, 1, 0, _ARCHES[machine]),
        (_RET, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        code += [(_JGE, 0, 1, _X32), (_RET, 0, 0, denied)]
    for number in sorted(_refused().values()):
        code += [(_JEQ, 0, 1, number), (_RET, 0, 0, denied)]
    # glibc falls back to clone, whose flags can be read here; those of clone3 lie in memory.
    code += [(_JEQ, 0, 1, _CLONE3), (_RET, 0, 0, unknown)]
    no_socket = (_RET, 0, 0, _ERRNO | errno.EACCES)
    if connect:
        code += _judge(socket, _ARG0, [(_JEQ, 1, 0, _INET), no_socket, *_TCP, no_socket])
    code += [(_JEQ, 0, 1, socket), no_socket]
    code += _judge(clone, _ARG0, [(_JSET, 0, 1, _NEW_NAMESPACE), (_RET, 0, 0, denied)])
    code += _judge(
        ioctl,
        _ARG1,
        [(_JEQ, 1, 0, _TIOCSTI), (_JEQ, 0, 1, _TIOCLINUX), (_RET, 0, 0, denied)],
    )
    # A datagram pair could still send to named sockets; streams are bound to each other.
    code += _judge(
        socketpair,
        _ARG1,
        [
            (_AND, 0, 0, 0xF),
            (_JEQ, 2, 0, _STREAM),
            (_JEQ, 1, 0, _SEQPACKET),
            (_RET, 0, 0, denied),
        ],
    )
    code.append((_RET, 0, 0, _ALLOW))
    return _packed(code)


def only(allowed: list[int]) -> bytes:
    """A filter that refuses every call but those of these numbers."""
    machine = os.uname().machine
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_JEQ, 1, 0, _ARCHES[machine]),
        (_RET, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    for number in sorted(allowed):
        code += [(_JEQ, 0, 1, number), (_RET, 0, 0, _ALLOW)]
    code.append((_RET, 0, 0, _ERRNO | errno.EPERM))
    return _packed(code)


def _packed(code: list[Instruction]) -> bytes:
    return b"".join(
        kind.to_bytes(2, "little") + bytes((yes, no)) + value.to_bytes(4, "little")
        for kind, yes, no, value in code
    )


def _judge(number: int, argument: int, test: list[Instruction]) -> list[Instruction]:
    """For one call: load an argument, run the test, allow what it lets through."""
    inner = [(_LOAD, 0, 0, argument), *test, (_RET, 0, 0, _ALLOW)]
    return [(_JEQ, 0, len(inner), number), *inner]


class _Program(ctypes.Structure):
    _fields_ = (("count", ctypes.c_ushort), ("code", ctypes.c_void_p))


def install(code: bytes) -> None:
    """Filter this process and all it will start by a program. Needs no_new_privs."""
    buffer = ctypes.create_string_buffer(code, len(code))
    argument = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    if _libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(argument), 0, 0):
        error = ctypes.get_errno()
        raise OSError(error, f"seccomp: {os.strerror(error)}")
