"""Programs that are started, and ended with all that they have started."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kubecdc.programs import kill, start
from tests.harness.processes import running, until

PIPE = asyncio.subprocess.PIPE


async def parent(child: Path) -> asyncio.subprocess.Process:
    """A program with a child that has its pipes, and that writes down the child's pid."""
    script = f"sleep 60 & echo $! > {child}.new; mv {child}.new {child}; wait"
    return await start("sh", "-c", script, stdout=PIPE, stderr=PIPE, start_new_session=True)


async def test_a_killed_program_is_killed_with_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    process = await parent(child)
    await until(child.exists, 60, "the child")
    await kill(process, group=True)
    assert process.returncode is not None
    await until(lambda: not running(int(child.read_text())), 60, "the end of the child")
    await kill(process, group=True)  # once more does no harm


async def test_a_program_whose_start_is_cancelled_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child, started = tmp_path / "child", asyncio.Event()
    popen = subprocess.Popen

    def noted(*args: Any, **options: Any) -> Any:
        started.set()
        return popen(*args, **options)

    monkeypatch.setattr(subprocess, "Popen", noted)
    starting = asyncio.create_task(parent(child))
    await started.wait()
    while not child.exists():
        time.sleep(0.01)  # nothing else goes on meanwhile: asyncio does not return the process yet
    starting.cancel()
    async with asyncio.timeout(30):  # the child sleeps for longer
        with pytest.raises(asyncio.CancelledError):
            await starting
    await until(lambda: not running(int(child.read_text())), 60, "the end of the child")


async def test_a_program_that_cannot_be_started_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await start(str(tmp_path / "nothing"))
    starting = asyncio.create_task(start(str(tmp_path / "nothing")))
    asyncio.get_running_loop().call_soon(starting.cancel)
    with pytest.raises((asyncio.CancelledError, FileNotFoundError)):
        await starting


async def test_a_program_in_our_session_is_killed_alone() -> None:
    process = await start(sys.executable, "-c", "import time; time.sleep(60)")
    await kill(process, group=False)
    assert process.returncode == -9
