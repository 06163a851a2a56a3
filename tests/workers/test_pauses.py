"""What the workers make of a bus that does not tell what is paused."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import StateEntry
from kubecdc.storage.pauses import pause, resume
from kubecdc.storage.sqlite.bus import SqliteBus
from kubecdc.workers import pauses as module
from kubecdc.workers.pauses import Pauses
from tests.workers.support import until

NAME = "s/t"


class Away:
    """The state of a bus that is away while ``away`` is set."""

    frequent = True

    def __init__(self, bus: SqliteBus) -> None:
        self._inner = bus.state
        self.put, self.delete = bus.state.put, bus.state.delete
        self.away, self.asked = False, 0

    async def get(self, scope: str, key: str) -> StateEntry | None:
        self.asked += 1
        if self.away:
            raise Unavailable("away for the test")
        return await self._inner.get(scope, key)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.01)


async def test_nothing_is_delivered_before_the_bus_told_and_what_it_told_last_holds(bus: SqliteBus) -> None:
    state, stop = Away(bus), asyncio.Event()
    bus.state = state  # type: ignore[assignment]
    state.away = True
    pauses = Pauses(bus)
    pauses.add(NAME)
    with capture_logs() as logs:
        watching = asyncio.create_task(pauses.watch())
        resumed = asyncio.create_task(pauses.resumed(NAME, stop))
        await until(lambda: state.asked >= 1)
        assert not resumed.done()
        state.away = False
        assert await resumed
        await pause(bus, NAME)
        await pause(bus, "of another process")
        halt = asyncio.Event()
        await pauses.halt(NAME, halt, stop)
        assert halt.is_set()
        state.away = True
        resumed, before = asyncio.create_task(pauses.resumed(NAME, stop)), state.asked
        await until(lambda: state.asked >= before + 3)
        assert not resumed.done()
        state.away = False
        await resume(bus, NAME)
        assert await resumed
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    said = [(line["event"], line.get("subscription")) for line in logs]
    assert said == [
        ("cannot see which subscriptions are paused", None),
        ("recovered", None),
        ("paused", NAME),
        ("resumed", NAME),
    ]


async def test_a_stop_ends_every_wait_though_the_bus_is_away(bus: SqliteBus) -> None:
    state, stop = Away(bus), asyncio.Event()
    bus.state = state  # type: ignore[assignment]
    state.away = True
    pauses, halt = Pauses(bus), asyncio.Event()
    waits = [asyncio.create_task(pauses.resumed(NAME, stop)), asyncio.create_task(pauses.halt(NAME, halt, stop))]
    await asyncio.sleep(0)
    stop.set()
    async with asyncio.timeout(60):
        assert await asyncio.gather(*waits) == [False, None]
    assert halt.is_set()
