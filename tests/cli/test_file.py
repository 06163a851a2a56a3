"""The bus's file in trouble, as its operator sees it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kubecdc.storage.sqlite.file.schema import VERSION
from tests.apiserver import WORKFLOWS, workflow
from tests.cli.rig import Desk
from tests.harness.other_program import other_program

BUS = """\
apiVersion: argoproj.io/v1alpha1
kind: EventBus
metadata: {{name: default}}
spec:
  sqlite: {{path: {path}}}
"""


@asynccontextmanager
async def small_disk(folder: Path) -> AsyncIterator[Path]:
    """A file system of 2 MiB, as real as a disk."""
    point = folder / "disk"
    point.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", point], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting needs root: {mounted.stderr.strip()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True)


async def large(desk: Desk, name: str, size: int = 20_000) -> None:
    body = workflow(name)
    body["metadata"].setdefault("annotations", {})["padding"] = "x" * size
    await desk.api.create(*WORKFLOWS, "default", body)


def damage(path: Path) -> None:
    """Overwrite all but the beginnings of the file and of its log."""
    for file in (path, path.with_name(path.name + "-wal")):
        if file.exists() and (size := file.stat().st_size) > 4096:
            with file.open("r+b") as opened:
                opened.seek(4096)
                opened.write(b"\xa5" * (size - 4096))


async def test_a_full_disk_blocks_says_so_once_and_recovers_without_loss(desk: Desk, tmp_path: Path) -> None:
    async with small_disk(tmp_path) as disk:
        desk.write("bus.yaml", BUS.format(path=disk / "bus.db"))
        async with desk.running("run") as kubecdc:
            await desk.create("before")
            await kubecdc.until('"name":"before"', out=True)
            filler = disk / "filler"
            free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
            filler.write_bytes(b"x" * (free - 65536))
            for number in range(6):
                await large(desk, f"during-{number}")
            await kubecdc.until("the disk of .* is full")
            assert '"name":"during-5"' not in kubecdc.out
            await asyncio.sleep(1)  # long enough for more tries, which must not be said
            filler.unlink()
            await desk.create("after")
            await kubecdc.until('"name":"after"', out=True)
            await kubecdc.until("recovered")
        assert kubecdc.process.returncode == 0
        names = ["before", *(f"during-{number}" for number in range(6)), "after"]
        assert [kubecdc.out.count(f'"name":"{name}"') for name in names] == [1] * len(names)
        full = kubecdc.lines("is full")
        assert len({line["event"] for line in full}) == len(full), full
        assert all(str(disk / "bus.db") in str(line) and line.get("hint") for line in full), full


@pytest.mark.parametrize("command", ["run", "watch", "work"])
async def test_a_file_that_is_damaged_under_way_ends_the_process_with_one_clear_line(desk: Desk, command: str) -> None:
    path = desk.folder / "kubecdc.db"
    async with desk.running("run") as first:
        for number in range(20):
            await large(desk, f"before-{number}", size=100_000)
        await first.until('"name":"before-19"', out=True)
    async with desk.running(command) as kubecdc:
        await kubecdc.until('"bus"|leading')
        await asyncio.sleep(0.3)
        damage(path)
        size = path.stat().st_size
        await large(desk, "after")
        async with asyncio.timeout(60):
            await kubecdc.process.wait()
    assert kubecdc.process.returncode == 1, kubecdc.err
    last = [line for line in kubecdc.err.splitlines() if not line.startswith("{")]
    assert len(last) == 2, last
    assert last[0].startswith(f"kubecdc: {path} is damaged: ")
    assert last[1].startswith("  hint: ")
    assert path.stat().st_size == size
    assert b"\xa5" * 100 in path.read_bytes()[4096:8192], "it was not made anew"


@pytest.mark.long
async def test_a_damaged_file_is_refused_at_the_start_too(desk: Desk) -> None:
    path = desk.folder / "kubecdc.db"
    async with desk.running("run") as kubecdc:
        await desk.create("a")
        await kubecdc.until('"name":"a"', out=True)
    damage(path)
    before = path.read_bytes()
    for command in (["bus", "show"], ["run"]):
        done = await desk.call(*command)
        assert done.code == 1, done.err
        assert f"{path} is damaged" in done.err
        assert "backup" in done.err
    assert path.read_bytes()[4096:] == before[4096:]


@pytest.mark.long
async def test_a_newer_file_is_a_usage_error(desk: Desk) -> None:
    path = desk.folder / "kubecdc.db"
    async with desk.running("run") as kubecdc:
        await kubecdc.until("leading")
    with other_program(path) as db:
        db.pragma("user_version", VERSION + 1)
    done = await desk.call("run")
    assert done.code == 2
    assert f"has format {VERSION + 1}, this program knows {VERSION}" in done.err
