"""A separate redis-server, on a free port, with a directory of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.ports import free_port

START = 10.0  # seconds
# A command is in the file when it is answered. With `everysec` that can take two seconds where the disk is slow.
WRITTEN = ("--appendfsync", "no")


class RedisServer:
    """Can be killed and restarted. Its data is in its append-only file."""

    def __init__(self, folder: Path, *options: str, program: str = "redis-server") -> None:
        self.program = program
        self.folder = folder
        self.options = options
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.database(0)

    def database(self, number: int) -> str:
        """The URL of another of its databases."""
        return f"redis://127.0.0.1:{self.port}/{number}"

    @property
    def argv(self) -> list[str]:
        """The command that starts it, for callers that manage the process."""
        command = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        return [*command, "--appendonly", "yes", *WRITTEN, "--save", "", "--daemonize", "no", *self.options]

    def start(self) -> None:
        """Start it, or restart it with its data. Returns once it answers."""
        self._process = subprocess.Popen(self.argv, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            if self.answers():
                return
            time.sleep(0.02)
        raise AssertionError("redis-server does not answer")

    def answers(self) -> bool:
        """Whether it runs and has loaded its data."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(100).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    @property
    def file(self) -> Path:
        """The append-only file; since Redis 7 its increment.

        Truncated while the server is down, it is as after a power failure.
        """
        found = sorted(self.folder.glob("appendonlydir/*.incr.aof")) or [self.folder / "appendonly.aof"]
        return found[-1]

    def signal(self, number: signal.Signals) -> None:
        assert self._process
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL: only the append-only file is left."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


def require() -> None:
    """Skip the test where there is no redis-server; where CI is set it must be there."""
    if shutil.which("redis-server"):
        return
    if os.environ.get("CI"):
        pytest.fail("there is no redis-server: `make test` installs it as root, or `apt-get install redis-server`")
    pytest.skip("there is no redis-server: `make test` installs it as root, or `apt-get install redis-server`")
