"""Becomes another program that the kernel ends together with whoever started it.

Run by path, `launcher.py <pid of the starter> <program> <arguments...>`, with the standard library
only. A program of its own because Python code between fork and exec may hang in a process that has
threads, and both librdkafka and numba start some.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for the parent-death signal, then become the program; the process id stays."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call above
        sys.exit(1)
    os.execv(program[0], program)  # noqa: S606 - the caller's own command line, no shell wanted


if __name__ == "__main__":
    main()
