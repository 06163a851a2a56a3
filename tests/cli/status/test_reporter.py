"""What a process reports: only what lasts, never for longer than it lives, and without harm while the bus is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kubecdc import facts
from kubecdc.cli.status import reporter
from kubecdc.cli.status.look import look
from kubecdc.cli.status.record import ENDED, LIVES, NOTES, PERIOD_SECONDS, PROCESSES, Process
from kubecdc.cli.status.reporter import RATE_SAMPLES, Reporter
from kubecdc.cli.status.rows import rows
from kubecdc.errors import Refused, Unavailable
from kubecdc.facts import Audit, Trigger, Trouble, Watch
from kubecdc.storage.contracts import Bus, Publication, StateChange, SubscriptionSpec
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.sqlite.bus import SqliteBus
from tests.cli.status.site import ENTRY, NAME, Site
from tests.clock import RunningClock
from tests.harness.processes import until
from tests.workers.support import event


@pytest.fixture
def clock() -> RunningClock:
    return RunningClock()


@pytest.fixture
async def bus(tmp_path: Path, clock: RunningClock) -> AsyncIterator[SqliteBus]:
    opened = await open_bus(SqliteSettings(tmp_path / "bus.db"), holder="w", clock=clock.wall)
    yield opened
    await opened.close()


@pytest.fixture
def told() -> Iterator[ExitStack]:
    """Ends the facts of a test."""
    with ExitStack() as stack:
        yield stack


def made(bus: Any, clock: RunningClock, holder: str = "host/1") -> Reporter:
    return Reporter(
        "x", bus, holder, entries=lambda: [ENTRY], subscriptions=lambda: [NAME], wall=clock.wall, now=clock.now
    )


async def reports(place: Site, bus: Bus) -> list[Process]:
    found = await look(bus, place.manifests.buses["default"], place.manifests, time.time)
    return list(found.processes or ())


async def test_a_report_expires_by_the_clock_of_the_bus_and_is_withdrawn_at_the_end(
    bus: SqliteBus, clock: RunningClock, place: Site
) -> None:
    killed = made(bus, clock, "killed")
    await killed.report()
    assert [process.holder for process in await reports(place, bus)] == ["killed"]
    clock.ahead += LIVES.total_seconds() + 1
    assert await reports(place, bus) == []
    await killed.report()  # it was only stopped for a while
    assert [process.holder for process in await reports(place, bus)] == ["killed"]

    stopped = made(bus, clock, "stopped")
    keeping = asyncio.create_task(stopped.keep())
    while len(await reports(place, bus)) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert [process.holder for process in await reports(place, bus)] == ["killed"]


async def test_it_is_written_when_something_changes_and_else_once_a_period(
    bus: SqliteBus, clock: RunningClock, told: ExitStack
) -> None:
    async def version() -> str:
        found = await bus.state.get(PROCESSES, "host/1")
        return found.version if found else ""

    one, trouble = made(bus, clock), Trouble("forbidden", 1.0)
    await one.report()
    first = await version()
    told.callback(facts.watches.read(ENTRY, lambda: Watch(0.0, clock.ahead)))
    await one.report()
    assert (second := await version()) != first, "it watches now"
    clock.ahead += PERIOD_SECONDS / 2
    await one.report()
    assert await version() == second, "a number is no reason"
    end = facts.troubles.read(f"{ENTRY} (commit)", lambda: trouble)
    await one.report()
    assert (third := await version()) != second
    end()
    await one.report()
    assert (fourth := await version()) != third
    clock.ahead += PERIOD_SECONDS
    await one.report()
    assert await version() != fourth


def test_the_watches_of_an_entry_are_one_source_and_others_are_left_out(clock: RunningClock, told: ExitStack) -> None:
    watches = {
        f"{ENTRY}/ns-{number}": Watch(float(number), 3, Audit("differs" if number == 7 else "clean", number))
        for number in range(500)
    }
    told.callback(facts.watches.read_all(lambda: watches))
    told.callback(facts.watches.read("workflows/changed-too", lambda: Watch(9999.0)))
    told.callback(facts.troubles.read(f"{ENTRY}/ns-3", lambda: Trouble("the second", 20.0)))
    told.callback(facts.troubles.read(f"{ENTRY}/ns-4 (commit)", lambda: Trouble("the first", 10.0)))
    told.callback(facts.troubles.read("of/another", lambda: Trouble("of another bus", 1.0)))
    told.callback(facts.troubles.read("lease default/kubecdc", lambda: Trouble("forbidden", 5.0)))
    told.callback(facts.triggers.read("another/trigger", Trigger))
    process = made(None, clock).process()
    (source,) = process.sources.values()
    assert (source.watches, source.behind, source.audit, source.trouble) == (
        500,
        499.0,
        Audit("differs", 7),
        Trouble("the first", 10.0),
    )
    assert process.subscriptions == {}
    assert process.troubles == {"lease default/kubecdc": Trouble("forbidden", 5.0)}


async def test_rates_are_of_the_last_minute_and_unknown_at_first(
    bus: SqliteBus, clock: RunningClock, told: ExitStack
) -> None:
    counted = {"in": 1000.0, "out": 500.0}
    told.callback(facts.watches.read(ENTRY, lambda: Watch(0.0, counted["in"])))
    told.callback(facts.triggers.read(NAME, lambda: Trigger(counted["out"])))
    one = made(bus, clock)

    def rates() -> tuple[float | None, float | None]:
        process = one.process()
        return process.sources[ENTRY].rate, process.subscriptions[NAME].rate

    await one.report()
    assert rates() == (None, None)
    for _ in range(6):
        clock.ahead += PERIOD_SECONDS
        counted["in"] += 10 * PERIOD_SECONDS
        counted["out"] += 2 * PERIOD_SECONDS
        await one.report()
    assert rates() == (10, 2)
    for _ in range(7):
        clock.ahead += PERIOD_SECONDS
        await one.report()
    assert rates() == (0, 0)
    counted["in"] = 0.0  # another term, which counts from 0
    clock.ahead += PERIOD_SECONDS
    await one.report()
    assert rates()[0] == 0


async def test_a_bus_is_idle_only_if_it_is_known_that_nothing_has_come_or_gone_for_a_minute(
    bus: SqliteBus, clock: RunningClock, told: ExitStack, place: Site
) -> None:
    events = 0.0
    told.callback(facts.watches.read(ENTRY, lambda: Watch(0.0, events)))
    one = made(bus, clock)

    async def verdict() -> str:
        found = await look(bus, place.manifests.buses["default"], place.manifests, time.time)
        return str(next(row["verdict"] for row in rows(found) if row["kind"] == "bus"))

    assert await verdict() == "idle", "no process could bring anything"
    await one.report()
    assert await verdict() == "ok", "it has not been counted for long enough"
    for _ in range(RATE_SAMPLES):
        clock.ahead += PERIOD_SECONDS
        await one.report()
    assert await verdict() == "idle"
    events += 1
    clock.ahead += PERIOD_SECONDS
    await one.report()
    assert await verdict() == "ok", "although it is delivered"
    bus.capabilities = replace(bus.capabilities, state=False)
    assert await verdict() == "ok", "nobody can tell"


class Away:
    """A bus whose state can be away."""

    def __init__(self, bus: SqliteBus) -> None:
        self.capabilities = bus.capabilities
        self.frequent = True
        self.away = True
        self.asked = 0
        self._state = bus.state
        self.state = self

    async def put(self, *args: Any) -> None:
        self.asked += 1
        if self.away:
            raise Unavailable("away")
        await self._state.put(*args)

    async def delete(self, *args: Any, **given: Any) -> None:
        await self._state.delete(*args, **given)


async def test_it_goes_on_when_the_bus_is_back(
    bus: SqliteBus, clock: RunningClock, place: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter, "LOOK_SECONDS", 0.001)
    away = Away(bus)
    keeping = asyncio.create_task(made(away, clock).keep())
    await until(lambda: away.asked > 3, 60, "it tries again")
    away.away = False
    while not await reports(place, bus):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_nothing_is_written_or_guessed_on_a_bus_without_such_a_state(
    bus: SqliteBus, clock: RunningClock, place: Site
) -> None:
    await bus.register([SubscriptionSpec(NAME, "workflows", "changed")])
    await bus.publisher.publish(Publication([event()]))
    bus.capabilities = replace(bus.capabilities, state=False)
    keeping = asyncio.create_task(made(bus, clock).keep())
    await asyncio.sleep(0)
    await made(bus, clock).last_words(Refused("no"))
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert await bus.state.keys(PROCESSES) == await bus.state.keys(NOTES) == []
    found = await look(bus, place.manifests.buses["default"], place.manifests, time.time)
    assert found.processes is None
    told = {row["name"]: row for row in rows(found)}
    source = told[f"source/{ENTRY}"]
    assert (source["verdict"], source["needs_person"], source["by"]) == ("unknown", False, None)
    assert source["cause"].startswith("the leader and its lag are not known")


async def test_what_another_version_has_written_is_read_as_far_as_it_is_known(
    bus: SqliteBus, clock: RunningClock, place: Site
) -> None:
    for holder, value in (
        ("newer", b'{"holder":"newer","at":1,"started":1,"version":"9","leads":true,"moods":[1]}'),
        ("strange", b'{"holder":7}'),
        ("broken", b"\xff"),
    ):
        await bus.state.put(PROCESSES, holder, StateChange(value=value, ttl=timedelta(seconds=60)))
    await bus.state.put(NOTES, ENDED, StateChange(value=b"[]", ttl=timedelta(seconds=60)))
    (process,) = await reports(place, bus)
    assert (process.holder, process.leads) == ("newer", True)


async def test_the_last_words_of_a_process_are_the_most_relevant_error(
    bus: SqliteBus, clock: RunningClock, place: Site
) -> None:
    error = ExceptionGroup("several", [ValueError("less"), Refused("the file is damaged " * 100, hint="do this")])
    await made(bus, clock, "host/9").last_words(error)
    found = await look(bus, place.manifests.buses["default"], place.manifests, time.time)
    assert found.ended is not None
    assert (found.ended.holder, found.ended.hint, len(found.ended.reason)) == ("host/9", "do this", facts.MOST)
    assert found.ended.reason.startswith("the file is damaged")
