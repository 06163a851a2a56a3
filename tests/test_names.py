"""Host names that take long."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kubecdc.names import Names


class System:
    """The system's look-up: names with `slow` in them take until they are ``over``."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.over = threading.Event()
        self._real = socket.getaddrinfo

    def getaddrinfo(self, host: str, *args: Any, **kwargs: Any) -> Any:
        self.asked.append(host)
        if "slow" in host:
            self.over.wait(30)
            if "bad" in host:
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return self._real("127.0.0.1", *args, **kwargs)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    system = System()
    monkeypatch.setattr(socket, "getaddrinfo", system.getaddrinfo)
    yield system
    system.over.set()


async def until_asked(system: System, count: int) -> None:
    async with asyncio.timeout(60):
        while len(system.asked) < count:  # noqa: ASYNC110 - it is asked in a thread
            await asyncio.sleep(0.001)


async def test_names_that_take_long_delay_no_others(system: System) -> None:
    tenants, healthy = Names(most=2), Names(most=2)
    slow = [asyncio.create_task(tenants.resolve(f"slow{number}", 80)) for number in range(40)]
    await until_asked(system, 2)
    (found,) = await healthy.resolve("healthy", 80)
    assert (found["hostname"], found["host"], found["port"]) == ("healthy", "127.0.0.1", 80)
    assert system.asked == ["slow0", "slow1", "healthy"]
    assert tenants.waits_for("slow39")
    assert not healthy.waits_for("healthy")
    system.over.set()
    assert len(await asyncio.gather(*slow)) == 40
    assert not tenants.waits_for("slow39")


async def test_a_name_is_looked_up_once_for_all_who_ask_and_the_error_goes_to_all(system: System) -> None:
    names = Names(most=1)
    asking = [asyncio.create_task(names.resolve("slow-bad", 80)) for _ in range(5)]
    await until_asked(system, 1)
    system.over.set()
    errors = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(error) for error in errors] == [socket.gaierror] * 5
    assert system.asked == ["slow-bad"]


async def test_a_look_up_that_nobody_waits_for_keeps_its_place_until_it_ends(system: System) -> None:
    names = Names(most=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await names.resolve("slow", 80)
    waiting = asyncio.create_task(names.resolve("quick", 80))
    again = asyncio.create_task(names.resolve("slow", 80))
    await asyncio.sleep(0)
    assert system.asked == ["slow"]
    system.over.set()
    await asyncio.gather(waiting, again)
    assert system.asked == ["slow", "quick"]


def test_an_event_loop_ends_before_its_look_ups(system: System) -> None:
    async def main() -> None:
        asyncio.create_task(Names().resolve("slow", 80)).add_done_callback(lambda _: None)
        await until_asked(system, 1)

    asyncio.run(main())
    system.over.set()
