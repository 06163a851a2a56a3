"""The conformance suite of kubecdc, run against the type ``file``."""

from __future__ import annotations

import fcntl
from collections.abc import AsyncIterator, Sequence
from io import BufferedWriter
from pathlib import Path

import msgspec
import pytest
from kubecdc_file_trigger import FileType

from kubecdc.storage.contracts.event import Event
from kubecdc.workers.testing import CASES, Case, ParameterCase
from kubecdc.workers.testing.case import event_of
from kubecdc.workers.triggers.contract import Context


class FileHarness:
    """A folder for the files."""

    secrets: Sequence[str] = ()
    deadline = 0.3
    parameter = ParameterCase("name", "body.metadata.name", read=lambda request: request.path.name, expected="w1")

    def __init__(self, folder: Path) -> None:
        self.type = FileType()
        self.context = Context("sensor", concurrency=4)
        self.folder = folder / "events"
        self.file = self.folder / "file.jsonl"
        self.config = {"path": str(self.folder), "name": self.file.name, "timeout": "300ms"}
        self._holder: BufferedWriter | None = None
        self.folder.mkdir()

    def event(self, number: int) -> Event:
        return event_of(number)

    async def arrived(self) -> list[str]:
        lines = self.file.read_bytes().splitlines() if self.file.is_file() else []
        return [msgspec.json.decode(line)["id"] for line in lines]

    async def work(self) -> None:
        if self._holder:
            self._holder.close()  # releases the lock
            self._holder = None
        if self.file.is_dir():
            self.file.rmdir()
        self.folder.mkdir(exist_ok=True)

    async def fail_for_now(self) -> None:
        await self.work()
        self.file.unlink(missing_ok=True)
        self.folder.rmdir()

    async def fail_for_good(self) -> None:
        await self.work()
        self.file.unlink(missing_ok=True)
        self.file.mkdir()

    async def hang(self) -> None:
        await self.work()
        holder = self.file.open("ab")
        fcntl.flock(holder, fcntl.LOCK_EX)
        self._holder = holder


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[FileHarness]:
    made = FileHarness(tmp_path)
    yield made
    await made.work()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_the_contract(case: Case, harness: FileHarness) -> None:
    await case.run(harness)
