"""Work that runs beside its callers."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import pytest

from kubecdc.concurrency import Background, in_thread


async def test_finishing_ends_though_all_work_has_just_ended() -> None:
    background, ended = Background(), []

    async def work() -> None:
        ended.append(True)

    background.spawn(work())
    await asyncio.sleep(0)  # it has ended, and its callbacks have not run
    assert ended
    await background.finish()


async def test_finishing_waits_for_work_that_begins_meanwhile_and_raises_what_failed() -> None:
    background, ended = Background(), []

    async def second() -> None:
        await asyncio.sleep(0)
        ended.append("second")
        raise ValueError("second")

    async def first() -> None:
        await asyncio.sleep(0)
        background.spawn(second())
        ended.append("first")

    background.spawn(first())
    with pytest.raises(ValueError, match="second"):
        await background.finish()
    assert ended == ["first", "second"]


async def test_what_is_computed_in_a_thread_holds_up_nothing_and_has_a_deadline() -> None:
    go_on = threading.Event()
    waiting = asyncio.create_task(in_thread(lambda: go_on.wait(10), seconds=10))
    with pytest.raises(TimeoutError):
        await in_thread(lambda: go_on.wait(10), seconds=0.01)
    assert not waiting.done()
    go_on.set()
    assert await waiting is True


async def test_an_error_in_a_thread_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0, seconds=10)


def test_a_loop_ends_before_what_its_threads_compute() -> None:
    go_on, ended = threading.Event(), threading.Event()

    def compute() -> None:
        go_on.wait(10)
        ended.set()

    async def main() -> None:
        with suppress(TimeoutError):
            await in_thread(compute, seconds=0.01)

    asyncio.run(main())
    assert not ended.is_set()
    go_on.set()
    assert ended.wait(10)
