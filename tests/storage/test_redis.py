"""What is special about Redis: a server that fails, workers that share partitions, leases that are lost."""

from __future__ import annotations

import asyncio
import builtins
import signal
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kubecdc.errors import KubecdcError, Refused, Unavailable, UsageError
from kubecdc.storage.contracts import Bus, Delivery, LeadTimes, PreparedBatch, Publication, Replay, SubscriptionSpec
from kubecdc.storage.contracts.errors import ClaimLost, LeadershipLost
from kubecdc.storage.redis import RedisSettings, open_bus
from kubecdc.storage.redis.administration import replays
from kubecdc.storage.redis.bus import RedisBus
from kubecdc.storage.redis.commits.publisher import partition
from kubecdc.storage.redis.deliveries import dispatcher, partition_leases, reader
from kubecdc.storage.redis.deliveries.settings import READ_AHEAD
from kubecdc.storage.redis_server import client
from kubecdc.storage.redis_server.connection import Argument
from kubecdc.storage.redis_server.notifier import Listener
from kubecdc.storage.testing.actors import DEADLINE, KEY, SOURCE, SUBJECT, Leader, Receiver, event, pending, until
from tests.storage import redis_server
from tests.storage.conftest import RedisHarness
from tests.storage.redis_server import RedisServer

