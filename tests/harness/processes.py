"""Processes under test: started, watched through their log, signaled by pid, and all of them ended at the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

POLL = 0.02  # seconds between two looks at a condition


async def until(condition: Callable[[], object], timeout: float, what: str) -> None:
    """Wait for the condition to become true. Raises TimeoutError with ``what`` after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        await asyncio.sleep(POLL)


@contextlib.asynccontextmanager
async def printing(process: asyncio.subprocess.Process, lines: list[str]) -> AsyncIterator[None]:
    """What the process prints goes into ``lines`` during the block, which ends it."""

    async def read() -> None:
        assert process.stdout
        while line := await process.stdout.readline():
            lines.append(line.decode().rstrip())

    reader = asyncio.create_task(read())
    try:
        yield
    finally:
        process.kill()
        await process.wait()
        await reader


def running(pid: int) -> bool:
    """Whether there is a process of this number that has not ended yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def memory(pid: int, *, peak: bool = False) -> int:
    """The resident bytes of a process (Linux), or the most that they have been."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{'VmHWM' if peak else 'VmRSS'}:\s+(\d+) kB", status, re.MULTILINE)
    assert found, f"process {pid} has no memory: is it gone?"
    return int(found[1]) * 1024


class Process:
    """One running process. ``log`` gets its stdout and stderr, appended over restarts; it runs in the log's folder."""

    def __init__(self, name: str, argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = log
        self.env = dict(env or {})
        self._offset = log.stat().st_size if log.exists() else 0
        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.env},
            )
        self._started = time.monotonic()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._started

    @property
    def returncode(self) -> int | None:
        """None while it runs; minus the signal that ended it, or its exit code."""
        return self._popen.poll()

    def output(self) -> str:
        """What this process (not one of its predecessors) has written."""
        with self.log.open("rb") as file:
            file.seek(self._offset)
            return file.read().decode("utf-8", "replace")

    def tail(self, lines: int = 30) -> str:
        """The end of its log, for failures."""
        text = "\n".join(self.output().splitlines()[-lines:])
        return f"--- {self.name} (pid {self.pid}, exit {self.returncode}), {self.log}\n{text}"

    async def wait_for(self, pattern: str, timeout: float = 60.0) -> None:
        """Wait until its log matches. Raises AssertionError with the log's tail if it exits or does not."""
        expression = re.compile(pattern)
        try:
            await until(
                lambda: expression.search(self.output()) or not self.running, timeout, f"{pattern!r} in the log"
            )
        except TimeoutError as e:
            raise AssertionError(f"{e}\n{self.tail()}") from e
        assert expression.search(self.output()), f"{self.name} ended before {pattern!r}\n{self.tail()}"

    async def wait_for_file(self, path: Path, timeout: float = 60.0) -> str:
        """Wait until it has written the file (of a port, say), and return its text."""
        try:
            await until(lambda: path.exists() or not self.running, timeout, f"{path.name}")
        except TimeoutError as e:
            raise AssertionError(f"{e}\n{self.tail()}") from e
        assert path.exists(), f"{self.name} ended before it wrote {path.name}\n{self.tail()}"
        return path.read_text().strip()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; a process that is gone already is left alone."""
        self._popen.send_signal(number)

    async def kill(self) -> float:
        """SIGKILL, reap, and return the monotonic second of death."""
        self.signal(signal.SIGKILL)
        died = time.monotonic()
        await self.wait(5.0)
        return died

    async def stop(self, timeout: float = 10.0) -> int:
        """SIGTERM, and the exit code; SIGKILL if it does not leave. Raises AssertionError then."""
        self.signal(signal.SIGTERM)
        try:
            return await self.wait(timeout)
        except TimeoutError as e:
            await self.kill()
            raise AssertionError(f"{self.name} did not exit within {timeout:g} s of SIGTERM\n{self.tail()}") from e

    async def wait(self, timeout: float) -> int:
        """Wait for its end, and return the exit code. Raises TimeoutError."""
        await until(lambda: not self.running, timeout, f"the end of {self.name}")
        code = self.returncode
        assert code is not None
        return code

    def memory(self) -> int:
        """Resident bytes (Linux)."""
        return memory(self.pid)

    def open_files(self) -> int:
        """How many files and sockets it has open (Linux)."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def end(self) -> None:
        """At the end of everything: gone, whatever state it is in. A stopped process must be continued to be ended."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self._popen.terminate()
                self._popen.send_signal(signal.SIGCONT)
            try:
                self._popen.wait(5.0)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()


class Processes:
    """All processes of one run; leaving the context ends them. Each name has one process at a time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._running: dict[str, Process] = {}

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None, *, log: str = "") -> Process:
        """Start a process under a name; ``log`` is a file in the directory, ``<name>.log`` if not given."""
        before = self._running.get(name)
        assert before is None or not before.running, f"{name} is running already"
        process = Process(name, argv, self.directory / (log or f"{name}.log"), env)
        self._running[name] = process
        return process

    def restart(self, name: str) -> Process:
        """Start the process of that name again, as it was started before."""
        before = self._running[name]
        return self.start(name, before.argv, before.env, log=before.log.name)

    def __getitem__(self, name: str) -> Process:
        return self._running[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._running)

    async def until(self, condition: Callable[[], object], timeout: float, what: str) -> None:
        """Wait while all processes run. Raises AssertionError with all logs if it does not come, or one ends."""

        def ended() -> list[str]:
            return [name for name, process in self._running.items() if not process.running]

        try:
            await until(lambda: condition() or ended(), timeout, what)
        except TimeoutError as e:
            raise AssertionError(f"{e}\n{self.tails()}") from e
        assert condition(), f"{what}: {', '.join(ended())} ended before\n{self.tails()}"

    def tails(self) -> str:
        """The ends of all logs, for failures."""
        return "\n".join(process.tail() for process in self._running.values())

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._running.values()):
            process.end()
