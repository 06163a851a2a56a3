"""A broker in memory that behaves as brokers do: it counts receptions, repeats what is not acked, and takes part of a
batch. With ``fifo``, a lane with a message in flight gives out no other; without, anything goes in any order."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NoReturn

from kubecdc.errors import KubecdcError, Unavailable, UsageError
from kubecdc.storage.broker.contract import Outgoing, Received, Results
from kubecdc.storage.broker.publisher import publish
from kubecdc.storage.broker.settings import BrokerSettings
from kubecdc.storage.broker.subscription import BrokerSubscription
from kubecdc.storage.contracts import (
    UNKNOWN,
    Approximate,
    Capabilities,
    ClaimLost,
    NoSubscription,
    Publication,
    StateStore,
    Subscription,
    SubscriptionSpec,
    SubscriptionStatus,
)
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.ensure import ensure_registered

WAIT = 0.2  # seconds of a long poll


@dataclass(eq=False)
class Stored:
    """A message. It is in flight with a handle until ``visible``."""

    id: str
    body: bytes
    lane: str
    order: str
    sent: float
    receptions: int = 0
    handle: int = 0
    visible: float = 0.0


@dataclass
class Topic:
    """The messages of one subscription, and what was given up on."""

    spec: SubscriptionSpec
    messages: list[Stored] = field(default_factory=list)
    dead: list[tuple[Stored, str, int]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class Broker:
    """What all queues of a test share. ``fault`` is called before each call, with its name; it may raise or wait."""

    def __init__(self, *, fifo: bool = True, rng: random.Random | None = None, longest_delay: float = 0.0) -> None:
        self.fifo = fifo
        self.rng = rng or random.Random(0)
        self.longest_delay = longest_delay
        self.topics: dict[str, Topic] = {}
        self.number = itertools.count(1)
        self.calls: list[tuple[str, int]] = []
        self.refused: Callable[[Outgoing], bool] = lambda message: False
        self.before: Callable[[str], None] = lambda call: None
        self.after: Callable[[str], None] = lambda call: None

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def put(self, topic: Topic, body: bytes, lane: str, order: str) -> Stored:
        """Take a message."""
        message = Stored(f"m{next(self.number)}", body, lane, order, self.now)
        topic.messages.append(message)
        topic.changed.set()
        return message

    def visible(self, topic: Topic) -> list[Stored]:
        """What may be given out now."""
        found, blocked = [], set()
        for message in topic.messages:
            if message.visible > self.now:
                blocked.add(message.lane)
            elif not (self.fifo and message.lane in blocked):
                found.append(message)
        if self.fifo:
            return [message for message in found if message.lane not in blocked]
        self.rng.shuffle(found)
        return found


class MemoryQueue:
    """`storage.contracts.Queue`, and its publisher and sender."""

    most, most_bytes, parallel, seconds = 10, 1 << 20, 8, 1.0

    def __init__(
        self,
        broker: Broker,
        holder: str = "one",
        ack_wait: timedelta = timedelta(seconds=30),
        *,
        whole_lanes: bool = False,
    ) -> None:
        self._broker = broker
        self._holder = holder
        self.ack_wait = ack_wait
        self.whole_lanes = whole_lanes
        self.publisher = self
        self.opened: list[BrokerSubscription] = []
        self.capabilities = Capabilities(
            order=broker.fifo,
            atomic_commit=False,
            delayed_nack=True,
            attempts=False,
            replay=False,
            dead_letter_browse=False,
            max_event_bytes=1 << 20,
            exactly_once_publish=False,
            counts=False,
            limits_backlog=False,
            never_back=broker.fifo,
            uses_state=True,
        )

    async def publish(self, publication: Publication) -> None:
        messages = []
        for index, event in enumerate(publication.events):
            wanted = [
                name
                for name, topic in self._broker.topics.items()
                if (topic.spec.source, topic.spec.subject) == (event.source, event.subject)
            ]
            if not wanted:
                raise NoSubscription.to_event(event.source, event.subject)
            body = event.encode()
            for name in wanted:
                form = (body, event.partitionkey, publication.order(index))
                messages.append(Outgoing(name, index, event.partitionkey, len(body), form))
        await publish(publication, messages, self)

    def fit(self, event: Event) -> Event:
        return event

    async def send(self, target: str, messages: Sequence[Outgoing]) -> Results:
        self._broker.calls.append(("send", len(messages)))
        self._broker.before("send")
        await asyncio.sleep(0)
        results: list[KubecdcError | None] = []
        for message in messages:
            if self._broker.refused(message):
                results.append(Unavailable("throttled"))
                continue
            self._broker.put(self._broker.topics[target], *message.form)
            results.append(None)
        self._broker.after("send")
        return results

    async def register(self, specs: Iterable[SubscriptionSpec]) -> None:
        for spec in specs:
            self._broker.topics.setdefault(spec.name, Topic(spec)).spec = spec

    async def keep(self, specs: Iterable[SubscriptionSpec]) -> None:
        """The latest registration alone counts."""

    async def ensure(self, specs: Iterable[SubscriptionSpec], *, dry_run: bool) -> list[str]:
        return await ensure_registered(self, specs, dry_run=dry_run)

    async def subscriptions(self, *, ages: bool = True) -> list[SubscriptionStatus]:
        return [
            SubscriptionStatus(
                topic.spec, UNKNOWN, Approximate(len(topic.messages)), UNKNOWN, Approximate(len(topic.dead)), UNKNOWN
            )
            for _, topic in sorted(self._broker.topics.items())
        ]

    async def prune(self, name: str) -> bool:
        return self._broker.topics.pop(name, None) is not None

    def subscription(self, name: str, *, prefetch: int, state: StateStore | None = None) -> Subscription:
        seconds = self.ack_wait.total_seconds()
        settings = BrokerSettings(name, prefetch, seconds, ordered=self._broker.fifo, holder=self._holder)

        async def registered() -> tuple[SubscriptionSpec, ...]:
            topic = self._broker.topics.get(name)
            return (topic.spec,) if topic else ()

        opened = BrokerSubscription(MemorySource(self._broker, name, seconds), settings, state, registered)
        self.opened.append(opened)
        return opened

    @property
    def dead_letters(self) -> NoReturn:
        raise UsageError("not here")

    async def replay(self, replay: object) -> NoReturn:
        raise UsageError("not here")

    replayable = replay

    async def close(self) -> None:
        for opened in self.opened:
            opened.end()


class MemorySource:
    """`storage.broker.contract.Source`. ``errors``: what a call of that name answers for a message."""

    def __init__(self, broker: Broker, name: str, ack_wait: float, *, most: int = 10) -> None:
        self._broker = broker
        self._name = name
        self._ack_wait = ack_wait
        self.most = most
        self.longest_delay = broker.longest_delay

    async def receive(self, most: int) -> list[Received]:
        broker, begin = self._broker, self._broker.now
        broker.before("receive")
        while True:
            topic = broker.topics.get(self._name)
            if topic is None:
                raise NoSubscription.of(self._name)
            if found := broker.visible(topic)[: min(most, self.most)]:
                break
            if broker.now > begin + WAIT:
                return []
            await asyncio.sleep(0.005)
        for message in found:
            message.receptions += 1
            message.handle = next(broker.number)
            message.visible = broker.now + self._ack_wait
        broker.calls.append(("receive", len(found)))
        until = broker.now + self._ack_wait
        return [Received((m, m.handle), m.id, m.body, m.lane, m.order, m.sent, m.receptions, until) for m in found]

    async def ack(self, messages: Sequence[Received]) -> Results:
        return await self._each("ack", messages, self._delete)

    async def extend(self, messages: Sequence[Received]) -> Results:
        def extend(message: Stored) -> None:
            message.visible = self._broker.now + self._ack_wait

        return await self._each("extend", messages, extend)

    async def release(self, messages: Sequence[Received], delay: float) -> Results:
        def release(message: Stored) -> None:
            message.visible = self._broker.now + delay
            message.handle = 0

        return await self._each("release", messages, release)

    async def dead_letter(self, message: Received, reason: str, attempts: int) -> None:
        def give_up(stored: Stored) -> None:
            self._broker.topics[self._name].dead.append((stored, reason, attempts))
            self._delete(stored)

        (error,) = await self._each("dead_letter", [message], give_up)
        if error:
            raise error

    async def _each(self, name: str, messages: Sequence[Received], do: Callable[[Stored], None]) -> Results:
        self._broker.calls.append((name, len(messages)))
        self._broker.before(name)
        await asyncio.sleep(0)
        results: list[KubecdcError | None] = []
        if self._name not in self._broker.topics:
            return [None] * len(messages)
        for message in messages:
            stored, handle = message.handle
            if stored.handle != handle or stored.visible <= self._broker.now:
                results.append(ClaimLost.lapsed(message.id))
                continue
            do(stored)
            results.append(None)
        self._broker.after(name)
        return results

    def _delete(self, message: Stored) -> None:
        self._broker.topics[self._name].messages.remove(message)
        message.handle = 0


def lanes(topic: Topic) -> dict[str, list[str]]:
    """The places in the order of publications, by lane."""
    found: dict[str, list[str]] = defaultdict(list)
    for message in topic.messages:
        found[message.lane].append(message.order)
    return found
