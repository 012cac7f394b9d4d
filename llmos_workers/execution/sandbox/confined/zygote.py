"""The zygote: forks one launcher for each command, so that no interpreter starts per command.

    python -I -S zygote.py WORKER_PID

One small process beside each worker process, with one thread and an empty environment.

stdin   a SEQPACKET socket to the worker. A request is one byte with three descriptors: the
        launcher's stdin, stdout and stderr (see jail). The answer is ``+`` with the launcher's
        pidfd, or the words of what failed. The end of the socket, or of the worker, is our end.

What a killed launcher leaves behind comes to us (a subreaper), and we end it.
"""

import contextlib
import gc
import os
import select
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120

# The public modules build enums; every page that is not loaded need not be forked.
import _signal as signal  # type: ignore[import-not-found]
import _socket as socket

import jail  # type: ignore[import-not-found]
import landlock  # type: ignore[import-not-found]
import privileges  # type: ignore[import-not-found]
import system  # type: ignore[import-not-found]
import tree  # type: ignore[import-not-found]

LAST_WORDS_S = 10.0
"""How long launchers may take to end their commands when the worker is gone."""

_INT = 4
_HIGHEST_FD = 1 << 20


class Zygote:
    """``channel``: the socket to the worker."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.launchers: dict[int, int] = {}
        """Process ids by pidfd."""
        self.poll = select.poll()

    def serve(self) -> None:
        """Work until the worker is gone, then see its launchers out."""
        self.poll.register(self.channel.fileno(), select.POLLIN)
        self.poll.register(jail.WORKER, select.POLLIN)
        wanted = True
        while wanted:
            for fd, _ in self.poll.poll():
                if fd in self.launchers:
                    self._collect(fd)
                elif fd == jail.WORKER or not self._start():
                    wanted = False
        self.poll.unregister(self.channel.fileno())
        self.poll.unregister(jail.WORKER)
        until = time.monotonic() + LAST_WORDS_S
        while self.launchers and time.monotonic() < until:
            for fd, _ in self.poll.poll(LAST_WORDS_S * 1000):
                self._collect(fd)
        tree.end_all(os.getpid())

    def _start(self) -> bool:
        """Fork one launcher; False: the worker has closed its end."""
        fds: list[int] = []
        try:
            data, fds = _receive(self.channel)
            if not data:
                return False
            fds.append(_rules())
            pid = os.fork()
            if not pid:
                _launch(fds)
            pidfd = os.pidfd_open(pid)
            self.launchers[pidfd] = pid
            self.poll.register(pidfd, select.POLLIN)
            carried = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, pidfd.to_bytes(_INT, sys.byteorder))]
            self.channel.sendmsg([b"+"], carried)
        except (BrokenPipeError, ConnectionError):
            return False
        except OSError as error:
            with contextlib.suppress(OSError):  # the worker has gone: the loop will see it
                self.channel.sendmsg([f"{type(error).__name__}: {error}".encode()])
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _collect(self, pidfd: int) -> None:
        """Note a launcher's end; end what it left when it did not end by itself."""
        self.poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(self.launchers.pop(pidfd), 0)
        if status:
            tree.end_all(os.getpid(), spare=set(self.launchers.values()))


def _receive(channel: socket.socket) -> tuple[bytes, list[int]]:
    """One request. Raises OSError when its three descriptors are not all there."""
    space = socket.CMSG_SPACE(3 * _INT)
    data, carried, _, _ = channel.recvmsg(1, space, socket.MSG_CMSG_CLOEXEC)
    packed = b"".join(part for _, _, part in carried)
    packed = packed[: len(packed) // _INT * _INT]
    found = [
        int.from_bytes(packed[at : at + _INT], sys.byteorder) for at in range(0, len(packed), _INT)
    ]
    if data and len(found) != 3:
        for fd in found:
            os.close(fd)
        raise OSError(f"{len(found)} of 3 descriptors arrived")
    return data, found


def _rules() -> int:
    """A fresh ruleset: its command adds rules of its own. Made here, where no page is copied."""
    ruleset: int = landlock.make_ruleset()
    landlock.allow(ruleset, system.READABLE, landlock.READ, missing_ok=True)
    landlock.allow(ruleset, system.DEVICES, landlock.DEVICE, missing_ok=True)
    return ruleset


def _launch(fds: list[int]) -> None:
    """In the fork: keep the three pipes, the worker and the ruleset, be the launcher."""
    try:
        os.setsid()
        *pipes, ruleset = fds
        for number, fd in enumerate(pipes):
            os.dup2(fd, number)
        os.dup2(ruleset, jail.RULESET)
        os.closerange(jail.RULESET + 1, _HIGHEST_FD)
        jail.main()
    except EOFError:
        os._exit(0)  # the worker went away before it ordered anything: nothing was started
    # Whatever it is, it must not get back into the zygote's loop; the worker passes it on.
    except BaseException as error:  # noqa: BLE001
        os.write(2, f"{type(error).__name__}: {error}".encode("utf-8", "replace"))
    os._exit(1)


def main() -> None:
    """Get ready, then serve."""
    # Not even an interrupt from the terminal may end this before the launchers.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a worker that ignores it would pass that on
    os.open(os.devnull, os.O_WRONLY)  # takes the place of stderr when the worker has none
    os.closerange(jail.WORKER, _HIGHEST_FD)
    os.chdir("/")
    parent = int(sys.argv[1])
    worker = os.pidfd_open(parent)
    if os.getppid() != parent or worker != jail.WORKER:
        return  # it died while we started; the number may be another process's by now
    privileges.become_subreaper()
    privileges.drop_bounding()
    gc.disable()
    gc.freeze()
    Zygote(socket.socket(fileno=0)).serve()


main()
