"""A command with standard streams of the test's choice, told to end with a signal."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pytest

PROMISED = 5.0  # seconds from SIGTERM to the end
TOLERATED = 1.0  # seconds: a busy machine delays it in more ways than its threads can tell
MOST = 10.0  # seconds, however busy the machine is
LOOPS = {"uvloop": "", "asyncio": "import sys; sys.modules['uvloop'] = None; "}


class Started:
    """`kubecdc` in a process of its own, on the event loop of that name. ``err`` is its log, unless that is replaced.

    ``prefix`` is a command that becomes it, or runs it.
    """

    def __init__(
        self,
        folder: Path,
        *args: str,
        loop: str = "uvloop",
        program: str = "from kubecdc.cli.main import main; main()",
        env: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        **streams: Any,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self._log = folder / "stderr"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "HOME"))}
        with self._log.open("wb") as log:
            given: dict[str, int | IO[bytes]] = {
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.DEVNULL,
                "stderr": log,
            }
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-c", f"{LOOPS[loop]}{program}", *args],
                cwd=folder,
                env=kept | {"HOME": str(folder)} | dict(env or {}),
                **given | streams,
            )
        self.pid = self.process.pid
        self._told = 0.0
        self._before: dict[str, int] = {}  # the same, until then
        self._waited: dict[str, int] = {}  # by thread, since it was told

    @property
    def err(self) -> str:
        return self._log.read_text()

    async def until(self, text: str, seconds: float = 60) -> None:
        """Wait until its log has the text."""
        async with asyncio.timeout(seconds):
            while text not in self.err:
                assert self.process.poll() is None, self.err
                await asyncio.sleep(0.05)

    async def caught(self) -> None:
        """Wait until it has a handler for SIGTERM, and take the process that a ``prefix`` has started for it."""
        async with asyncio.timeout(60):
            while not _handles_sigterm(self.pid):
                assert self.process.poll() is None, self.err
                children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
                self.pid = int(children[0]) if children else self.pid
                await asyncio.sleep(0.01)

    def term(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send SIGTERM, or another signal that must end it."""
        self._before, self._waited = _waits_for_a_cpu(self.pid), {}
        self._told = time.monotonic()
        os.kill(self.pid, number)

    async def end(self) -> int:
        """Wait for its end, and return the exit code. It must come in the time that is promised.

        What its threads waited for a CPU, because the machine is busy, does not count.
        """
        while not self._ended():
            self._waited |= _waits_for_a_cpu(self.pid)
            if time.monotonic() - self._told > MOST:
                pytest.fail(f"still there {MOST:g} s after SIGTERM\n{self.err[-2000:]}")
            await asyncio.sleep(0.02)
        took = time.monotonic() - self._told
        waited = sum(most - self._before.get(thread, 0) for thread, most in self._waited.items()) / 1e9
        code = self.process.wait()
        assert took - waited < PROMISED + TOLERATED, (
            f"{took:.1f} s, its threads waited for a CPU for {waited:.1f} s\n{self.err[-2000:]}"
        )
        assert "Traceback" not in self.err, self.err
        return code

    def _ended(self) -> bool:
        """Whether it has; it stays there as a zombie, with its figures."""
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def kill(self) -> None:
        """At the end of a test, whatever became of it."""
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()


def as_pid_1() -> tuple[str, ...]:
    """The command that runs another as the first process of a new namespace; none where that is not permitted."""
    command = ("unshare", "--pid", "--fork", "--kill-child")
    allowed = (
        shutil.which("unshare") and not subprocess.run([*command, "true"], check=False, capture_output=True).returncode
    )
    return command if allowed else ()


def _waits_for_a_cpu(pid: int) -> dict[str, int]:
    """For how many nanoseconds each thread of a process, and of this one, could have run and did not (Linux)."""
    found: dict[str, int] = {}
    for process in (str(pid), "self"):
        with suppress(OSError):  # the process has ended
            for thread in Path(f"/proc/{process}/task").glob("*"):
                with suppress(OSError, IndexError):  # the thread has, or the kernel does not count that
                    found[thread.name] = int((thread / "schedstat").read_text().split()[1])
    return found


def _handles_sigterm(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (caught,) = (int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))
    return bool(caught >> (signal.SIGTERM - 1) & 1)
