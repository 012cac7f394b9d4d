"""Launcher of the stack's processes: bind the new program's life to its starter's, then exec.

Run as ``python -I -S launch.py PARENT SIGNAL PROGRAM [ARGUMENTS…]``; standard library only. The
kernel sends SIGNAL to the program when the starter ends, however it ends. This is done here and
not in preexec_fn, which can deadlock in a process with threads. Linux only; elsewhere it execs.
"""

from __future__ import annotations

import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask the kernel, look whether it is too late already, and become the program."""
    parent, number, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if sys.platform == "linux":
        import ctypes

        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the starter has ended")
    os.execvp(program[0], program)  # noqa: S606 - no shell: this is the program itself


if __name__ == "__main__":
    main()
