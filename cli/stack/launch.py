"""Becomes a program whose life is tied to its parent's: the kernel sends it SIGTERM when the supervisor dies.

Run as a script, before the program itself, so that nothing runs between fork and exec in a process with threads.
It imports nothing of ours and nothing slow.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """`launch.py <pid of the supervisor> <program> <arguments...>`"""
    supervisor, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    # it may have died before the kernel knew of the tie
    if os.getppid() != supervisor:
        sys.exit("the supervisor is gone")
    os.execv(command[0], command)  # noqa: S606 - an argument list of our own, no shell


if __name__ == "__main__":
    main()
