"""Alive, ready, started: what each probe says of a process, while its loop hangs too."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kubecdc.cli.serving.bus_probe import OLD_SECONDS, BusProbe
from kubecdc.cli.serving.health import HANG_SECONDS, Health
from kubecdc.current import Current
from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import SubscriptionSpec
from tests.cli.serving.asking import ask, serving
from tests.clock import Clock

SPECS = [SubscriptionSpec("s/t", "source", "entry")]


async def test_a_loop_that_hangs_is_not_alive_and_a_thread_says_so() -> None:
    clock, begun, hangs = Clock(), threading.Event(), threading.Event()
    health = Health(clock)

    async def main() -> None:
        beating = asyncio.create_task(health.turn())
        await asyncio.sleep(0)
        begun.set()
        hangs.wait()  # the loop hangs here
        beating.cancel()

    with serving(health.pages) as port:
        assert ask(port, "/livez")[0] == 200
        assert ask(port, "/startupz")[0] == 503
        assert ask(port, "/readyz")[0] == 503
        frozen = threading.Thread(target=lambda: asyncio.run(main()))
        frozen.start()
        begun.wait()
        assert [ask(port, path)[0] for path in ("/startupz", "/livez", "/readyz")] == [200] * 3
        clock.now += HANG_SECONDS
        assert ask(port, "/livez")[0] == 200
        clock.now += 1
        assert ask(port, "/livez") == (503, "[-]event loop: it has not run for 31 s\n")
        assert ask(port, "/readyz")[0] == 503
        assert ask(port, "/startupz")[0] == 200
        assert ask(port, "/metrics")[0] == 404
        hangs.set()
        frozen.join()


async def test_a_loop_that_turns_stays_alive() -> None:
    clock = Clock()
    health = Health(clock)
    beating = asyncio.create_task(health.turn(0.001))
    with serving(health.pages) as port:
        for _ in range(5):
            before = clock.now = clock.now + 2 * HANG_SECONDS
            async with asyncio.timeout(60):
                while (await asyncio.to_thread(ask, port, "/livez"))[0] != 200:  # noqa: ASYNC110 - a thread answers
                    await asyncio.sleep(0)
            assert clock.now == before
    beating.cancel()


async def test_it_is_ready_if_every_check_is_and_alive_whatever_they_say() -> None:
    health, why = Health(), "refused"
    beating = asyncio.create_task(health.turn())
    await asyncio.sleep(0)
    health.require("bus a", lambda: "")
    health.require("bus b", lambda: why)
    with serving(health.pages) as port:
        assert ask(port, "/readyz") == (503, "[+]start ok\n[+]event loop ok\n[+]bus a ok\n[-]bus b: refused\n")
        assert ask(port, "/livez")[0] == 200
        why = ""
        assert ask(port, "/readyz")[0] == 200
    beating.cancel()


class Bus:
    """Answers as it is told: not at all, with an error, or well. Without subscriptions, it is asked for its term."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.answers = asyncio.Event()
        self.answers.set()
        self.checkpoints = self

    def subscription(self, name: str, **_: object) -> Bus:
        assert name == SPECS[0].name
        return self

    async def registered(self) -> tuple[()]:
        await self.answers.wait()
        if self.error:
            raise self.error
        return ()

    newest_term = registered


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - a probe tells nobody
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("specs", [SPECS, []])
async def test_a_bus_that_hangs_or_fails_does_not_count_as_up_until_it_answers(specs: list[SubscriptionSpec]) -> None:
    clock = Clock()
    bus: Any = Bus()
    probe = BusProbe(clock)
    assert probe.why_not() == "it is not open yet"
    watching = asyncio.create_task(probe.watch(bus, Current(specs), period=0.001, most=0.01))
    await until(lambda: probe.up)
    bus.answers.clear()
    await until(lambda: probe.why_not() == "no answer within 0.01 s")
    bus.error = Unavailable("refused")
    bus.answers.set()
    await until(lambda: probe.why_not() == "refused")
    bus.error = None
    await until(lambda: probe.up)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    clock.now += OLD_SECONDS + 1
    assert probe.why_not() == "it was last asked 61 s ago"  # its loop hangs
