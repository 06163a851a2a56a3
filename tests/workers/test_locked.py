"""Events whose encryption key is not there: they wait, are never given up for it, and are delivered once it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from kubecdc import facts
from kubecdc.backoff import Backoff
from kubecdc.storage.contracts import Bus, Publication
from kubecdc.storage.encryption.bus import EncryptedBus
from kubecdc.storage.redelivery import Redelivery
from kubecdc.storage.sqlite import SqliteSettings, open_bus
from kubecdc.storage.testing.actors import known
from kubecdc.workers import locked
from kubecdc.workers.pipeline import consume
from kubecdc.workers.plan import subscriptions
from kubecdc.workers.sensor.manifest import Sensor
from tests.clock import Clock
from tests.exported import REGISTRY
from tests.storage.keys import NEW, OLD, KeyFolder
from tests.workers.support import (
    FakeTrigger,
    MemorySubscription,
    event,
    into,
    log_trigger,
    route,
    sensor,
    settings,
    until,
)
from tests.workers.working import settled, working

SENSOR = sensor(log_trigger())
JOINS = sensor(
    log_trigger(template={"name": "t", "log": {}, "conditions": "a && b"}),
    dependencies=[
        {"name": name, "eventSourceName": "workflows", "eventName": subject}
        for name, subject in (("a", "changed"), ("b", "other"))
    ],
)
QUICK = Redelivery.model_validate({"maxDeliveries": 1, "backoff": {"duration": "50ms", "cap": "100ms"}})
OTHER = msgspec.structs.replace(event(2), subject="other", id="other.uid.2.ADD")


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    return KeyFolder(tmp_path / "secrets").write(NEW, OLD)


@asynccontextmanager
async def opened(folder: KeyFolder, *names: str) -> AsyncIterator[Bus]:
    """The bus as the manifest has it, with keys of these names; without a name, it does not encrypt."""
    bus = await open_bus(SqliteSettings(folder.secrets.parent / "bus.db"), holder="a test")
    try:
        if not names:
            yield bus
            return
        async with folder.kept(*names) as ring:
            yield EncryptedBus(bus, ring)
    finally:
        await bus.close()


@asynccontextmanager
async def running(bus: Bus, of: Sensor = SENSOR) -> AsyncIterator[list[Mapping[str, object]]]:
    """A worker; what its trigger is given."""
    lines: list[Mapping[str, object]] = []
    async with working(bus, of, rules=QUICK, render=into(lines)):
        yield lines


def waiting() -> facts.Trouble | None:
    """What the worker reports of its trigger."""
    found = facts.triggers.now().get("s/t")
    return found.locked if found else None


def missing() -> float | None:
    """What it exports."""
    return REGISTRY.get_sample_value("kubecdc_subscription_key_missing", {"subscription": "s/t"})


@pytest.mark.parametrize("names", [(NEW,), ()], ids=["another key", "encryption was turned off"])
async def test_an_event_waits_for_its_key(folder: KeyFolder, names: tuple[str, ...]) -> None:
    async with opened(folder, OLD) as bus:
        await bus.register(subscriptions([SENSOR]))
        await bus.publisher.publish(Publication([event(1), event(2), event(3, key="other")]))
    with capture_logs() as logged:
        async with opened(folder, *names) as bus, running(bus) as ran:
            await until(lambda: waiting() is not None)
            found = waiting()
            assert found and found.reason.startswith("the encryption key") and "`encryption.keys`" in found.hint
            assert missing() == 1
            await asyncio.sleep(0.5)  # a few more deliveries of each
            [status] = await bus.subscriptions()
            assert (known(status.pending), known(status.dead_letters)) == (3, 0)
            assert ran == []
    said = [line for line in logged if line["code"] == "event-locked"]
    assert len(said) == 1, "once, not for each event"
    async with opened(folder, NEW, OLD) as bus, running(bus) as ran:
        await until(lambda: bool(ran))
        assert missing() == 0
        await settled(bus)
    assert len(ran) == 3


async def test_a_worker_at_work_goes_on_once_the_key_is_back(folder: KeyFolder) -> None:
    async with opened(folder, OLD) as bus:
        await bus.register(subscriptions([SENSOR]))
        await bus.publisher.publish(Publication([event(1)]))
    folder.write(NEW)
    with capture_logs():
        async with opened(folder, NEW, OLD) as bus, running(bus) as ran:
            await until(lambda: waiting() is not None)
            await bus.publisher.publish(Publication([event(2, key="other")]))
            await until(lambda: bool(ran))
            assert ran[0]["eventContext"]["id"] == event(2, key="other").id, "what can be read is not held up"  # type: ignore[index]
            ran.clear()
            folder.write(NEW, OLD)
            await until(lambda: bool(ran))
    assert ran[0]["eventContext"]["id"] == event(1).id  # type: ignore[index]


async def test_what_is_half_met_is_encrypted_and_waits_for_its_key(folder: KeyFolder) -> None:
    secret = event(1, data={"password": "s3cret-of-an-object"})
    async with opened(folder, OLD) as bus:
        await bus.register(subscriptions([JOINS]))
        await bus.publisher.publish(Publication([secret]))
        async with running(bus, JOINS):
            await settled(bus)
        assert await bus.state.keys("s/t")
    files = b"".join(file.read_bytes() for file in folder.secrets.parent.iterdir() if file.name.startswith("bus.db"))
    assert b"s3cret-of-an-object" not in files
    folder.write(NEW)
    with capture_logs() as logged:
        async with opened(folder, NEW, OLD) as bus, running(bus, JOINS) as ran:
            await bus.publisher.publish(Publication([OTHER]))
            await until(lambda: any(line["code"] == "settlements-blocked" for line in logged))
            assert ran == []
            folder.write(NEW, OLD)
            await until(lambda: bool(ran))
    assert ran[0]["eventContext"]["id"] == OTHER.id  # type: ignore[index]


async def test_the_longer_a_key_is_missing_the_later_its_events_come_back(folder: KeyFolder) -> None:
    ring, clock = folder.ring(OLD), Clock()
    await ring.refresh()
    given = settings(wall=clock, backoff=Backoff(duration=1.0, cap=300.0))
    to = route(FakeTrigger())
    subscription, stop = MemorySubscription(), asyncio.Event()
    consuming = asyncio.create_task(consume(subscription, to, given, stop=stop))
    delays, since = [], []
    for seconds in (0, 1, 4, 64, 164, 364, 3600, 3602):
        clock.now = seconds
        delivery = subscription.give(ring.seal(event(1)), attempt=99)
        await asyncio.wait_for(delivery.settled.wait(), 20)
        assert delivery.calls == ["nack"], "it is no attempt, however many there were"
        delays.append(delivery.delay)
        found = locked.trouble(to, clock)
        since.append(found and found.since)
    assert delays == [1, 1, 4, 64, 164, 300, 1, 2]
    assert since == [0] * 6 + [3600] * 2, "it had come back in between"
    clock.now = 3700
    assert locked.trouble(to, clock) is None
    stop.set()
    await consuming
