"""Start other programs, and end them with all that they have started."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import Process
from contextlib import suppress
from typing import Any

KILLED_SECONDS = 2.0  # for what was killed to be gone


async def start(*arguments: str, **options: Any) -> Process:
    """Start a program with the options of asyncio.create_subprocess_exec. Raises OSError.

    A program whose start is cancelled is killed.
    """
    starting = asyncio.create_task(asyncio.create_subprocess_exec(*arguments, **options))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        # asyncio itself would wait for the end of everything that has the program's pipes, its children too.
        with suppress(OSError):
            await kill(await starting, group=options.get("start_new_session", False))
        raise


async def kill(process: Process, *, group: bool) -> None:
    """Kill a program, and with ``group`` all that it has started in the session of its own."""
    with suppress(ProcessLookupError):
        if group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with suppress(TimeoutError):
        async with asyncio.timeout(KILLED_SECONDS):
            await process.wait()
