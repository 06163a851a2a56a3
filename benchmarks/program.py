"""One process of a run: its CPU time, its memory, what it prints, and when."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import msgspec

from benchmarks.objects import MARK, SENT

ROOT = Path(__file__).resolve().parent.parent
POLL = 0.005  # seconds between two looks at a condition
PATIENCE = 60.0  # seconds after which a run has failed
TICKS = os.sysconf("SC_CLK_TCK")


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for the condition to become true. Raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {PATIENCE:g} s")
        await asyncio.sleep(POLL)


@dataclass(frozen=True)
class Arrival:
    """A line that carried the time it was sent, in monotonic nanoseconds."""

    sent: int
    came: int


class Program:
    """Started by its construction. ``log`` gets stderr; standard output is dropped unless `piped`.

    ``environment`` is beside that of this process.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        *,
        piped: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.begun = time.monotonic()
        self.arrivals: list[Arrival] = []
        self.output = b""
        self._log = log
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        with log.open("wb") as err:
            self._popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else subprocess.DEVNULL,
                stderr=err,
                cwd=log.parent,
                env={**os.environ, "PYTHONPATH": path, **(environment or {})},
            )
        self._reader = threading.Thread(target=self._read, daemon=True) if piped else None
        if self._reader:
            self._reader.start()

    def cpu(self) -> float:
        """Seconds of CPU used so far, by all its threads (Linux)."""
        fields = Path(f"/proc/{self._popen.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def peak(self) -> float:
        """The most resident memory so far, in MiB (Linux)."""
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{self._popen.pid}/status").read_text(), re.MULTILINE)
        assert found
        return int(found[1]) / 1024

    def said(self) -> str:
        """What it has written to stderr."""
        return self._log.read_text(errors="replace")

    def check(self, what: str) -> None:
        """Raise RuntimeError with its log if it has ended, or has run too long, before what is awaited."""
        if self._popen.poll() is not None or time.monotonic() > self.begun + PATIENCE:
            raise RuntimeError(f"{self.name} ended, or took above {PATIENCE:g} s, before {what}\n{self._tail()}")

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait while it runs. Raises RuntimeError with its log if it ends, or it takes too long."""
        try:
            await until(lambda: condition() or self._popen.poll() is not None, what)
        except TimeoutError as e:
            raise RuntimeError(f"{e}\n{self._tail()}") from e
        if not condition():
            raise RuntimeError(f"{self.name} ended before {what}\n{self._tail()}")

    async def wrote(self, path: Path) -> str:
        """The text of a file that it writes when it is ready."""
        await self.until(path.exists, path.name)
        return path.read_text()

    async def result(self) -> bytes:
        """What it printed, once it has ended. Raises RuntimeError if it failed."""
        await until(lambda: self._popen.poll() is not None, f"the end of {self.name}")
        if self._reader:
            self._reader.join()
        if self._popen.returncode:
            raise RuntimeError(f"{self.name} ended with {self._popen.returncode}\n{self._tail()}")
        return self.output

    async def decoded(self) -> dict[str, float]:
        """The numbers that it printed as JSON."""
        return msgspec.json.decode(await self.result(), type=dict[str, float])

    def stop(self) -> None:
        """SIGTERM, and wait for its end; SIGKILL if it does not come."""
        if self._popen.poll() is None:
            self._popen.terminate()
            try:
                self._popen.wait(10.0)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        if self._reader:
            self._reader.join()

    def _tail(self) -> str:
        return "\n".join(self.said().splitlines()[-20:])

    def _read(self) -> None:
        assert self._popen.stdout
        rest = b""
        while chunk := os.read(self._popen.stdout.fileno(), 1 << 16):
            came = time.monotonic_ns()
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                at = line.find(MARK)
                if at < 0:
                    self.output += line
                    continue
                at += len(MARK)
                self.arrivals.append(Arrival(int(line[at : at + len(SENT)]), came))


class Programs:
    """All processes of a run, in one folder; leaving the context ends them, the last started first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment: dict[str, str] = {}  # of those that are started from now on
        self._started: list[Program] = []

    def start(self, name: str, argv: Sequence[str], *, piped: bool = False) -> Program:
        log = self.folder / f"{name}-{len(self._started)}.log"
        program = Program(name, argv, log, piped=piped, environment=self.environment)
        self._started.append(program)
        return program

    def __enter__(self) -> Programs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in reversed(self._started):
            program.stop()
