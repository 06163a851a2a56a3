"""A fleet: workers on one bus in Redis, each a process of its own, and events published straight to the bus.

No API server is in between, so that a machine of two cores can hold many workers. Each posts to a path of its own, by
which the receiver's record tells them apart.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import aiohttp
import msgspec
import yaml

from kubecdc.storage.contracts import Publication, SubscriptionSpec
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.redis import RedisSettings, open_bus
from kubecdc.storage.redis.bus import RedisBus
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, pending
from tests.harness.processes import Process, Processes
from tests.harness.receiver import Behaviour, Line, lines
from tests.harness.stack import KUBECDC

SUBSCRIPTION = "relay/post"
REDELIVERY: Mapping[str, object] = {"ackWait": "2s", "backoff": {"duration": "200ms", "cap": "1s"}}
BATCH = 100  # events a publish


@dataclass
class Fleet:
    """``redis``: its URL; ``way``: that by which the workers go there, if it is another."""

    directory: Path
    processes: Processes
    redis: str
    partitions: int = 64
    redelivery: Mapping[str, object] = field(default_factory=lambda: REDELIVERY)
    way: str = ""
    url: str = ""
    published: dict[str, float] = field(default_factory=dict)  # event id -> monotonic second

    @property
    def received(self) -> Path:
        """The file that the receiver writes."""
        return self.directory / "received.jsonl"

    async def start_receiver(self) -> None:
        port = self.directory / "receiver.port"
        argv = [sys.executable, "-m", "tests.harness.receiver", "--out", str(self.received), "--port-file", str(port)]
        process = self.processes.start("receiver", argv)
        self.url = f"http://127.0.0.1:{await process.wait_for_file(port)}"

    async def behave(self, behaviour: Behaviour) -> None:
        """Make the receiver misbehave."""
        body = msgspec.json.encode(behaviour)
        async with aiohttp.ClientSession() as http, http.post(f"{self.url}/_behave", data=body) as answer:
            assert answer.status == 200

    def manifests(self, name: str) -> Path:
        """The manifests of one worker; it posts to ``/<name>``."""
        trigger = {"template": {"name": "post", "http": {"url": f"{self.url}/{name}"}}}
        specs: dict[str, tuple[str, Mapping[str, object]]] = {
            "EventBus": (
                "default",
                {
                    "redis": {"url": self.way or self.redis, "partitions": self.partitions},
                    "redelivery": dict(self.redelivery),
                },
            ),
            "Sensor": (
                "relay",
                {
                    "dependencies": [{"name": "change", "eventSourceName": SOURCE, "eventName": SUBJECT}],
                    "triggers": [trigger],
                },
            ),
        }
        path = self.directory / f"{name}.yaml"
        documents = [
            {"apiVersion": "kubecdc.io/v1alpha1", "kind": kind, "metadata": {"name": of}, "spec": spec}
            for kind, (of, spec) in specs.items()
        ]
        path.write_text(yaml.safe_dump_all(documents))
        return path

    def start_worker(self, name: str) -> Process:
        return self.processes.start(name, [KUBECDC, "work", "-f", str(self.manifests(name)), "--log-format", "json"])

    async def ask(self, *command: str) -> list[dict[str, object]]:
        """What an operator's command says of the bus."""
        argv = [*command, "-f", str(self.manifests("operator")), "-o", "json"]
        process = await asyncio.create_subprocess_exec(KUBECDC, *argv, stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        assert process.returncode == 0, said
        return msgspec.json.decode(said, type=list[dict[str, object]])

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[RedisBus]:
        """The bus, opened beside the workers; the subscription is registered."""
        bus = await open_bus(
            RedisSettings(self.redis, partitions=self.partitions, ack_wait=timedelta(seconds=2)), holder="the test"
        )
        try:
            await bus.register([SubscriptionSpec(SUBSCRIPTION, SOURCE, SUBJECT)])
            yield bus
        finally:
            await bus.close()

    async def publish(self, bus: RedisBus, events: Sequence[Event], *, rate: float = 0.0, batch: int = BATCH) -> None:
        """In order, in batches; when each was durable is remembered. ``rate``: events a second, 0 = no pauses."""
        turn = time.monotonic()
        for start in range(0, len(events), batch):
            if rate:
                await asyncio.sleep(turn - time.monotonic())
                turn = max(turn + batch / rate, time.monotonic())
            some = events[start : start + batch]
            await bus.publisher.publish(Publication(some))
            now = time.monotonic()
            self.published.update((event.id, now) for event in some)

    async def shares(self, bus: RedisBus) -> list[int]:
        """How many partitions each worker has, those without one left out."""
        return sorted(Counter(await bus._connection.keyed("HVALS", "leases:1")).values())

    async def until(self, condition: Callable[[], Awaitable[object]], seconds: float, what: str) -> float:
        """Wait for the condition; returns how long it took. Raises AssertionError with all logs if it does not come."""
        begun = time.monotonic()
        while not await condition():
            if time.monotonic() - begun > seconds:
                raise AssertionError(f"{what}: not within {seconds:g} s\n{self.processes.tails()}")
            await asyncio.sleep(0.05)
        return time.monotonic() - begun

    async def settle(self, bus: RedisBus, seconds: float = 60.0) -> None:
        """Wait until nothing is pending."""

        async def settled() -> bool:
            return await pending(bus, SUBSCRIPTION) == 0

        await self.until(settled, seconds, "an empty backlog")

    def lines(self) -> list[Line]:
        """The requests received so far."""
        return list(lines(self.received)) if self.received.exists() else []

    def requests(self) -> int:
        """How many those are."""
        return self.received.read_bytes().count(b"\n") if self.received.exists() else 0

    def delays(self, of: Iterable[Line]) -> list[float]:
        """Seconds from the commit of each event to its request, sorted."""
        return sorted(line.at - self.published[line.id] for line in of)

    def account(self) -> Account:
        """What became of all that was published."""
        return account(list(self.published), self.lines())


@dataclass(frozen=True)
class Account:
    """Event ids, by what is wrong with them. Only answers of 2xx count as delivered."""

    lost: list[str]
    invented: list[str]
    repeated: list[str]
    out_of_order: list[tuple[str, str]]


def account(published: Sequence[str], received: Sequence[Line]) -> Account:
    """Compare. ``published`` in order; an order is kept per object, by the first receipt of each event."""
    place = {event: number for number, event in enumerate(published)}
    delivered: dict[str, None] = {}
    repeated, out_of_order = [], []
    last: dict[str, str] = {}
    for line in received:
        if not 200 <= line.answer < 300 or line.id not in place:
            continue
        if line.id in delivered:
            repeated.append(line.id)
            continue
        delivered[line.id] = None
        before = last.get(line.partitionkey)
        if before and place[line.id] < place[before]:
            out_of_order.append((before, line.id))
        last[line.partitionkey] = line.id
    invented = [line.id for line in received if line.id not in place]
    return Account([event for event in published if event not in delivered], invented, repeated, out_of_order)
