"""The actors of the cases: a keeper of checkpoints, a leader that commits, a receiver of deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import msgspec

from kubecdc.storage.contracts import (
    Approximate,
    Batch,
    Bus,
    CheckpointDelta,
    CheckpointStore,
    Delivery,
    Gap,
    Inventoried,
    Selection,
    State,
    Term,
    Unknown,
)
from kubecdc.storage.contracts.event import Event, event_id, partition_key, sequence

T = TypeVar("T")
DEADLINE = 20.0  # seconds for anything that must happen
SOURCE, SUBJECT = "workflows", "changed"
KEY = "default/workflows/changed"


def event(number: int, name: str = "a", *, source: str = SOURCE, subject: str = SUBJECT, padding: int = 0) -> Event:
    """An ADD of the object ``name`` in version ``number``."""
    return Event(
        specversion="1.0",
        id=event_id(subject, f"uid-{name}", str(number), "ADD"),
        source=source,
        subject=subject,
        type="resource",
        time="2026-01-01T00:00:00Z",
        datacontenttype="application/json",
        partitionkey=partition_key("workflows", "argoproj.io", "default", name),
        sequence=sequence(str(number)),
        epoch=1,
        data=msgspec.Raw(b'{"type":"ADD","body":{"kept": "as it was,  \xc3\xa9 %s"}}' % (b"x" * padding)),
    )


def events(numbers: Sequence[int], name: str = "a") -> list[Event]:
    """One event per version of the object."""
    return [event(number, name) for number in numbers]


def state(position: int, *, listing: str = "") -> State:
    """The state of a checkpoint at a position."""
    selection = Selection(
        cluster="c", group="argoproj.io", version="v1", resource="workflows", namespace="", labels="", filters=""
    )
    return State(position=str(position), listing=listing, selection=selection, started="2026-01-01T00:00:00Z")


def step(
    follows: int,
    *,
    upserts: Mapping[str, Inventoried] | None = None,
    removals: frozenset[str] = frozenset(),
    bodies: Mapping[str, bytes] | None = None,
    gap: Gap | None = None,
    after: str = "",
) -> CheckpointDelta:
    """The next step of a checkpoint that is at commit ``follows``. Its position is its own number."""
    return CheckpointDelta(
        follows=follows,
        state=state(follows + 1),
        upserts=upserts or {},
        removals=removals,
        bodies=bodies or {},
        gap=gap,
        after=after,
    )


class Keeper:
    """Stands for a watcher that uses a checkpoint store: one checkpoint, one term, consecutive steps."""

    def __init__(self, store: CheckpointStore, number: int, *, term: int = 1, key: str = KEY) -> None:
        self.store = store
        self.number = number
        self.term = Term(term, f"keeper-{term}")
        self.key = key

    @classmethod
    async def take(cls, store: CheckpointStore, *, term: int = 1, key: str = KEY) -> Keeper:
        """Fence older terms, and start from the current number of the checkpoint."""
        checkpoint = await store.acquire(key, Term(term, f"keeper-{term}"))
        return cls(store, checkpoint.number, term=term, key=key)

    async def send(self, delta: CheckpointDelta) -> None:
        """Save that step, without advancing."""
        await self.store.save(self.key, delta, term=self.term)

    async def intend(self, delta: CheckpointDelta) -> bool:
        """Record that the events of that step are about to be published."""
        return await self.store.intend(self.key, delta, term=self.term)

    async def save(self, **what: Any) -> CheckpointDelta:
        """Save the next step and advance."""
        delta = step(self.number, **what)
        await self.send(delta)
        self.number += 1
        return delta


class Leader:
    """Stands for a watcher that uses a bus: one checkpoint, one term, consecutive commits."""

    def __init__(self, bus: Bus, number: int, *, term: int = 1, key: str = KEY) -> None:
        self.bus = bus
        self.number = number
        self.term = Term(term, f"leader-{term}")
        self.key = key

    @classmethod
    async def take(cls, bus: Bus, *, term: int = 1, key: str = KEY) -> Leader:
        """Fence older terms, and start from the current number of the checkpoint."""
        checkpoint = await bus.checkpoints.acquire(key, Term(term, f"leader-{term}"))
        return cls(bus, checkpoint.number, term=term, key=key)

    def batch(
        self,
        events: Sequence[Event] = (),
        *,
        upserts: Mapping[str, Inventoried] | None = None,
        removals: frozenset[str] = frozenset(),
        bodies: Mapping[str, bytes] | None = None,
        gap: Gap | None = None,
        after: str = "",
    ) -> Batch:
        """The next batch; its position is its number."""
        delta = step(self.number, upserts=upserts, removals=removals, bodies=bodies, gap=gap, after=after)
        return Batch(self.key, events, delta)

    async def send(self, batch: Batch) -> None:
        """Commit that batch, without advancing."""
        await self.bus.publisher.commit(batch, term=self.term)

    async def commit(self, *events: Event, upserts: Mapping[str, Inventoried] | None = None) -> None:
        """Commit the events and advance."""
        await self.send(self.batch(events, upserts=upserts))
        self.number += 1


class Receiver:
    """Receives the deliveries of one subscription."""

    def __init__(self) -> None:
        self._taken: asyncio.Queue[Delivery] = asyncio.Queue()

    @classmethod
    @asynccontextmanager
    async def of(cls, bus: Bus, name: str, *, prefetch: int = 1) -> AsyncIterator[Receiver]:
        """Receive during the block. Leaving it settles nothing, as if the process had died."""
        receiver = cls()
        pump = asyncio.create_task(receiver._pump(bus, name, prefetch))
        try:
            yield receiver
        finally:
            pump.cancel()
            with suppress(asyncio.CancelledError):
                await pump

    async def _pump(self, bus: Bus, name: str, prefetch: int) -> None:
        async for delivery in bus.subscription(name, prefetch=prefetch).deliveries():
            self._taken.put_nowait(delivery)

    async def next(self) -> Delivery:
        """The next delivery. Raises TimeoutError if none comes."""
        async with asyncio.timeout(DEADLINE):
            return await self._taken.get()

    async def acked(self, count: int) -> list[str]:
        """Start and ack that many deliveries. Returns their event ids in the order received."""
        ids = []
        for _ in range(count):
            delivery = await self.next()
            await delivery.start()
            await delivery.ack()
            ids.append(delivery.event.id)
        return ids

    async def nothing(self, seconds: float = 0.15) -> None:
        """Check that no delivery comes for that many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                delivery = await self._taken.get()
                raise AssertionError(f"{delivery.event.id} was delivered, nothing was expected")


