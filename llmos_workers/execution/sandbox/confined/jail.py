"""The launcher: starts one confined command, watches it, leaves nothing of it running.

A fork of the zygote, in a session of its own, with two more descriptors: WORKER, the worker's
pidfd, and RULESET, Landlock rules for what every command may do, made for this one alone.

stdin   8 digits: length of the order; the order; then silence. Its end means that the worker
        is gone or gave up, a byte that the run is cancelled: everything is ended then. The
        worker's pidfd says that it is gone too, when a fork of it holds the pipe open.
stdout  the command's output (and its stderr).
stderr  one report at the end: ``key=value`` items separated by NUL.

The order has the same form; keys may repeat: argv, env, cwd, readable, writable, limit
(``NAME:value``), uid, gid, search, timeout, memory, processes, disk, scratch,
network. With ``network``
stdin is a socket, over which the worker gets the one way out (see network).
"""

from __future__ import annotations

# The public module builds enums, which costs 4 ms of each start.
import _signal as signal  # type: ignore[import-not-found]
import os
import select
import time

import disk  # type: ignore[import-not-found]
import landlock  # type: ignore[import-not-found]
import network  # type: ignore[import-not-found]
import privileges  # type: ignore[import-not-found]
import seccomp  # type: ignore[import-not-found]
import tree  # type: ignore[import-not-found]

Order = dict[str, list[str]]
WORKER, RULESET = 3, 4
FIRST_LOOK_S, LAST_LOOK_S = 0.01, 0.1
SETUP_FAILED = 126
FILTER = seccomp.program()
FILTER_WITH_NETWORK = seccomp.program(connect=True)


def read_order() -> Order:
    """The order on stdin. Raises EOFError when the worker died or gave up while writing it."""
    size = int(_exactly(8))
    order: Order = {}
    for item in _exactly(size).decode("utf-8", "surrogateescape").split("\0"):
        key, _, value = item.partition("=")
        order.setdefault(key, []).append(value)
    return order


def _exactly(size: int) -> bytes:
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(WORKER, select.POLLIN)
    data = b""
    while len(data) < size:
        ready = {fd for fd, _ in poll.poll()}
        piece = os.read(0, size - len(data)) if 0 in ready else b""
        if not piece:
            raise EOFError
        data += piece
    return data


def main() -> None:
    """Carry out one order and report. Never returns."""
    order = read_order()
    privileges.become_subreaper()
    fault_read, fault_write = os.pipe()
    child = os.fork()
    if not child:
        _confine_and_run(order, fault_write)
    os.close(fault_write)
    reason, status = _watch(order, child)
    tree.end_all(os.getpid())
    fault = os.read(fault_read, 4_096).decode("utf-8", "replace")
    if reason == "worker":
        _remove(order["scratch"][0])
        os._exit(1)
    code = os.waitstatus_to_exitcode(status)
    report = f"exit={code}\0killed={reason}\0fault={fault}"
    os.write(2, report.encode("utf-8", "replace"))
    os._exit(0)


def _remove(folder: str) -> None:
    """Nobody else will: the worker died."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _watch(order: Order, child: int) -> tuple[str, int]:
    """Wait for the command's end; end it when it goes past its bounds.

    Returns why it was ended (empty: by itself) and its wait status.
    """
    until = time.monotonic() + float(order["timeout"][0])
    memory, processes = int(order["memory"][0]), int(order["processes"][0])
    room = disk.Disk(order["writable"], int(order["disk"][0]))
    pidfd = os.pidfd_open(child)
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(pidfd, select.POLLIN)
    poll.register(WORKER, select.POLLIN)
    pause, reason = FIRST_LOOK_S, ""
    while not reason:
        left = until - time.monotonic()
        ready = {fd for fd, _ in poll.poll(max(0.0, min(pause, left)) * 1000)}
        pause = min(pause * 1.5, LAST_LOOK_S)
        if pidfd in ready:
            return "", os.waitpid(child, 0)[1]
        if 0 in ready:
            reason = "cancelled" if os.read(0, 1) else "worker"
        elif WORKER in ready:
            reason = "worker"
        elif time.monotonic() >= until:
            reason = "timeout"
        else:
            alive = tree.below(os.getpid())
            if len(alive) > processes:
                reason = "processes"
            elif tree.resident(alive) > memory:
                reason = "memory"
            elif room.full(alive):
                reason = "disk"
    os.kill(child, signal.SIGKILL)
    return reason, os.waitpid(child, 0)[1]


def _confine_and_run(order: Order, fault_fd: int) -> None:
    """In the child: give everything up, then become the command. Never returns."""
    try:
        os.setsid()
        os.dup2(fault_fd, 3, inheritable=False)
        networked = "network" in order
        if networked:
            network.isolate(0)
            landlock.allow_connect(RULESET, network.PORT)
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(1, 2)
        os.closerange(RULESET + 1, 65_536)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.umask(0o022)
        _prefer_for_oom()
        os.chdir(order["cwd"][0])
        # As long as we may still open the paths.
        own = [*order.get("readable", []), "/proc/self"]
        landlock.allow(RULESET, own, landlock.READ, missing_ok=True)
        landlock.allow(RULESET, order["writable"], landlock.FULL)
        privileges.set_limits(
            {name: int(value) for name, value in (i.split(":") for i in order["limit"])}
        )
        if "uid" in order:
            uid, gid = int(order["uid"][0]), int(order["gid"][0])
            # So that the command can open /dev/stderr, which is this pipe by another way.
            os.fchown(1, uid, gid)
            privileges.change_user(uid, gid, keep_search="search" in order)
        else:
            if networked:
                privileges.drop_bounding()  # a user namespace of its own came with all of them
            privileges.drop_capabilities()
        privileges.no_new_privileges()
        privileges.die_with_parent(signal.SIGKILL)
        landlock.restrict(RULESET)
        seccomp.install(FILTER_WITH_NETWORK if networked else FILTER)
        env = dict(item.split("=", 1) for item in order.get("env", []))
        os.execve(order["argv"][0], order["argv"], env)  # noqa: S606
    # Whatever it is, the command must not run; the launcher passes the words on.
    except BaseException as error:  # noqa: BLE001
        os.write(3, f"{type(error).__name__}: {error}".encode("utf-8", "replace"))
    os._exit(SETUP_FAILED)


def _prefer_for_oom() -> None:
    """When memory runs out, the kernel should end the command, not the worker."""
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(fd, b"1000")
        os.close(fd)
    except OSError:
        return
