"""Two commits of one watch under way at a time: both are made, in their order, or read again; whatever goes wrong."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Any, cast

import pytest

from kubecdc.backoff import Backoff
from kubecdc.concurrency import run_until_first
from kubecdc.storage.contracts import Bus, SubscriptionSpec, Term
from kubecdc.storage.contracts.errors import CommitMismatch
from kubecdc.storage.redis import RedisSettings, open_bus
from kubecdc.storage.testing import fault_injection
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Receiver, event, pending, until
from kubecdc.watcher.capture import checkpoint_writer
from kubecdc.watcher.capture.checkpoint_writer import CheckpointWriter
from kubecdc.watcher.capture.entry import Entry
from kubecdc.watcher.capture.memory import Holder, Memory
from kubecdc.watcher.capture.progress import Progress
from kubecdc.watcher.capture.stream import Commits, commit_all
from kubecdc.watcher.session import Session
from tests.storage.redis_server import RedisServer
from tests.watcher.rig import KEY, NAME, event_source

BILLING = "billing"
TERM = Term(1, "test")
COMMITS = 12


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_writer, "BLOCKED", Backoff(duration=0.001, cap=0.001))


@pytest.fixture
def settings(shared_redis: RedisServer, request: pytest.FixtureRequest) -> RedisSettings:
    return RedisSettings(shared_redis.url, name=request.node.name, partitions=8)


@pytest.fixture
async def bus(settings: RedisSettings) -> AsyncIterator[Bus]:
    bus: Bus = await open_bus(settings, holder="test")
    await bus.register([SubscriptionSpec(BILLING, SOURCE, SUBJECT)])
    yield bus
    await bus.close()


async def opened(bus: Bus) -> CheckpointWriter:
    entry = Entry(SOURCE, NAME, event_source().spec.resource[NAME], namespace="", key=KEY, max_event_bytes=1 << 20)
    return await CheckpointWriter.open(Session(cast(Any, None), bus, TERM), entry, cluster="c")


async def ready(writer: CheckpointWriter, numbers: Iterable[int], commits: Commits) -> None:
    """Prepare a commit of one event each, and wait until all are made."""
    for number in numbers:
        await commits.put((writer.prepare([event(number)], position=str(number)), 0))
    await commits.join()


async def capture(bus: Bus, last: int) -> int:
    """What a watcher does: commit up to the last event, from where the checkpoint stands. Returns how often it did."""
    begun = 0
    while True:
        begun += 1
        writer = await opened(bus)
        numbers = range(int(writer.state.position or 0) + 1, last + 1)
        commits: Commits = asyncio.Queue(maxsize=1)
        makers = [commit_all(writer, commits, Holder(Memory()), Progress()) for _ in range(writer.under_way)]
        try:
            await run_until_first(ready(writer, numbers, commits), *makers)
        except CommitMismatch:
            continue
        assert (writer.number, writer.state.position) == ((await opened(bus)).number, str(last))
        return begun


async def told(bus: Bus, last: int) -> None:
    """Every event is there once, in order."""
    async with Receiver.of(bus, BILLING) as receiver:
        assert await receiver.acked(last) == [event(number).id for number in range(1, last + 1)]
    assert await pending(bus, BILLING) == 0


async def test_without_faults_two_are_under_way_and_nothing_is_read_again(bus: Bus) -> None:
    assert (await opened(bus)).under_way == 2
    assert await capture(bus, COMMITS) == 1
    await told(bus, COMMITS)


FIRST_TWO = {
    "the first is refused": [fault_injection.refused],
    "the second is refused": [None, fault_injection.refused],
    "both are refused": [fault_injection.refused, fault_injection.refused],
    "the reply to the first is lost, the second was not made": [fault_injection.lost_reply, fault_injection.refused],
    "the second overtakes the first": [fault_injection.slow(0.02)],
}


@pytest.mark.parametrize("script", FIRST_TWO.values(), ids=FIRST_TWO.keys())
async def test_one_that_fails_is_repeated_and_the_next_after_it(
    bus: Bus, script: list[fault_injection.Fault | None]
) -> None:
    assert await capture(fault_injection.FaultyBus(bus, commits=fault_injection.Script(script)), COMMITS) == 1
    await told(bus, COMMITS)


@pytest.mark.parametrize(
    "script", [[fault_injection.lost_reply, fault_injection.lost_reply], [fault_injection.duplicate]]
)
async def test_one_that_is_repeated_after_the_next_was_made_is_found_in_the_checkpoint(
    bus: Bus, script: list[fault_injection.Fault]
) -> None:
    assert await capture(fault_injection.FaultyBus(bus, commits=fault_injection.Script(script)), COMMITS) == 2
    await told(bus, COMMITS)


async def test_one_that_somebody_else_forestalled_takes_the_next_with_it(bus: Bus) -> None:
    """Both were sent when the number that the second follows became somebody else's."""
    writer = await opened(bus)
    await writer.commit([event(1)], position="1", listing="")
    first, second = writer.prepare([event(2)], position="2"), writer.prepare([event(3)], position="3")
    other = await opened(bus)
    await other.commit(position="0")  # `kubecdc checkpoint set`, say
    with pytest.raises(CommitMismatch):
        await asyncio.gather(writer.commit_prepared(first), writer.commit_prepared(second))
    again = await opened(bus)
    assert (again.number, again.state.position) == (other.number, "0")
    assert await pending(bus, BILLING) == 1


async def test_a_full_bus_blocks_both_and_takes_them_in_their_order(bus: Bus, settings: RedisSettings) -> None:
    small: Bus = await open_bus(replace(settings, max_pending=2), holder="small")
    capturing = asyncio.create_task(capture(small, COMMITS))
    await until(lambda: _is(bus, 2))
    await told(bus, COMMITS)
    assert await capturing == 1
    await small.close()


async def _is(bus: Bus, count: int) -> bool:
    return await pending(bus, BILLING) == count


@pytest.mark.parametrize("seed", range(25))
async def test_whatever_goes_wrong_every_event_is_told_once_and_in_order(bus: Bus, seed: int) -> None:
    rng = random.Random(seed)
    kinds = [
        None,
        None,
        fault_injection.refused,
        fault_injection.lost_reply,
        fault_injection.duplicate,
        fault_injection.slow(0.003),
    ]
    script = fault_injection.Script(rng.choice(kinds) for _ in range(3 * COMMITS))
    await capture(fault_injection.FaultyBus(bus, commits=script), COMMITS)
    await told(bus, COMMITS)
