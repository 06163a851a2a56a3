"""Calls for single messages that are made together: each of them is made, whatever happens beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from kubecdc.storage.broker.batching import PARALLEL, Batched
from kubecdc.storage.broker.contract import Received, Results
from kubecdc.storage.testing.actors import until


class Calls:
    """Calls that are under way until they are answered."""

    def __init__(self) -> None:
        self.under_way: list[asyncio.Future[None]] = []
        self.batched = Batched(self._call, 1)

    async def _call(self, messages: Sequence[Received]) -> Results:
        self.under_way.append(asyncio.get_running_loop().create_future())
        await self.under_way[-1]
        return [None] * len(messages)

    def begin(self) -> asyncio.Task[None]:
        message: Any = object()
        return asyncio.create_task(self.batched(message))

    async def are(self, count: int) -> None:
        async def begun() -> bool:
            return len(self.under_way) >= count

        await until(begun)


async def test_a_message_that_comes_just_when_all_calls_have_ended_is_sent() -> None:
    calls = Calls()
    first = [calls.begin() for _ in range(PARALLEL)]
    await calls.are(PARALLEL)
    for call in calls.under_way:
        call.set_result(None)
    late = calls.begin()  # it runs in the turn of the loop in which the tasks end
    await calls.are(PARALLEL + 1)
    calls.under_way[-1].set_result(None)
    await asyncio.gather(*first, late)


async def test_a_bug_in_a_call_is_told_to_its_callers_and_the_rest_is_sent() -> None:
    calls = Calls()
    failing = [calls.begin() for _ in range(PARALLEL)]
    await calls.are(PARALLEL)
    waiting = calls.begin()
    await asyncio.sleep(0)
    for call in list(calls.under_way):
        call.set_exception(RuntimeError("a bug"))
    results = await asyncio.gather(*failing, return_exceptions=True)
    assert [str(result) for result in results] == ["a bug"] * PARALLEL
    await calls.are(PARALLEL + 1)
    calls.under_way[-1].set_result(None)
    await waiting
