"""What a bus is given of objects. A test for each back end searches all that it stores for it."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path

import msgspec

from kubecdc.storage.contracts import Bus, Delivery, Inventoried, SubscriptionSpec
from kubecdc.storage.contracts.event import Event, truncated
from kubecdc.storage.encryption.bus import EncryptedBus
from kubecdc.storage.testing.actors import KEY, SOURCE, SUBJECT, Leader, Receiver, event
from tests.storage import redis_server
from tests.storage.keys import NEW, OLD, KeyFolder
from tests.storage.redis_server import RedisServer
from tests.storage.redis_topologies import running

CLEAR, SECRET = "published-in-the-clear", "s3cret-of-an-object"
READ, GIVEN_UP, LATE = (SubscriptionSpec(name, SOURCE, SUBJECT) for name in ("read", "given-up", "late"))
LARGE = 300_000  # bytes of a body that some back ends compress
AGAIN = timedelta(seconds=1)
Open = Callable[[str], Awaitable[Bus]]
Raw = Callable[[], Awaitable[bytes]]


def change(number: int, value: str, *, size: int = 0) -> Event:
    """An event of an object that contains the value."""
    body = {"stringData": {"password": value}, "padding": f"{value} " * (size // 20)}
    data = json.dumps({"type": "ADD", "body": body, "group": "", "version": "v1", "resource": "secrets"})
    return msgspec.structs.replace(event(number, f"object-{number}"), data=msgspec.Raw(data.encode()))


ALL = {one.id: one for one in (change(1, CLEAR), change(2, SECRET), change(3, SECRET, size=LARGE))}


@asynccontextmanager
async def encrypting(bus: Bus, folder: KeyFolder, *names: str) -> AsyncIterator[EncryptedBus]:
    """The bus, with the keys of these names."""
    async with folder.kept(*names) as ring:
        yield EncryptedBus(bus, ring)


@contextmanager
def redis_with_a_file(folder: Path) -> Iterator[tuple[RedisServer, Raw]]:
    """A server of its own, and all that it has stored: every command that has written something."""
    redis_server.require()
    (folder / "redis").mkdir()
    with running(RedisServer(folder / "redis")) as server:

        async def raw() -> bytes:
            return server.file.read_bytes()

        yield server, raw


async def is_stored_nowhere(open_: Open, raw: Raw, secrets: Path) -> None:
    """Publish in the clear, with a key, and with the next one; read all of it, give it up, and search what is stored.

    Then one of the keys is away, and comes back.
    """
    folder = KeyFolder(secrets).write(NEW, OLD)
    first, second, third = ALL.values()
    bus = await open_("clear")
    await bus.register([READ, GIVEN_UP, LATE])
    await _commit(bus, first, 1)
    assert CLEAR.encode() in await raw(), "what is stored can be searched"
    async with encrypting(await open_("old"), folder, OLD) as bus:
        await _commit(bus, second, 2)
    async with encrypting(await open_("rotated"), folder, NEW, OLD) as bus:
        await _commit(bus, third, 3)
        async with Receiver.of(bus, READ.name) as receiver:
            await _all(receiver, lambda delivery: delivery.ack())
        async with Receiver.of(bus, GIVEN_UP.name) as receiver:
            await _all(receiver, lambda delivery: delivery.dead_letter("a test"))
        letters = await bus.dead_letters.page()
        bodies = {letter.event: found[1] for letter in letters if (found := await bus.dead_letters.letter(letter.id))}
        assert bodies == {id_: one.encode() for id_, one in ALL.items()}
        assert await bus.checkpoints.bodies(KEY, ["uid"]) == {"uid": SECRET.encode()}
    folder.write(NEW)
    async with encrypting(await open_("without"), folder, NEW, OLD) as bus, Receiver.of(bus, LATE.name) as receiver:
        await _waits_for_its_key(receiver, second, folder)
    stored = await raw()
    assert all(id_.encode() in stored for id_ in ALL)
    assert SECRET.encode() not in stored


async def _commit(bus: Bus, change: Event, term: int) -> None:
    """With a body for the inventory."""
    leader = await Leader.take(bus, term=term)
    batch = leader.batch(
        [bus.publisher.fit(change)],
        upserts={"uid": Inventoried("1", "default", "a", True)},
        bodies={"uid": (CLEAR if term == 1 else SECRET).encode()},
    )
    await leader.send(bus.publisher.prepare(batch, term=leader.term))


async def _all(receiver: Receiver, settle: Callable[[Delivery], Awaitable[None]]) -> None:
    left = dict(ALL)
    while left:
        delivery = await receiver.next()
        expected = left.pop(delivery.event.id)
        assert delivery.event == expected
        assert delivery.body == expected.encode()
        await delivery.start()
        await settle(delivery)


async def _waits_for_its_key(receiver: Receiver, event: Event, folder: KeyFolder) -> None:
    """It is handed out as it is stored, the others as they were published."""
    left, locked = dict(ALL), 0
    while left:
        delivery = await receiver.next()
        if delivery.event.encryptionkey:
            assert delivery.event.id == event.id
            assert SECRET.encode() not in delivery.body
            locked += 1
            folder.write(NEW, OLD)
            await delivery.nack(AGAIN)
        else:
            assert delivery.event == left.pop(delivery.event.id)
            await delivery.ack()
    assert locked


async def fits_when_encrypted(bus: Bus, raw_sizes: Callable[[], list[int]], limit: int, secrets: Path) -> None:
    """Of three events of more than a message takes once they are encrypted, the one that is compressible enough is sent
    whole, and so is the one that is not and was small enough in the clear. The other one is truncated."""
    folder = KeyFolder(secrets).write(NEW)
    async with encrypting(bus, folder, NEW) as encrypted:
        await encrypted.register([READ])
        padded, noise, large = change(1, SECRET, size=2 * limit), noisy(2, limit * 9 // 10), noisy(3, limit * 3)
        sent = [encrypted.publisher.fit(one) for one in (padded, noise, large)]
        assert sent == [padded, noise, truncated(large)]
        leader = await Leader.take(encrypted)
        for one in sent:
            await leader.commit(one)
        left = {one.id: one for one in sent}
        async with Receiver.of(encrypted, READ.name) as receiver:
            while left:
                delivery = await receiver.next()
                assert delivery.event == left.pop(delivery.event.id)
                await delivery.ack()
    assert max(raw_sizes()) <= limit


def noisy(number: int, size: int) -> Event:
    """An event whose data has about that many bytes, of which compression leaves a half."""
    return change(number, random.Random(number).randbytes(size // 2).hex())
