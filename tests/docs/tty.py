"""The product's own commands in a terminal of a given width."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.cli.rig import UNSERVED
from tests.harness.fork_server import LOADED

QUESTION = b"]: "  # how one that waits for an answer ends


class Shell:
    """Runs commands in a terminal, one after the other. ``process`` is `SHELL` below, ``terminal`` our end of it."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int, width: int) -> None:
        self.width = width
        self._process = process
        self._terminal = terminal

    def begin(self, command: str) -> None:
        """Have it run beside the others, until the shell ends."""
        self._tell(f"& {command}")

    def run(self, command: str) -> str:
        """What the command prints. If it asks, the answer is yes."""
        self._tell(f"; {command}")
        got, answered = b"", 0
        while not got.endswith(b"\0"):
            got += os.read(self._terminal, 65536)
            if got.endswith(QUESTION) and len(got) > answered:
                answered = len(got)
                os.write(self._terminal, b"y\n")
        return got[:-1].decode().replace("\r\n", "\n")

    def _tell(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def close(self) -> None:
        """End it, and what runs beside."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()
        os.close(self._terminal)


# Each command is a fork that has everything loaded. What is never the same twice is replaced, and reports come sooner.
SHELL = """
import gc, importlib, os, signal, socket, sys
from kubecdc.cli import main, output
from kubecdc.cli.status import reporter

for module in [module for module, _ in main.COMMANDS.values()] + os.environ["LOADED"].split():
    importlib.import_module(module)
gc.freeze()  # or each fork would look through all of it for garbage when it ends
output.age = lambda seconds: "12s"
socket.gethostname = lambda: "kubecdc-0"
reporter.Reporter._rate = lambda *_: 0.2
reporter.LOOK_SECONDS = reporter.PERIOD_SECONDS = 0.2
beside = []
for line in sys.stdin:
    how, *words = line.split()
    pid = os.fork()
    if not pid:
        os.getpid = lambda: 1
        if how == "&":
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in range(3):
                os.dup2(nothing, stream)
        else:
            os.dup2(1, 0)
        sys.stdin = open(0, closefd=False)
        sys.argv = ["kubecdc", *words]
        main.main()
    if how == "&":
        beside.append(pid)
    else:
        os.waitpid(pid, 0)
        os.write(1, bytes(1))
for pid in beside:
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
"""


@contextmanager
def shell(folder: Path, width: int) -> Iterator[Shell]:
    """One that runs in the folder, which has the kubeconfig."""
    terminal, end = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    own = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "HOME", "COLUMNS"))}
    given = {"HOME": str(folder), "KUBECONFIG": str(folder / "kubeconfig"), "LOADED": " ".join(LOADED)}
    process = subprocess.Popen(
        [sys.executable, "-c", SHELL],
        cwd=folder,
        env=own | UNSERVED | given,
        stdin=subprocess.PIPE,
        stdout=end,
        stderr=end,
    )
    os.close(end)
    with closing(Shell(process, terminal, width)) as made:
        yield made