NAME = "billing"
SUB = SubscriptionSpec(NAME, SOURCE, SUBJECT)
SIZE = len(event(1).encode())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A separate server, which writes everything to its disk before it answers."""
    redis_server.require()
    server = RedisServer(tmp_path, "--appendfsync", "always")
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def own(server: RedisServer) -> Any:
    harness = RedisHarness(RedisSettings(server.url, partitions=8))
    yield harness
    for bus in harness.opened:
        await bus.close()


async def raw(bus: RedisBus, *command: str | int) -> Any:
    return await bus._connection.command(*command)


async def persist(call: Callable[[], Awaitable[None]]) -> None:
    """Repeat a call until the server answers, as the watcher does."""
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                await call()
                return
            except Unavailable:
                await asyncio.sleep(0.05)


async def test_a_redis_that_may_evict_is_refused_with_the_fix(own: RedisHarness) -> None:
    bus = await own.redis()
    await raw(bus, "CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(Refused, match="allkeys-lru") as refused:
        await own.redis()
    assert "noeviction" in refused.value.hint
    await raw(bus, "CONFIG", "SET", "maxmemory-policy", "noeviction")
    await own.redis()


async def test_a_redis_that_is_not_there_is_unavailable_and_a_password_is_not_told() -> None:
    with pytest.raises(Unavailable, match="does not answer") as refused:
        await open_bus(RedisSettings("redis://user:geheim@127.0.0.1:1/0"), holder="one")
    assert "geheim" not in str(refused.value)


async def test_a_password_that_is_wrong_is_a_usage_error(tmp_path: Path) -> None:
    redis_server.require()
    server = RedisServer(tmp_path, "--requirepass", "right")
    server.start()
    try:
        with pytest.raises(UsageError, match="refuses the login"):
            await open_bus(RedisSettings(server.url), holder="one")
        bus = await open_bus(RedisSettings(server.url.replace("//", "//:right@")), holder="one")
        await bus.close()
    finally:
        server.kill()


async def test_partitions_are_fixed_and_a_bus_that_is_not_there_is_said(redis_harness: RedisHarness) -> None:
    with pytest.raises(UsageError, match="no bus"):
        await open_bus(redis_harness.settings, holder="one", create=False)
    await redis_harness.redis()
    with pytest.raises(UsageError, match="made with 8 partitions, not 16"):
        await redis_harness.redis(replace(redis_harness.settings, partitions=16))


async def test_the_extra_is_named_when_the_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "redis" or name.startswith("redis."):
            raise ImportError(f"No module named {name!r}")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(KubecdcError) as missing:
        await open_bus(RedisSettings("redis://localhost"), holder="one")
    assert "kubecdc[redis]" in missing.value.hint


async def test_a_full_redis_blocks_commits_says_so_and_goes_on_with_work(own: RedisHarness) -> None:
    bus = await own.redis(replace(own.settings, retention_bytes=0, ack_wait=timedelta(seconds=2)))
    await bus.register([SUB])
    leader = await Leader.take(bus)
    await leader.commit(*(event(number, f"o-{number}") for number in range(20)))
    await raw(bus, "CONFIG", "SET", "maxmemory", "1")
    batch = leader.batch([event(99)])
    with pytest.raises(Unavailable, match="is full") as full:
        await leader.send(batch)
    assert "maxmemory" in full.value.hint
    async with Receiver.of(bus, NAME, prefetch=5) as receiver:
        first = await receiver.next()
        await first.start()
        await first.nack(timedelta(0))
        await asyncio.sleep(1.3)  # leases are renewed all the same
        assert len(set(await receiver.acked(20))) == 20
        await bus.retention.enforce()
        with pytest.raises(Unavailable, match="is full"):
            await leader.send(batch)
        await raw(bus, "CONFIG", "SET", "maxmemory", "0")
        await leader.send(batch)
        assert await receiver.acked(1) == [event(99).id]


async def test_a_server_that_is_killed_and_comes_back_loses_nothing(server: RedisServer, own: RedisHarness) -> None:
    bus = await own.redis()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    got: list[str] = []

    async def work() -> None:
        async for delivery in bus.subscription(NAME, prefetch=10).deliveries():
            got.append(delivery.event.id)
            with suppress(ClaimLost):
                await persist(delivery.ack)

    working = asyncio.create_task(work())
    for number in range(30):
        batch = leader.batch([event(number, f"o-{number % 5}"), event(number, f"p-{number}")])
        await persist(partial(leader.send, batch))
        leader.number += 1
        if number in {10, 20}:
            server.kill()
            server.start()

    async def settled() -> bool:
        try:
            return await pending(bus, NAME) == 0
        except Unavailable:
            return False

    await until(settled)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert len(set(got)) == 60
    for lane in range(5):
        first_receipts = list(dict.fromkeys(id_ for id_ in got if f".uid-o-{lane}." in id_))
        assert first_receipts == [event(number, f"o-{lane}").id for number in range(lane, 30, 5)]
    checkpoint = await bus.checkpoints.checkpoint(KEY)
    assert checkpoint is not None
    assert checkpoint.number == 30


async def test_scripts_that_were_flushed_are_sent_again(own: RedisHarness) -> None:
    bus = await own.redis()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    async with Receiver.of(bus, NAME) as receiver:
        for number in range(3):
            await raw(bus, "SCRIPT", "FLUSH")
            await leader.commit(event(number))
            assert await receiver.acked(1) == [event(number).id]


async def shares(bus: RedisBus) -> list[int]:
    """How many partitions each worker has, those without one left out."""
    owners = await raw(bus, "HVALS", f"{bus._settings.prefix}:leases:1")
    return sorted(owners.count(owner) for owner in set(owners))


async def test_a_new_worker_takes_its_share_and_leaves_it_behind(redis_harness: RedisHarness) -> None:
    bus = await redis_harness.redis()
    await bus.register([SUB])

    async def shared(*expected: int) -> bool:
        return await shares(bus) == list(expected)

    async with Receiver.of(bus, NAME):
        await until(lambda: shared(8))
        async with Receiver.of(bus, NAME), Receiver.of(bus, NAME):
            await until(lambda: shared(2, 3, 3))
        await until(lambda: shared(8))


async def test_workers_that_come_and_go_are_noticed_before_the_next_heartbeat(
    redis_harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process with many subscriptions sends few heartbeats."""
    monkeypatch.setattr(partition_leases, "HEARTBEAT", 3600.0)
    bus = await redis_harness.redis(replace(redis_harness.settings, ack_wait=timedelta(hours=4)))
    await bus.register([SUB])

    async def shared(*expected: int) -> bool:
        return await shares(bus) == list(expected)

    async with Receiver.of(bus, NAME):
        await until(lambda: shared(8))
        async with Receiver.of(bus, NAME):
            await until(lambda: shared(4, 4))
        await until(lambda: shared(8))


