"""Repairs of a Redis bus with many streams, groups and events: each script does a bounded part."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from kubecdc.storage.contracts import Publication, SubscriptionSpec
from kubecdc.storage.redis.administration import repairs
from kubecdc.storage.redis.bus import RedisBus
from kubecdc.storage.redis.commits.publisher import partition
from kubecdc.storage.redis_server.connection import Argument, Connection
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, Receiver, event, pending
from tests.storage.conftest import RedisHarness

NAMES = [f"s/{number}" for number in range(20)]  # with the partitions, more groups than one script looks at
LOOK = tuple(f"administration/{name}" for name in ("recount", "ends", "drained", "leave"))


def specs(subject: str = SUBJECT) -> list[SubscriptionSpec]:
    return [SubscriptionSpec(name, SOURCE, subject) for name in NAMES]


@pytest.fixture
async def bus(redis_harness: RedisHarness) -> RedisBus:
    bus = await redis_harness.redis(replace(redis_harness.settings, partitions=64))
    await bus.register(specs())
    return bus


class Watched:
    """Notes what scripts cost, in commands and in the ``groups`` of each stream that they look at.

    Calls ``between`` after the first.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *scripts: str, groups: int = len(NAMES)) -> None:
        self.costs: list[int] = []
        self.between: Callable[[], Awaitable[None]] | None = None
        self._groups = groups
        run, of = Connection.run, self

        async def watched(self: Connection, name: str, *args: Argument) -> object:
            if name not in scripts:
                return await run(self, name, *args)
            await self.command("CONFIG", "RESETSTAT")
            answer = await run(self, name, *args)
            of.costs.append(await of._cost(self))
            if between := of.between:
                of.between = None
                await between()
            return answer

        monkeypatch.setattr(Connection, "run", watched)

    async def _cost(self, connection: Connection) -> int:
        stats = (await connection.command("INFO", "commandstats")).decode()
        calls = re.findall(r"^cmdstat_([^:]+):calls=(\d+)", stats, re.MULTILINE)
        return sum(int(count) * (1 + self._groups * command.startswith("xinfo")) for command, count in calls)


async def delete_events(bus: RedisBus) -> None:
    for at in range(64):
        await bus._connection.keyed("XTRIM", f"events:1:{at}", "MAXLEN", 0)


async def gone(bus: RedisBus) -> set[int]:
    return {status.gone for status in await bus.subscriptions()}


async def test_what_is_gone_is_found_in_steps(bus: RedisBus, monkeypatch: pytest.MonkeyPatch) -> None:
    await bus.publisher.publish(Publication([event(number, f"o-{number}") for number in range(100)]))
    await delete_events(bus)
    watched = Watched(monkeypatch, *LOOK)
    await bus.retention.enforce()
    assert len(watched.costs) > 64 + len(NAMES), "each stream is looked at in a script of its own"
    assert max(watched.costs) < 3 * repairs.COMMANDS
    assert {await pending(bus, name) for name in NAMES} == {0}
    assert await gone(bus) == {100}


async def test_what_is_committed_between_two_steps_is_not_taken_for_gone(
    bus: RedisBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a stream that was found empty before."""
    names = [f"o-{number}" for number in range(1000)]
    first, last = (next(name for name in names if partition(event(1, name).partitionkey, 64) == at) for at in (0, 63))
    await bus.publisher.publish(Publication([event(1, last)]))
    await delete_events(bus)
    watched = Watched(monkeypatch, "administration/drained")

    async def publish() -> None:
        await bus.publisher.publish(Publication([event(2, first)]))

    watched.between = publish
    await bus.retention.enforce()
    left = {status.spec.name: (status.pending, status.gone) for status in await bus.subscriptions()}
    assert set(left.values()) == {(2, 0)}
    async with Receiver.of(bus, NAMES[0]) as receiver:
        assert await receiver.acked(1) == [event(2, first).id]
        await receiver.nothing()
    await bus.retention.enforce()
    assert await pending(bus, NAMES[0]) == 0


async def test_an_entry_is_left_in_steps_although_groups_were_made_again(
    bus: RedisBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [event(number, f"o-{number}") for number in range(3)]
    await bus.publisher.publish(Publication(left))
    key = f"{bus._settings.prefix}:events:1:"
    for at in range(64):
        await bus._connection.command("XGROUP", "DESTROY", f"{key}{at}", f"1:{NAMES[0]}")
    await bus.register(specs("later"))
    await bus.publisher.publish(Publication([event(9, subject="later")]))
    watched = Watched(monkeypatch, *LOOK)
    async with Receiver.of(bus, NAMES[0]) as receiver:
        for here in (True, False):
            await bus.retention.enforce()
            assert await entries(bus) == (b"1 2" if here else b"2")
            if here:
                assert sorted(await receiver.acked(4)) == sorted(one.id for one in [*left, event(9, subject="later")])
                await bus.publisher.publish(Publication([event(10, subject="later")]))
    assert max(watched.costs) < 3 * repairs.COMMANDS
    assert (await pending(bus, NAMES[0]), await pending(bus, NAMES[1])) == (1, 5)


async def entries(bus: RedisBus) -> bytes:
    found: bytes = await bus._connection.keyed("HGET", "subscription:1", "entries")
    return found


async def test_what_is_owed_without_a_record_is_found_in_steps(bus: RedisBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many streams, and more events than one script reads."""
    for number in range(10):
        await bus.register([SubscriptionSpec(NAMES[0], SOURCE, f"{number}")])
        await bus.publisher.publish(Publication([event(at, subject=f"{number}", padding=100_000) for at in range(8)]))
    await bus._connection.keyed("DEL", "subscription:1")
    watched = Watched(monkeypatch, "administration/register", groups=2)
    await bus.register([SubscriptionSpec(NAMES[0], SOURCE, "9")])
    assert len(watched.costs) > 6, "8 MB of events, in steps of 1 MB"
    assert max(watched.costs) < 3 * repairs.COMMANDS
    assert await pending(bus, NAMES[0]) == 80
    assert await entries(bus) == b" ".join(b"%d" % number for number in range(1, 12))
    async with Receiver.of(bus, NAMES[0]) as receiver:
        assert len(await receiver.acked(80)) == 80
    assert await pending(bus, NAMES[0]) == 0
