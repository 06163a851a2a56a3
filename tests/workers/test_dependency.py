"""A Sensor whose dependency changes while events are owed: no event is acked unless a trigger ran for it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from kubecdc.storage.contracts import Bus, Publication
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.redelivery import Redelivery
from kubecdc.storage.redis import RedisSettings
from kubecdc.storage.redis import open_bus as open_redis
from kubecdc.storage.sqlite import SqliteSettings
from kubecdc.storage.sqlite import open_bus as open_sqlite
from kubecdc.storage.testing.actors import known
from kubecdc.workers import outdated
from kubecdc.workers.plan import subscriptions
from kubecdc.workers.sensor.manifest import Sensor
from tests.storage.redis_server import RedisServer
from tests.workers.support import event, into, log_trigger, sensor
from tests.workers.working import settled, working

NAME = "s/t"


def waiting_for(event_name: str) -> Sensor:
    dependency = {"name": "dep", "eventSourceName": "workflows", "eventName": event_name}
    return sensor(log_trigger(), dependencies=[dependency])


OLD, NEW = waiting_for("changed"), waiting_for("modified")


def of(subject: str, number: int) -> Event:
    made = event(number, key=f"k{number}")
    return msgspec.structs.replace(made, subject=subject, id=f"{subject}.uid.{number}.ADD")


class Processes:
    """Any number of processes on one bus. ``ran`` is who ran a trigger for which event."""

    def __init__(self, path: Path, server: RedisServer | None) -> None:
        self._path, self._server = path, server
        self.ran: list[tuple[str, str]] = []

    @asynccontextmanager
    async def bus(self, holder: str) -> AsyncIterator[Bus]:
        bus: Bus
        if self._server:
            bus = await open_redis(
                RedisSettings(self._server.url, name=self._path.parent.name, partitions=4), holder=holder
            )
        else:
            bus = await open_sqlite(SqliteSettings(self._path, ack_wait=timedelta(seconds=30)), holder=holder)
        try:
            yield bus
        finally:
            await bus.close()

    @asynccontextmanager
    async def working(self, holder: str, bus: Bus, made: Sensor) -> AsyncIterator[None]:
        lines: list[Mapping[str, object]] = []
        async with working(bus, made, rules=Redelivery(), render=into(lines)):
            yield
        self.ran += [(holder, line["eventContext"]["id"]) for line in lines]  # type: ignore[index]


@pytest.fixture(params=["sqlite", "redis"])
def processes(request: pytest.FixtureRequest, tmp_path: Path) -> Processes:
    server = request.getfixturevalue("shared_redis") if request.param == "redis" else None
    return Processes(tmp_path / "bus.db", server)


async def counts(bus: Bus) -> tuple[int, int]:
    """Pending, and dead letters."""
    [status] = await bus.subscriptions()
    return known(status.pending), known(status.dead_letters)


async def until(bus: Bus, expected: tuple[int, int]) -> None:
    async with asyncio.timeout(60):
        while await counts(bus) != expected:  # noqa: ASYNC110 - no bus tells
            await asyncio.sleep(0.01)


async def test_a_worker_with_the_older_manifest_leaves_new_events_to_one_with_the_newer(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outdated, "SECONDS", 0.05)
    async with processes.bus("old") as old, processes.bus("new") as new:
        await old.register(subscriptions([OLD]))
        async with processes.working("old", old, OLD):
            await new.register(subscriptions([NEW]))
            await new.publisher.publish(Publication([of("modified", number) for number in range(20)]))
            async with asyncio.timeout(60):
                while not (await new.subscriptions())[0].workers:  # noqa: ASYNC110 - no bus tells
                    await asyncio.sleep(0.01)
            assert await counts(new) == (20, 0)
        assert processes.ran == []
        async with processes.working("new", new, NEW):
            await until(new, (0, 0))
    assert sorted(processes.ran) == sorted(("new", of("modified", number).id) for number in range(20))


async def test_a_backlog_of_a_dependency_that_was_renamed_becomes_dead_letters_that_say_so(
    processes: Processes,
) -> None:
    async with processes.bus("one") as bus:
        await bus.register(subscriptions([OLD]))
        await bus.publisher.publish(Publication([of("changed", number) for number in range(10)]))
        await bus.register(subscriptions([NEW]))
        async with processes.working("new", bus, NEW):
            await until(bus, (0, 10))
        letters = await bus.dead_letters.page(NAME)
    assert {letter.event for letter in letters} == {of("changed", number).id for number in range(10)}
    assert all("waits for workflows/modified now" in letter.reason for letter in letters)
    assert processes.ran == []


async def test_a_dead_letter_redriven_after_a_rename_stays_one_until_the_dependency_is_back(
    processes: Processes,
) -> None:
    async with processes.bus("one") as bus:
        await bus.register(subscriptions([OLD]))
        await bus.publisher.publish(Publication([of("changed", 1)]))
        async for delivery in bus.subscription(NAME, prefetch=1).deliveries():
            await delivery.dead_letter("broken")
            break
        await bus.register(subscriptions([NEW]))
        async with processes.working("new", bus, NEW):
            [letter] = await bus.dead_letters.page(NAME)
            assert await bus.dead_letters.redrive([letter.id]) == {}
            await until(bus, (0, 1))
        assert processes.ran == []
        [letter] = await bus.dead_letters.page(NAME)
        assert "waits for workflows/modified now" in letter.reason
        await bus.register(subscriptions([OLD]))
        async with processes.working("old", bus, OLD):
            assert await bus.dead_letters.redrive([letter.id]) == {}
            await until(bus, (0, 0))
    assert processes.ran == [("old", of("changed", 1).id)]


async def test_a_rolling_update_under_load_in_which_the_old_version_starts_again_leaves_nothing_unrun(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both versions are at work, and the older one registers last. It would take the events of the newer one away."""
    monkeypatch.setattr(outdated, "SECONDS", 0.05)
    published: dict[str, list[str]] = {"changed": [], "modified": []}
    numbers = itertools.count()

    async def publish(bus: Bus, *subjects: str, count: int = 20) -> None:
        for _ in range(count):
            events = [of(subject, next(numbers)) for subject in subjects]
            await bus.publisher.publish(Publication(events))
            for made in events:
                published[made.subject].append(made.id)
            await asyncio.sleep(0)

    async with processes.bus("watcher") as watcher:
        async with processes.bus("old") as old, processes.bus("new") as new:
            await old.register(subscriptions([OLD]))
            async with processes.working("old", old, OLD):
                await publish(watcher, "changed")
                await new.register(subscriptions([NEW]))
                async with processes.working("new", new, NEW):
                    await publish(watcher, "changed", "modified")
                    async with processes.bus("again") as again:
                        await again.register(subscriptions([OLD]))
                        async with processes.working("again", again, OLD):
                            await publish(watcher, "changed", "modified")
                            await new.keep(subscriptions([NEW]))
                            await publish(watcher, "changed", "modified")
                    await publish(watcher, "changed", "modified")
        async with processes.bus("last") as last:
            await last.register(subscriptions([NEW]))
            async with processes.working("last", last, NEW):
                await publish(watcher, "modified")
                await settled(watcher)
        letters = {letter.event: letter.reason for letter in await watcher.dead_letters.page(NAME, limit=1000)}
    ran = {id_ for _, id_ in processes.ran}
    assert set(published["modified"]) <= ran, "not one of the newer version's was taken away"
    assert set(published["changed"]) <= ran | set(letters)
    assert all("waits for workflows/modified now" in reason for reason in letters.values())
    for holder, id_ in processes.ran:
        assert id_.startswith("modified" if holder in {"new", "last"} else "changed"), (holder, id_)