async def test_scaling_under_load_loses_nothing_and_keeps_the_order(redis_harness: RedisHarness) -> None:
    bus = await redis_harness.redis()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    seen: dict[str, list[str]] = defaultdict(list)
    by: dict[int, int] = defaultdict(int)
    active: set[str] = set()

    async def one(delivery: Delivery, worker: int) -> None:
        key = delivery.event.partitionkey
        assert key not in active, "two of one object at a time"
        active.add(key)
        await asyncio.sleep(0.002)
        seen[key].append(delivery.event.sequence)
        by[worker] += 1
        active.discard(key)
        await delivery.ack()

    async def work(worker: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            async for delivery in bus.subscription(NAME, prefetch=8).deliveries():
                tasks.create_task(one(delivery, worker))

    workers = [asyncio.create_task(work(0))]
    for number in range(60):
        await leader.commit(*(event(number, f"o-{name}") for name in range(20)))
        if number in {10, 20, 30}:
            workers.append(asyncio.create_task(work(number)))
        await asyncio.sleep(0.06)

    async def settled() -> bool:
        return await pending(bus, NAME) == 0

    await until(settled)
    for worker in workers:
        worker.cancel()
    ends = await asyncio.gather(*workers, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
    assert len(by) == 4, "all of them worked"
    expected = [event(number).sequence for number in range(60)]
    assert all(versions == expected for versions in seen.values()), "each once, in order"
    assert len(seen) == 20


async def test_a_worker_that_slept_too_long_settles_nothing_and_hands_out_nothing(redis_harness: RedisHarness) -> None:
    now = asyncio.get_running_loop().time
    settings = replace(redis_harness.settings, ack_wait=timedelta(seconds=0.6))
    sleeper = await redis_harness.redis(settings)
    other = await redis_harness.redis(settings, "other")
    await sleeper.register([SUB])
    await (await Leader.take(sleeper)).commit(event(1), event(2))
    deliveries = sleeper.subscription(NAME, prefetch=1).deliveries()
    mine = await anext(deliveries)
    (leases,) = sleeper._opened
    async with leases._lock, Receiver.of(other, NAME) as receiver:  # it says nothing, as if it were stopped
        begin = now()
        theirs = await receiver.next()
        assert now() - begin < 5
        assert theirs.event.id == mine.event.id
        with pytest.raises(ClaimLost):
            await mine.ack()
        await theirs.ack()
        assert await receiver.acked(1) == [event(2).id]
    waiting = asyncio.ensure_future(anext(deliveries))
    await asyncio.wait([waiting], timeout=0.3)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_nack_outlives_the_worker(redis_harness: RedisHarness) -> None:
    bus, other = await redis_harness.redis(), await redis_harness.redis(holder="other")
    await bus.register([SUB])
    await (await Leader.take(bus)).commit(event(1), event(2))
    clock = asyncio.get_running_loop().time
    async with Receiver.of(bus, NAME) as receiver:
        delivery = await receiver.next()
        await delivery.start()
        await delivery.nack(timedelta(seconds=1))
        begin = clock()
    async with Receiver.of(other, NAME) as receiver:
        delivery = await receiver.next()
        assert clock() - begin >= 0.95
        assert (delivery.event.id, delivery.attempt) == (event(1).id, 2)
        await delivery.ack()
        assert await receiver.acked(1) == [event(2).id]


async def test_one_hot_object_does_not_hold_up_the_others(redis_harness: RedisHarness) -> None:
    bus = await redis_harness.redis(replace(redis_harness.settings, name="hot", partitions=1))
    await bus.register([SUB])
    leader = await Leader.take(bus)
    for begin in range(0, 2000, 500):
        await leader.commit(*(event(number, "hot") for number in range(begin, begin + 500)))
    await leader.commit(event(1, "other"))
    async with Receiver.of(bus, NAME, prefetch=2) as receiver:
        first, second = await receiver.next(), await receiver.next()
        assert {first.event.id, second.event.id} == {event(0, "hot").id, event(1, "other").id}


async def test_what_is_read_is_handed_out_before_the_rest_of_a_backlog(redis_harness: RedisHarness) -> None:
    bus = await redis_harness.redis(replace(redis_harness.settings, name="backlog", partitions=1))
    await bus.register([SUB])
    leader = await Leader.take(bus)
    await leader.commit(event(1, "other"))
    for begin in range(0, 3000, 500):
        await leader.commit(*(event(number, "hot") for number in range(begin, begin + 500)))
    async with Receiver.of(bus, NAME, prefetch=2) as receiver:
        assert (await receiver.next()).event.id == event(1, "other").id
        read = await raw(bus, "XPENDING", f"{bus._settings.prefix}:events:1:0", f"1:{NAME}")
        assert read[0] < 1000


async def test_backlogs_that_are_longer_than_what_may_wait_hold_up_their_partitions_only(
    redis_harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(READ_AHEAD, "limit", 800)
    monkeypatch.setattr(reader, "READ", 10)
    bus = await redis_harness.redis()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    hot = {partition(event(1, f"hot-{number}").partitionkey, 8): f"hot-{number}" for number in range(40)}
    for place in (0, 1, 2):
        await leader.commit(*(event(number, hot[place]) for number in range(300)))
    async with Receiver.of(bus, NAME, prefetch=20) as receiver:
        stuck = [await receiver.next() for _ in range(3)]
        assert {delivery.event.partitionkey for delivery in stuck} == {event(1, hot[n]).partitionkey for n in range(3)}
        others = [event(number, f"other-{number}") for number in range(200)]
        others = [other for other in others if partition(other.partitionkey, 8) > 2]
        await leader.commit(*others)
        assert sorted(await receiver.acked(len(others))) == sorted(other.id for other in others)
        for delivery in stuck:
            await delivery.ack()
        rest = await receiver.acked(3 * 299)
    assert len(set(rest)) == 3 * 299
    assert await pending(bus, NAME) == 0


async def test_large_events_pass_a_few_at_a_time_and_all_of_them(redis_harness: RedisHarness) -> None:
    """A script copies the bodies that it reads, and other commands wait meanwhile."""
    bus = await redis_harness.redis(replace(redis_harness.settings, name="large", partitions=1))
    await bus.register([SUB])
    for number in range(12):
        await bus.publisher.publish(Publication([event(1, f"o-{number}", padding=1_400_000)]))
    async with Receiver.of(bus, NAME, prefetch=1) as receiver:
        first = await receiver.next()
        read = await raw(bus, "XPENDING", f"{bus._settings.prefix}:events:1:0", f"1:{NAME}")
        assert read[0] <= 4
        await first.ack()
        for _ in range(6):
            delivery = await receiver.next()
            await delivery.dead_letter("too large")
        await receiver.acked(5)
    assert len(await bus.dead_letters.page(NAME)) == 6
    found = await replays.find(bus._connection, Replay(subscription=NAME), 1)
    assert [len(step) for step in found.partitions[0].steps()] == [1] * 12
    assert await bus.replay(Replay(subscription=NAME)) == 12
    (status,) = await bus.subscriptions()
    assert status.pending == 12
    assert status.oldest is not None
    assert await bus.prune(NAME)


async def test_partitions_that_had_no_room_in_a_read_are_the_next_in_turn(
    redis_harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "READ", 4)
    monkeypatch.setattr(reader, "BODIES_BYTES", 1)  # so that each read has room for one partition
    bus = await redis_harness.redis(replace(redis_harness.settings, name="turns", partitions=3))
    await bus.register([SUB])
    leader = await Leader.take(bus)
    await leader.commit(*(event(number, str(number)) for number in range(90)))
    async with Receiver.of(bus, NAME, prefetch=15) as receiver:
        first = [await receiver.next() for _ in range(15)]
    assert {partition(delivery.event.partitionkey, 3) for delivery in first} == {0, 1, 2}


async def test_a_worker_reads_where_a_notification_says_and_everywhere_after_one_that_it_missed(
    redis_harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "CHECK", 3600.0)
    bus = await redis_harness.redis(replace(redis_harness.settings, name="rings", partitions=16))
    await bus.register([SUB])
    leader = await Leader.take(bus)
    heard: list[set[int] | None] = []
    notify = Listener.notify

    def noted(self: Listener, partitions: set[int] | None) -> None:
        heard.append(partitions)
        notify(self, partitions)

    async def began() -> bool:
        return bool(heard)

    monkeypatch.setattr(Listener, "notify", noted)
    async with Receiver.of(bus, NAME, prefetch=10) as receiver:
        await until(began)
        await receiver.nothing(0.5)  # the first read, of all partitions, is over
        heard.clear()
        await leader.commit(event(2, "b"), event(3, "c"), event(4, "b"))
        assert {(await receiver.next()).event.id for _ in range(2)} == {event(2, "b").id, event(3, "c").id}
        assert heard == [{partition(event(2, key).partitionkey, 16) for key in "bc"}]
        heard.clear()
        await raw(bus, "HINCRBY", f"{bus._settings.prefix}:meta", "rings", 5)
        await leader.commit(event(5, "d"))
        assert (await receiver.next()).event.id == event(5, "d").id
        assert heard == [None]


async def test_settled_events_go_by_age_and_size_and_what_is_owed_stays(redis_harness: RedisHarness) -> None:
    bus = await redis_harness.redis(replace(redis_harness.settings, retention_bytes=3 * SIZE))
    slow = SubscriptionSpec("slow", SOURCE, SUBJECT)
    await bus.register([SUB, slow])
    await (await Leader.take(bus)).commit(*(event(number) for number in range(1, 9)))

    async def kept() -> int:
        return int(await raw(bus, "XLEN", f"{bus._settings.prefix}:events:1:{partition(event(1).partitionkey, 8)}"))

    async with Receiver.of(bus, NAME) as receiver:
        await receiver.acked(8)
    await bus.retention.enforce()
    assert await kept() == 8
    async with Receiver.of(bus, "slow") as receiver:
        await receiver.acked(6)
    await bus.retention.enforce()
    assert await kept() == 5
    await bus.prune("slow")
    await bus.retention.enforce()
    assert await kept() == 3
    old = await redis_harness.redis(replace(redis_harness.settings, retention=timedelta(0)))
    await asyncio.sleep(0.01)
    await old.retention.enforce()
    assert await kept() == 0


async def test_a_batch_that_was_prepared_goes_to_a_server_that_forgot_its_scripts(redis_harness: RedisHarness) -> None:
    bus = await redis_harness.redis()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    batch = bus.publisher.prepare(leader.batch([event(1)]), term=leader.term)
    assert isinstance(batch, PreparedBatch) and batch.form.packed
    await raw(bus, "SCRIPT", "FLUSH")
    await leader.send(batch)
    await leader.send(batch)
    async with Receiver.of(bus, NAME) as receiver:
        assert await receiver.acked(1) == [event(1).id]
    assert await pending(bus, NAME) == 0


async def test_what_was_read_is_handed_out_while_more_is_read(
    redis_harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = await redis_harness.redis()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    await leader.commit(*(event(number, f"o-{number}") for number in range(5)))
    held, reading, go, run = False, asyncio.Event(), asyncio.Event(), bus._connection.run

    async def slow(script: str, *args: Argument) -> Any:
        if script == "deliveries/read" and held:
            reading.set()
            await go.wait()
        return await run(script, *args)

    monkeypatch.setattr(bus._connection, "run", slow)
    async with Receiver.of(bus, NAME, prefetch=3) as receiver:
        first = await receiver.next()
        held = True
        await leader.commit(event(5, "o-5"))
        await first.ack()
        await reading.wait()
        assert len(set(await receiver.acked(4)) | {first.event.id}) == 5
        go.set()
        assert await receiver.acked(1) == [event(5, "o-5").id]


async def test_a_settlement_ends_when_the_server_hangs(
    server: RedisServer, own: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "DEADLINE", 0.3)
    bus = await own.redis()
    await bus.register([SUB])
    await (await Leader.take(bus)).commit(event(1))
    async with Receiver.of(bus, NAME) as receiver:
        delivery = await receiver.next()
        server.signal(signal.SIGSTOP)
        with pytest.raises(Unavailable):
            await asyncio.wait_for(delivery.ack(), DEADLINE)
        server.signal(signal.SIGCONT)
        await persist(delivery.ack)
    assert await pending(bus, NAME) == 0


async def test_a_leader_that_cannot_renew_is_stopped_before_another_leads(
    server: RedisServer, own: RedisHarness
) -> None:
    lead = LeadTimes(*(timedelta(seconds=seconds) for seconds in (1.5, 0.8, 0.1)))
    bus: Bus = await own.redis(replace(own.settings, lead=lead))
    clock = asyncio.get_running_loop().time
    with pytest.raises(LeadershipLost, match="could not be renewed"):
        async with bus.elector.lead() as first:
            server.signal(signal.SIGSTOP)
            begin = clock()
            await asyncio.sleep(DEADLINE)
    server.signal(signal.SIGCONT)
    assert clock() - begin < 1.5
    async with bus.elector.lead() as second:
        assert second.number > first.number


async def test_a_lead_lasts_until_its_deadline_after_the_last_renewal(own: RedisHarness) -> None:
    """What publishes to another system asks before each of its calls."""
    lead = LeadTimes(*(timedelta(seconds=seconds) for seconds in (15, 10, 0.05)))
    now = 1000.0
    bus = await open_bus(replace(own.settings, lead=lead), holder="one", now=lambda: now)
    try:
        async with bus.elector.lead() as term:
            assert (term.left(), term.assured) == (10.0, 9.95)
            now += 4.0

            async def renewed() -> bool:
                return bool(term.left() == 10.0)

            await until(renewed)
    finally:
        await bus.close()
    now += 10.0
    assert term.left() <= 0.0


async def test_who_gives_up_before_it_hears_that_it_leads_leaves_no_lead_behind(
    redis_harness: RedisHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus, other = await redis_harness.redis(), await redis_harness.redis(holder="two")
    taken, run = asyncio.Event(), bus._connection.run

    async def unheard(script: str, *args: Argument) -> Any:
        answer = await run(script, *args)
        if script == "commits/lead":
            taken.set()
            await asyncio.Event().wait()
        return answer

    monkeypatch.setattr(bus._connection, "run", unheard)
    waiting = asyncio.create_task(bus.elector.lead().__aenter__())
    await taken.wait()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(5), other.elector.lead():  # it would last for 15 s
        pass


async def test_an_ack_that_went_with_the_tail_of_redis_is_noticed_by_the_worker_itself(
    server: RedisServer, own: RedisHarness
) -> None:
    """Redis is back before the next command. The worker considers the event settled and reads on."""
    bus = await own.redis()
    await bus.register([SUB])
    leader = await Leader.take(bus)
    async with Receiver.of(bus, NAME) as receiver:
        await leader.commit(event(1))
        delivery = await receiver.next()
        mark = server.file.stat().st_size
        await delivery.ack()
        server.kill()
        with server.file.open("r+b") as tail:
            tail.truncate(mark)
        server.start()
        assert (await receiver.next()).event.id == event(1).id
