"""The buses that a stack can be built on, by name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from kubecdc.storage.contracts import Bus
from kubecdc.storage.sqlite import SqliteSettings
from kubecdc.storage.sqlite import open_bus as open_sqlite
from tests.harness.back_end import BackEnd, Election, Observed, observed
from tests.harness.kinds import Kind
from tests.harness.own_redis import RedisStreams, RqQueues
from tests.harness.processes import Processes
from tests.storage import redis_server

BUSES = ("sqlite", "redis", "sqs", "pubsub", "rq")


class SqliteFile:
    """A file; whoever has locked it leads."""

    name = "sqlite"
    election: Election | None = None
    atomic = True
    ack_wait = 2.0
    faults: Collection[Kind] = frozenset()
    environment: Mapping[str, str] = {}
    proxy = None

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def manifest(self) -> Mapping[str, object]:
        return {"sqlite": {"path": str(self.path)}}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Bus]:
        """The bus, beside the processes that work on it; it is made if it is not there yet."""
        bus = await open_sqlite(SqliteSettings(self.path), holder="the test")
        try:
            yield bus
        finally:
            await bus.close()

    def copies(self) -> Mapping[str, int]:
        return {}

    def observed(self, kubeconfig: Path) -> AbstractAsyncContextManager[Observed]:
        return observed(self.open())


@asynccontextmanager
async def open_bus(kind: str, processes: Processes, directory: Path) -> AsyncIterator[BackEnd]:
    """One of `BUSES`, with all it has in the directory. Skips the test if what plays its server is not there."""
    match kind:
        case "sqlite":
            yield SqliteFile(directory / "bus.db")
        case "redis" | "rq":
            redis_server.require()
            folder = directory / "redis"
            own = RedisStreams(processes, folder) if kind == "redis" else RqQueues(processes, folder)
            async with own.running() as running:
                yield running
        case "sqs":
            from tests.harness.brokers import SqsQueues
            from tests.storage.sqs import elasticmq

            elasticmq.JARS.require()
            async with SqsQueues(elasticmq.ElasticMq(directory), directory).running() as queues:
                yield queues
        case "pubsub":
            from tests.harness.brokers import PubSubTopic
            from tests.storage.pubsub.fake import FakePubSub

            async with PubSubTopic(FakePubSub()).running() as topic:
                yield topic
        case _:
            raise ValueError(kind)
