"""How many events a second go into SQS and out of it, with ElasticMQ as the server."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.bare import sqs as bare
from kubecdc.storage.contracts import Delivery, Publication, SubscriptionSpec, Term
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.sqs import SqsSettings, open_queue
from kubecdc.storage.sqs.client import PARALLEL
from kubecdc.storage.sqs.opened import SqsQueue
from kubecdc.storage.testing.actors import SOURCE, SUBJECT, event
from tests.storage.sqs.elasticmq import ElasticMq

NAME = "benchmark"
RECEIVERS = 4  # calls at a time, as the subscription makes them
PREFETCH = 256
BATCH = 100  # events in a publish


@dataclass(frozen=True)
class Rates:
    """Events a second."""

    publish: float
    consume: float


async def through_sqs(events: int) -> tuple[Rates, Rates]:
    """The rates of ours and of boto3 alone, on one server, one after the other."""
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "none")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "none")
    with tempfile.TemporaryDirectory() as folder:
        server = ElasticMq(Path(folder))
        server.start()
        try:
            async with _queue(server.url) as (queue, url):
                await _publish(queue, BATCH * PARALLEL)  # the server is slow at first
                await _consume(queue, BATCH * PARALLEL)
                ours = Rates(await _publish(queue, events), await _consume(queue, events))
                bodies = [one.encode().decode() for one in _events(0, events)]
                published = await asyncio.to_thread(bare.publish, server.url, url, bodies, PARALLEL)
                consumed = await asyncio.to_thread(bare.consume, server.url, url, events, RECEIVERS)
                return ours, Rates(published, consumed)
        finally:
            server.kill()


@asynccontextmanager
async def _queue(endpoint: str) -> AsyncIterator[tuple[SqsQueue, str]]:
    """The queue of one subscription, and its URL."""
    settings = SqsSettings(region="eu-west-1", endpoint_url=endpoint, message_bytes=256 << 10, learn=0.0)
    operator = await open_queue(settings, holder="operator")
    await operator.register([SubscriptionSpec(NAME, SOURCE, SUBJECT)])
    await operator.close()
    queue = await open_queue(replace(settings, learn=10.0), holder="benchmark")
    try:
        yield queue, (await queue.listing()).queues[NAME].url
    finally:
        await queue.close()


def _events(first: int, count: int) -> list[Event]:
    return [event(number, f"object-{number}", padding=1500) for number in range(first, first + count)]


async def _publish(queue: SqsQueue, events: int) -> float:
    begin = time.monotonic()
    for first in range(0, events, BATCH):
        await queue.publisher.publish(Publication(_events(first, BATCH), term=Term(1, "leader")))
    return events / (time.monotonic() - begin)


async def _consume(queue: SqsQueue, events: int) -> float:
    settling: set[asyncio.Task[None]] = set()

    async def settle(delivery: Delivery) -> None:
        await delivery.start()
        await delivery.ack()

    begin, left = time.monotonic(), events
    async for delivery in queue.subscription(NAME, prefetch=PREFETCH).deliveries():
        task = asyncio.create_task(settle(delivery))
        settling.add(task)
        task.add_done_callback(settling.discard)
        left -= 1
        if not left:
            break
    await asyncio.gather(*settling)
    return events / (time.monotonic() - begin)
