"""The buses that a stack can be built on, by name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.harness.back_end import BackEnd
from tests.harness.own_redis import RedisStreams, RqQueues
from tests.harness.processes import Processes
from tests.harness.sqlite_file import SqliteFile
from tests.storage import redis_server

BUSES = ("sqlite", "redis", "sqs", "pubsub", "rq")


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
