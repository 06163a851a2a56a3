"""What a scrape of 200 subscriptions asks of the bus: a few round trips, and nothing that others have to wait for."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from kubecdc.cli.serving.subscriptions import Subscriptions
from kubecdc.metrics import Series
from kubecdc.storage.contracts import Bus, SubscriptionSpec
from kubecdc.storage.redis import RedisSettings
from kubecdc.storage.redis import open_bus as open_redis
from kubecdc.storage.redis.bus import RedisBus
from kubecdc.storage.redis_server.client import Client
from kubecdc.storage.redis_server.settings import ServerSettings
from kubecdc.storage.rq import open_bus as open_rq
from kubecdc.storage.sqlite import SqliteSettings
from kubecdc.storage.sqlite import open_bus as open_sqlite
from kubecdc.storage.testing.actors import Leader, event
from tests.exported import REGISTRY
from tests.harness.other_program import locked
from tests.storage.rounds import counted

COUNT = 200
SPECS = [SubscriptionSpec(f"s/{number:03}", "source", f"e-{number}") for number in range(COUNT)]
NAME = "the bus of this test"


@pytest.fixture(params=["redis", "rq"])
async def bus(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[Bus]:
    """A bus in Redis."""
    if request.param == "redis":
        opened: Bus = await open_redis(RedisSettings(redis_url), holder="a test")
    else:
        opened = await open_rq(ServerSettings(redis_url), holder="a test")
    yield opened
    await opened.close()


@contextmanager
def exporting(bus: Bus, ahead: Callable[[], float] = lambda: 0.0) -> Iterator[Subscriptions]:
    with closing(Series()) as series:
        wall, now = (lambda: time.time() + ahead()), (lambda: time.monotonic() + ahead())
        yield Subscriptions(NAME, bus, series, wall=wall, now=now)


def exported(metric: str) -> list[float]:
    names = [{"bus": NAME, "subscription": spec.name} for spec in SPECS]
    found = [REGISTRY.get_sample_value(f"kubecdc_{metric}", labels) for labels in names]
    return [value for value in found if value is not None]


async def test_a_scrape_asks_a_bus_in_redis_in_a_few_round_trips(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a backlog, and with one in each subscription. A first look at it takes more, where it is in streams."""
    await bus.register(SPECS)
    leader, ahead = await Leader.take(bus), 0.0
    with exporting(bus, lambda: ahead) as numbers:

        async def trips() -> int:
            nonlocal ahead
            ahead += 60
            with counted(monkeypatch, (Client, "send")) as rounds:
                await numbers.refresh()
            return rounds.count

        await trips()
        assert await trips() <= 7
        await leader.commit(*(event(n, f"o-{n}", source="source", subject=f"e-{n}") for n in range(COUNT)))
        assert await trips() <= (120 if isinstance(bus, RedisBus) else 7)
        assert await trips() <= (20 if isinstance(bus, RedisBus) else 7)
        assert exported("pending_events") == [1] * COUNT


async def test_the_age_of_the_oldest_event_in_redis_is_right(bus: Bus) -> None:
    """Within two seconds, when it was read and while it grows."""
    ahead = 0.0
    await bus.register(SPECS[:1])
    with exporting(bus, lambda: ahead) as numbers:
        begun = time.time()
        await (await Leader.take(bus)).commit(event(0, "o", source="source", subject="e-0"))
        committed = time.time()
        await numbers.refresh()
        for ahead in (0.0, 15.0):
            asked = time.time()
            (age,) = exported("oldest_pending_age_seconds")
            assert ahead + asked - committed - 2 <= age <= ahead + time.time() - begun + 2


async def test_a_scrape_of_a_sqlite_bus_waits_for_no_writer(tmp_path: Path) -> None:
    """While one holds the file, and so holds none itself: it reads, beside the log of the writer."""
    path, ahead = tmp_path / "bus.db", 0.0
    bus: Bus = await open_sqlite(SqliteSettings(path), holder="a test")
    await bus.register(SPECS)
    leader = await Leader.take(bus)
    with exporting(bus, lambda: ahead) as numbers:
        await numbers.refresh()
        await leader.commit(*(event(n, f"o-{n}", source="source", subject=f"e-{n}") for n in range(COUNT)))
        with locked(path):
            ahead += 5
            await numbers.refresh()
            assert exported("pending_events") == [1] * COUNT
    await bus.close()
