"""Ties a process to its parent: when the parent is gone, however it ended, so is the process.

Run as a file it becomes another command, which keeps the tie:

    python -I -S tether.py PARENT_PID COMMAND [ARGUMENT ...]

That is how a program which is not ours is tied. Nothing but the standard library is imported, so
that it costs a few milliseconds. Linux ties a process to the *thread* that started it, so whoever
starts a tied process does it from a thread that lasts, which is the main one. Systems other than
Linux know no such tie, and there nothing happens.
"""

import ctypes
import os
import signal
import sys

#: From `linux/prctl.h`.
_PR_SET_PDEATHSIG = 1


def tie(parent: int, number: signal.Signals) -> None:
    """Have this process sent a signal when its parent ends.

    Args:
        parent: the process that must still be the parent; it may have ended before the tie held.
        number: the signal to be sent.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is None:
        return
    prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def main() -> None:
    """Tie this process to its parent, then become the command."""
    tie(int(sys.argv[1]), signal.SIGKILL)
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
