"""What every command does first. Imports next to nothing, so that it is done at once."""

from __future__ import annotations

import os
import signal


def obey_sigterm() -> None:
    """Let SIGTERM end this process if it is PID 1, as in a container: the kernel drops it there if it has no handler.

    It ends every other process by itself.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, _end)


def occupy_streams() -> None:
    """Open what is closed of the standard streams, or the next file that is opened would be taken for one.

    What is read from there is empty, and writing fails.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # takes the lowest number that is free


def _end(number: int, _: object) -> None:
    os._exit(128 + number)  # what a shell reports for a process that the signal has ended