@asynccontextmanager
async def raises(error: type[BaseException]) -> AsyncIterator[None]:
    """Check that the block raises an error of this class. The suite does not need pytest."""
    try:
        yield
    except error:
        return
    raise AssertionError(f"{error.__name__} was expected")


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the condition is true. Raises TimeoutError if it does not become true in time."""
    async with asyncio.timeout(DEADLINE):
        while not await condition():  # noqa: ASYNC110 (a bus has no event for it)
            await asyncio.sleep(0.005)


def known(value: T | Unknown) -> T:
    """A value that the back end must know."""
    assert not isinstance(value, Unknown)
    return value


async def pending(bus: Bus, name: str) -> int:
    """The backlog of a subscription. Raises KeyError if there is none of that name."""
    return known({status.spec.name: status.pending for status in await bus.subscriptions()}[name])


async def expect_pending(bus: Bus, name: str, expected: int) -> None:
    """Check the backlog of a subscription, if the back end can tell it. An estimate has to become right."""
    (pending,) = [status.pending for status in await bus.subscriptions() if status.spec.name == name]
    if isinstance(pending, Approximate):

        async def right() -> bool:
            (status,) = [status for status in await bus.subscriptions() if status.spec.name == name]
            return status.pending == expected

        await until(right)
    elif not isinstance(pending, Unknown):
        assert pending == expected
