"""The runner: a warm process that runs generated tools, each in a fork of its own.

    python -I -S runner.py WORKER_PID UID

It gives up everything before it reads anything: no file, socket, signal or other process is in
its reach. A fork that runs a tool may besides only read and write its two pipes.

stdin   frames: 4 bytes length, then JSON. First ``{"code", "name", "arguments"}``, the code
        marshalled in base64, then one ``{"ok", "output", "exit_code", "word"}`` for each call.
        Its end is our end.
stdout  frames of the fork: ``{"call": [tool, arguments]}``, at last ``{"value"}`` or ``{"fault"}``.
fd 3    one byte from us when a fork is gone; a fork does not hold it, so none can say so itself.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import json
import marshal
import math
import os
import select
import sys

HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
sys.path.insert(0, os.path.join(HERE, "..", "..", "sandbox", "confined"))  # noqa: PTH118
sys.path.insert(0, HERE)

import _signal as signal  # type: ignore[import-not-found]  # noqa: E402

import landlock  # type: ignore[import-not-found]  # noqa: E402
import privileges  # type: ignore[import-not-found]  # noqa: E402
import seccomp  # type: ignore[import-not-found]  # noqa: E402
import strict  # type: ignore[import-not-found]  # noqa: E402

STATUS, WORKER = 3, 4
MAX_FRAME = 16 << 20
GONE = 3
"""Exit code of a fork that found nobody at the other end."""
LIMITS = {"CORE": 0, "FSIZE": 0, "NOFILE": 16, "DATA": 256 << 20, "AS": 1 << 30}
MAX_CPU_S = 5
"""Of one run of a tool, in seconds of computing; waiting for its calls does not count."""

_BUILTINS = """
abs all any bool dict enumerate float int len list max min range reversed round set sorted str sum
tuple zip
"""


class Result:
    """What a call of a tool came to."""

    __slots__ = ("exit_code", "ok", "output", "word")

    def __init__(self, told: dict) -> None:  # type: ignore[type-arg]
        self.ok = told["ok"]
        self.output = told["output"]
        self.exit_code = told["exit_code"]
        self.word = told["word"]


class Bridge:
    """The one way out."""

    __slots__ = ()

    def call(self, tool: str, /, **arguments: object) -> Result:
        """Ask the worker to run a tool; wait for what comes of it."""
        write_frame({"call": [tool, arguments]})
        told = read_frame()
        if told is None:
            os._exit(0)
        return Result(told)


class _Namespace:
    """A module's few allowed functions."""

    def __init__(self, module: object, names: str) -> None:
        for name in names.split():
            setattr(self, name, getattr(module, name))


def names() -> dict:  # type: ignore[type-arg]
    """What a module of a generated tool finds there."""
    import builtins

    allowed = {name: getattr(builtins, name) for name in _BUILTINS.split()}
    return {
        "__builtins__": allowed,
        "tools": Bridge(),
        "json": _Namespace(json, "dumps loads"),
        "math": _Namespace(math, "ceil floor gcd isqrt sqrt trunc"),
    }


def read_frame() -> dict | None:  # type: ignore[type-arg]
    """The next frame; None at the end of stdin."""
    head = _exactly(4)
    if head is None:
        return None
    body = _exactly(int.from_bytes(head, "big"))
    return None if body is None else json.loads(body)


def _exactly(size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        piece = os.read(0, size - len(data))
        if not piece:
            return None
        data += piece
    return data


def write_frame(value: object) -> None:
    """Raises ValueError for what is no JSON or too long."""
    body = json.dumps(value, allow_nan=False).encode()
    if len(body) > MAX_FRAME:
        raise ValueError("too long")
    data = memoryview(len(body).to_bytes(4, "big") + body)
    while data:
        data = data[os.write(1, data) :]


def confine(uid: int) -> None:
    """Give everything up."""
    privileges.set_limits(LIMITS)
    if uid:
        privileges.change_user(uid, uid, keep_search=False)
    else:
        privileges.drop_capabilities()
    privileges.no_new_privileges()
    landlock.restrict(landlock.make_ruleset())
    seccomp.install(seccomp.program())


def serve() -> None:
    """Keep a fork ready, one after another, until the worker is gone.

    It is made before it is needed, so that nobody waits for it.
    """
    poll = select.poll()
    poll.register(WORKER, select.POLLIN)
    while True:
        pid = os.fork()
        if not pid:
            _run()
        child = os.pidfd_open(pid)
        poll.register(child, select.POLLIN)
        if any(fd == WORKER for fd, _ in poll.poll()):
            return
        poll.unregister(child)
        os.close(child)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == GONE:
            return
        os.write(STATUS, b".")


def _run() -> None:
    """In the fork. Never returns."""
    try:
        privileges.die_with_parent(signal.SIGKILL)
        os.closerange(STATUS, WORKER + 2)
        privileges.set_limits({"CPU": MAX_CPU_S, "NPROC": 0})
        seccomp.install(strict.PROGRAM)
        space = names()
        order = read_frame()
        if order is None:
            os._exit(GONE)
        exec(marshal.loads(base64.b64decode(order["code"])), space)  # noqa: S102, S302
        write_frame({"value": str(space[order["name"]](**order["arguments"]))})
    # Whatever a tool raises is its fault, and nothing of it may get back into the loop.
    except BaseException as error:  # noqa: BLE001
        with contextlib.suppress(BaseException):  # when it has no words left
            write_frame({"fault": f"{type(error).__name__}: {str(error)[:500]}"})
    os._exit(0)


def main() -> None:
    """Get ready, then serve."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.closerange(WORKER, 1 << 20)
    os.chdir("/")
    parent = int(sys.argv[1])
    worker = os.pidfd_open(parent)
    if os.getppid() != parent or worker != WORKER:
        return
    json.loads(json.dumps({"warm": [1, 2.5, None, "x"]}))
    marshal.loads(marshal.dumps(base64.b64decode(b"")))  # noqa: S302 - our own
    confine(int(sys.argv[2]))
    gc.disable()
    gc.freeze()
    os.write(STATUS, b"+")
    serve()


main()
