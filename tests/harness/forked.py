"""The command in a process that is forked: as `asyncio.subprocess.Process`, without the imports at each start."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import msgspec

from tests.harness.fork_server import Call

ROOT = Path(__file__).parents[2]
DECIDED_BEFORE = ("PYTHON", "LD_")  # variables that the interpreter and the loader read when a process starts


def may_be_forked(environment: Mapping[str, str]) -> bool:
    """Whether nothing in the environment is only heeded by a process that starts from the beginning."""
    return not any(name.startswith(DECIDED_BEFORE) for name in environment)


@cache
def _server() -> socket.socket:
    """The end on which the fork server takes calls. It ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        # Not with -m: messages begin with the name of the program.
        argv = [sys.executable, "-c", "from tests.harness import fork_server; fork_server.main()", str(theirs.fileno())]
        server = subprocess.Popen(
            argv, cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )

    def end() -> None:
        ours.close()
        server.wait()

    atexit.register(end)
    return ours


class Forked:
    """A command that runs, or has ended."""

    def __init__(self, pid: int, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader) -> None:
        self.pid = pid
        self.returncode: int | None = None  # minus the signal that ended it, or its exit code
        self.stdout = stdout
        self.stderr = stderr
        self._ending: asyncio.Task[int]

    @classmethod
    async def start(cls, argv: Sequence[str], folder: Path, environment: Mapping[str, str], stdin: int) -> Forked:
        """Start it, in the folder and with this environment alone. ``stdin`` is a file descriptor."""
        read, written = zip(*(os.pipe() for _ in range(3)), strict=True)
        call = msgspec.json.encode(Call(list(argv), str(folder), dict(environment)))
        try:
            socket.send_fds(_server(), [call], [stdin, *written])
        finally:
            for file in written:
                os.close(file)
        stdout, stderr, report = [await _reader(file) for file in read]
        process = cls(int(await report.readline()), stdout, stderr)
        process._ending = asyncio.create_task(process._end(report))
        return process

    async def _end(self, report: asyncio.StreamReader) -> int:
        self.returncode = int(await report.read())
        return self.returncode

    async def wait(self) -> int:
        """Wait for its end, and return the exit code."""
        return await asyncio.shield(self._ending)

    async def communicate(self) -> tuple[bytes, bytes]:
        """Wait for its end, and return what it has written."""
        out, err, _ = await asyncio.gather(self.stdout.read(), self.stderr.read(), self.wait())
        return out, err

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal; a process that has ended is left alone."""
        if self.returncode is None:
            with suppress(ProcessLookupError):  # it has, and that is not told yet
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


async def _reader(file: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    pipe = os.fdopen(file, "rb", buffering=0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader
