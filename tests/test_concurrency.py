"""Work that runs beside its callers."""

from __future__ import annotations

import asyncio

import pytest

from kubecdc.concurrency import Background


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
