"""Backlogs as metrics: right to the second, exported by one process of a bus, and never waited for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kubecdc.cli.serving.metrics import Scrapes
from kubecdc.cli.serving.subscriptions import (
    CLAIM_SECONDS,
    OLD_SECONDS,
    PAUSE_SECONDS,
    SCRAPED_SECONDS,
    Subscriptions,
)
from kubecdc.errors import Unavailable
from kubecdc.metrics import Series
from kubecdc.storage.contracts import (
    UNKNOWN,
    Approximate,
    Bus,
    Publication,
    SubscriptionSpec,
    SubscriptionStatus,
)
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.sqlite.bus import CAPABILITIES
from kubecdc.watcher import metrics as watcher
from tests.cli.serving.asking import ask, serving
from tests.clock import RunningClock
from tests.exported import REGISTRY
from tests.workers.support import event

SPECS = [SubscriptionSpec(f"s/{number}", "workflows", "changed") for number in range(2)]
BUS = "the one of this test"


@pytest.fixture
def clock() -> RunningClock:
    return RunningClock()


@pytest.fixture
async def bus(tmp_path: Path, clock: RunningClock) -> AsyncIterator[Bus]:
    opened = await open_bus(SqliteSettings(tmp_path / "bus.db"), holder="w", clock=clock.wall)
    await opened.register(SPECS)
    yield opened
    await opened.close()


@contextmanager
def exporting(bus: Any, clock: RunningClock, name: str = BUS) -> Iterator[Subscriptions]:
    series = Series()
    try:
        yield Subscriptions(name, bus, series, wall=clock.wall, now=clock.now)
    finally:
        series.close()


def value(metric: str, subscription: str = "s/0", bus: str = BUS) -> float | None:
    return REGISTRY.get_sample_value(f"kubecdc_{metric}", {"bus": bus, "subscription": subscription})


async def publish(bus: Any, *numbers: int) -> None:
    await bus.publisher.publish(Publication([event(n, key=f"k{n}") for n in numbers]))


async def test_depth_and_age_follow_the_bus_and_a_pruned_subscription_is_gone(bus: Any, clock: RunningClock) -> None:
    with exporting(bus, clock) as numbers:
        await numbers.refresh()
        assert (value("pending_events"), value("oldest_pending_age_seconds"), value("dead_letters")) == (0, 0, 0)
        await publish(bus, 1, 2)
        clock.ahead += 100
        await publish(bus, 3)
        await numbers.refresh()
        assert value("pending_events") == 3
        assert value("oldest_pending_age_seconds") == pytest.approx(100, abs=2)
        clock.ahead += 15
        assert value("oldest_pending_age_seconds") == pytest.approx(115, abs=2), "it grows without another look"
        delivery = await anext(bus.subscription("s/0", prefetch=1).deliveries())
        await delivery.start()
        await delivery.dead_letter("refused")
        clock.ahead += PAUSE_SECONDS
        await numbers.refresh()
        assert (value("pending_events"), value("dead_letters")) == (2, 1)
        await bus.prune("s/1")
        clock.ahead += PAUSE_SECONDS
        await numbers.refresh()
        assert value("pending_events", "s/1") is None
    assert value("pending_events") is None


async def test_one_process_of_a_bus_exports_and_another_takes_over_from_one_that_ends_or_hangs(
    bus: Any, clock: RunningClock
) -> None:
    with exporting(bus, clock, "one") as one, exporting(bus, clock, "other") as other:

        async def scraped() -> list[str]:
            clock.ahead += 5
            for each in (other, one):
                await each.refresh()
            return [name for name in ("one", "other") if value("pending_events", bus=name) is not None]

        await one.refresh()
        for _ in range(20):
            assert await scraped() == ["one"], "whoever has the claim keeps it"
        keeping = asyncio.create_task(one.keep())
        await asyncio.sleep(0)
        keeping.cancel()  # it stops in order
        await asyncio.gather(keeping, return_exceptions=True)
        await other.refresh()
        assert await scraped() == ["other"]
        clock.ahead += CLAIM_SECONDS + 1  # that one hangs
        assert value("pending_events", bus="other") is None
        await one.refresh()
        assert await scraped() == ["one"]


async def test_the_claim_is_kept_between_scrapes_and_given_up_without_them(bus: Any, clock: RunningClock) -> None:
    async def exports(other: Subscriptions) -> bool:
        await other.refresh()
        return value("pending_events", bus="other") is not None

    with exporting(bus, clock, "one") as one, exporting(bus, clock, "other") as other:
        await one.refresh()
        begun, step = clock.now(), CLAIM_SECONDS / 3
        while clock.now() - begun < SCRAPED_SECONDS - step:
            clock.ahead += step
            await one.renew()
            assert not await exports(other)
        for _ in range(5):
            clock.ahead += step
            await one.renew()
        assert await exports(other)


class Service:
    """A bus that keeps no state which takes frequent changes, and only estimates. ``answers``: it does not hang."""

    def __init__(self, count: int = 1) -> None:
        self.capabilities = replace(CAPABILITIES, counts=False, state=False)
        self.looks = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.error: Exception | None = None
        self.statuses = [
            SubscriptionStatus(SubscriptionSpec(f"s/{n}", "a", "b"), UNKNOWN, Approximate(n), UNKNOWN, 7)
            for n in range(count)
        ]

    async def subscriptions(self) -> list[SubscriptionStatus]:
        self.looks += 1
        await self.answers.wait()
        if self.error:
            raise self.error
        return self.statuses


@pytest.fixture
def leading() -> Iterator[None]:
    watcher.leading.add(BUS)
    yield
    watcher.leading.discard(BUS)


async def test_without_a_state_the_leader_exports_what_is_known_and_asks_seldom(clock: RunningClock) -> None:
    service = Service()
    with exporting(service, clock) as numbers:
        await numbers.refresh()
        assert (service.looks, value("pending_events")) == (0, None)
        watcher.leading.add(BUS)
        clock.ahead += 120
        for _ in range(10):
            await numbers.refresh()
            clock.ahead += 5
        assert service.looks == 1
        assert (value("pending_events"), value("dead_letters")) == (0, 7)
        assert value("oldest_pending_age_seconds") is None
        watcher.leading.discard(BUS)
        assert value("pending_events") is None


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - a thread asks
            await asyncio.sleep(0.001)


async def test_a_scrape_while_the_bus_hangs_has_what_was_known_and_its_age_and_later_leaves_it_out(
    clock: RunningClock, leading: None
) -> None:
    service = Service()
    service.capabilities = replace(CAPABILITIES, state=False)
    scrapes = Scrapes(wait=0.05)
    with exporting(service, clock) as numbers, serving(scrapes.pages) as port:
        ends = scrapes.before(numbers.refresh)

        async def scrape() -> str:
            status, text = await asyncio.to_thread(ask, port, "/metrics")
            assert status == 200
            return text

        known = f'kubecdc_pending_events{{bus="{BUS}",subscription="s/0"}} 0.0'
        assert known in await scrape()
        service.answers.clear()
        clock.ahead += 10
        for _ in range(5):
            assert known in await scrape()
        assert service.looks == 2, "scrapes do not pile up on it"
        age = REGISTRY.get_sample_value("kubecdc_subscriptions_age_seconds", {"bus": BUS})
        assert age == pytest.approx(10, abs=5)
        clock.ahead += OLD_SECONDS
        assert known not in await scrape()
        service.error = Unavailable("refused")
        service.answers.set()
        await until(lambda: numbers._reading is None)
        service.error = None
        clock.ahead += 60
        assert known in await scrape()
        ends()


@pytest.mark.parametrize("loop_hangs", [False, True])
async def test_a_scrape_is_answered_whatever_the_loop_does(
    clock: RunningClock, leading: None, loop_hangs: bool
) -> None:
    scrapes = Scrapes(wait=0.05)
    with exporting(Service(), clock) as numbers, serving(scrapes.pages) as port:
        ends = scrapes.before(numbers.refresh)
        if loop_hangs:
            answers = [ask(port, "/metrics") for _ in range(3)]  # in this thread, which is that of the loop
        else:
            answers = [await asyncio.to_thread(ask, port, "/metrics")]
        assert {status for status, _ in answers} == {200}
        assert "kubecdc_build_info{" in answers[0][1]
        ends()
    assert ask_closed_loop() == 200


def ask_closed_loop() -> int:
    scrapes = Scrapes()
    scrapes._loop = asyncio.new_event_loop()
    scrapes._loop.close()
    with serving(scrapes.pages) as port:
        return ask(port, "/metrics")[0]


async def test_a_scrape_looks_once_for_all_subscriptions(clock: RunningClock, leading: None) -> None:
    service, scrapes = Service(200), Scrapes()
    service.capabilities = replace(CAPABILITIES, state=False)
    with exporting(service, clock) as numbers, serving(scrapes.pages) as port:
        ends = scrapes.before(numbers.refresh)
        _, text = await asyncio.to_thread(ask, port, "/metrics")
        ends()
    assert text.count(f'kubecdc_pending_events{{bus="{BUS}",') == 200
    assert service.looks == 1
