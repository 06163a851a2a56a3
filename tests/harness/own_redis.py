"""Buses in a redis-server of their own: Redis Streams, and RQ."""

from __future__ import annotations

import asyncio
import subprocess
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Self

from redis.asyncio import Redis

from kubecdc.storage.contracts import Bus
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.redis import RedisSettings
from kubecdc.storage.redis import open_bus as open_redis
from kubecdc.storage.redis.deliveries.partition_leases import HEARTBEAT
from kubecdc.storage.rq import ServerSettings
from kubecdc.storage.rq import open_bus as open_rq
from tests.harness.back_end import QUICK, Election, Observed, observed
from tests.harness.kinds import OF_A_BUS, Kind
from tests.harness.processes import Process, Processes, until
from tests.harness.proxy import Proxy
from tests.harness.terms import Committed
from tests.storage.keys import NEW, OLD, SECRET, KeyFolder
from tests.storage.redis_server import START, RedisServer

PARTITIONS = 8
REDIS = "redis"  # the name of its process


class OwnRedis(ABC):
    """A bus in Redis, led by a Lease. kubecdc reaches the server through the `proxy`, the test goes to it directly.

    The server is one of the `processes`, with an append-only file that is synced every second.
    """

    name: str
    election: Election | None = QUICK
    atomic = True
    ack_wait = 2.0
    faults: Collection[Kind] = OF_A_BUS
    environment: Mapping[str, str] = {}

    def __init__(self, processes: Processes, folder: Path) -> None:
        folder.mkdir(parents=True)
        # A rewrite of the file would take the place in it away at which a tail is cut.
        self._server = RedisServer(folder, "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0")
        self._processes = processes
        self._proxy = Proxy(self._server.port)
        self._encryption: Mapping[str, object] = {}

    @property
    def manifest(self) -> Mapping[str, object]:
        return {**self.queue, **self._encryption}

    @property
    @abstractmethod
    def queue(self) -> Mapping[str, object]:
        """The `manifest` without encryption."""

    def encrypt(self, secrets: Path) -> KeyFolder:
        """Encrypt with `NEW`, and decrypt with `OLD` too. To be called before the manifests are written."""
        self._encryption = {"encryption": {"keys": [{"name": SECRET, "key": key} for key in (NEW, OLD)]}}
        self.environment = {"KUBECDC_SECRETS_DIR": str(secrets)}
        return KeyFolder(secrets).write(NEW, OLD)

    @property
    @abstractmethod
    def heartbeat(self) -> float:
        """Seconds until a worker's next sign of life, at most."""

    @property
    def proxy(self) -> Proxy:
        return self._proxy

    @property
    def process(self) -> Process:
        return self._processes[REDIS]

    @abstractmethod
    def open(self) -> AbstractAsyncContextManager[Bus]:
        """The bus, beside the processes that work on it; it is made if it is not there yet."""

    def copies(self) -> Mapping[str, int]:
        return {}

    def observed(self, kubeconfig: Path) -> AbstractAsyncContextManager[Observed]:
        return observed(self.open())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """With the server and the proxy up; the server ends with the processes."""
        self._processes.start(REDIS, self._server.argv)
        await self._answers()
        async with self._proxy:
            yield self

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Redis]:
        """Redis' own client."""
        redis: Redis = Redis.from_url(self._server.url, protocol=2)
        try:
            yield redis
        finally:
            await redis.aclose()

    async def kill(self) -> None:
        """SIGKILL it and start it again: what was written to the file is there."""
        await self.process.kill()
        await self.start()

    async def start(self) -> None:
        """Start it again on the same data."""
        self._processes.restart(REDIS)
        await self._answers()

    def mark(self) -> int:
        """How long its file is now, for `lose_tail`."""
        return self._server.file.stat().st_size

    async def lose_tail(self, mark: int) -> int:
        """Kill it and start it without what it wrote since the mark, as after a power failure. Returns how many bytes.

        The mark may lie in the middle of a command. Redis by itself would leave out that one alone, and add the rest of
        its transaction to the next at the next start: what is torn is mended first, as operators are told to do.
        """
        await self.process.kill()
        file = self._server.file
        lost = file.stat().st_size - mark
        with file.open("r+b") as tail:
            tail.truncate(mark)
        whole = [*file.parent.glob("*.manifest"), file][0]
        await asyncio.to_thread(
            subprocess.run, ["redis-check-aof", "--fix", str(whole)], input=b"y\n", check=True, capture_output=True
        )
        await self.start()
        return lost

    async def flush_scripts(self) -> None:
        async with self.client() as redis:
            await redis.script_flush()

    async def _answers(self) -> None:
        try:
            await until(lambda: self._server.answers() or not self.process.running, START, "an answer of redis-server")
        except TimeoutError as e:
            raise AssertionError(f"{e}\n{self.process.tail()}") from e
        assert self.process.running, f"redis-server ended\n{self.process.tail()}"


class RedisStreams(OwnRedis):
    """Redis Streams."""

    name = "redis"

    def __init__(self, processes: Processes, folder: Path, *, partitions: int = PARTITIONS) -> None:
        super().__init__(processes, folder)
        self._partitions = partitions

    @property
    def queue(self) -> Mapping[str, object]:
        return {"redis": {"url": f"redis://127.0.0.1:{self.proxy.port}/0", "partitions": self._partitions}}

    @property
    def heartbeat(self) -> float:
        return HEARTBEAT

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Bus]:
        bus = await open_redis(RedisSettings(self._server.url, partitions=self._partitions), holder="the test")
        try:
            yield bus
        finally:
            await bus.close()

    async def committed(self) -> list[Committed]:
        """Every event that its streams hold (copies for replays left out), in the order of the commits."""
        return await committed(self._server.url)


class RqQueues(OwnRedis):
    """RQ."""

    name = "rq"
    heartbeat = OwnRedis.ack_wait  # of a worker's, a third of it

    @property
    def queue(self) -> Mapping[str, object]:
        return {"rq": {"url": f"redis://127.0.0.1:{self.proxy.port}/0"}}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Bus]:
        bus = await open_rq(ServerSettings(self._server.url), holder="the test")
        try:
            yield bus
        finally:
            await bus.close()


async def committed(url: str) -> list[Committed]:
    """Every event that the streams of the bus `default` hold, in the order of the commits; copies are left out."""
    found = []
    async with Redis.from_url(url, protocol=2) as redis:
        async for key in redis.scan_iter(match="{kubecdc:default}:events:*"):
            entries: Any = await redis.xrange(key)
            partition = int(key.rpartition(b":")[2])
            found += [_committed(partition, entry) for _, entry in entries if b"again" not in entry]
    return sorted(found)


def _committed(partition: int, entry: Mapping[bytes, bytes]) -> Committed:
    event = Event.decode(entry[b"body"])
    return Committed(int(entry[b"seq"]), partition, event.id, entry[b"key"].decode(), event.epoch)
