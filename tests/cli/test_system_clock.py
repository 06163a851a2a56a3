"""A system clock that is set is noticed, and said once."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from kubecdc.cli import system_clock


@pytest.mark.parametrize(("step", "word"), [(3600.0, "forward"), (-3600.0, "back"), (0.4, ""), (-0.4, "")])
async def test_a_clock_that_is_set_is_said_once(step: float, word: str) -> None:
    loop = asyncio.get_running_loop()
    offset, looks, looked = 1000.0, 0, asyncio.Event()

    def wall() -> float:
        nonlocal looks
        looks += 1
        if looks >= 30:
            looked.set()
        return loop.time() + offset

    before = system_clock.JUMPS.value
    with capture_logs() as lines:
        watching = asyncio.create_task(system_clock.watch(wall, loop.time, period=0.001))
        await asyncio.sleep(0)
        offset += step
        async with asyncio.timeout(60):
            await looked.wait()
        watching.cancel()
    assert [line["event"].split(",")[0] for line in lines] == ([f"the system clock was set {word}"] if word else [])
    assert system_clock.JUMPS.value - before == (1 if word else 0)
