"""Google's asyncio client: publishes messages, one a request and 100 requests at a time; pulls and acknowledges them.

The next 100 begin when the 100 before them are confirmed, as if there was a checkpoint after each hundred.

``rates`` prints how many a second; ``commits`` how many seconds so many messages take at once, over connections that
are there already.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterable
from itertools import count
from statistics import median

import grpc
import msgspec
import uvloop
from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport
from google.pubsub_v1.types import PubsubMessage, ReceivedMessage, Subscription

from benchmarks.objects import KINDS

TOPIC, SUBSCRIPTION = "projects/bare/topics/bare", "projects/bare/subscriptions/bare"
PUBLISHERS = 100
PULLED = 64  # messages in a request at the most
ACKNOWLEDGERS = 4
OBJECTS = 1000
WARM, MEASURED = 10, 10  # times that are not counted, and that are counted


class Topic:
    """A fresh topic with a subscription."""

    def __init__(self) -> None:
        host = os.environ["PUBSUB_EMULATOR_HOST"]
        channels = [grpc.aio.insecure_channel(host, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(2)]
        self._publisher = PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=channels[0]))
        self._subscriber = SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channels[1]))
        self._numbers = count()

    async def create(self) -> None:
        await self._publisher.create_topic(name=TOPIC)
        await self._subscriber.create_subscription(
            request=Subscription(
                name=SUBSCRIPTION,
                topic=TOPIC,
                ack_deadline_seconds=30,
                enable_message_ordering=True,
                enable_exactly_once_delivery=True,
            )
        )

    def messages(self, events: int) -> list[PubsubMessage]:
        """The next ones."""
        return [
            PubsubMessage(
                data=KINDS["workflow"].object(number % OBJECTS, number), ordering_key=f"object-{number % OBJECTS}"
            )
            for _, number in zip(range(events), self._numbers, strict=False)
        ]

    async def publish(self, messages: Iterable[PubsubMessage]) -> None:
        """All at the same time."""
        await asyncio.gather(*(self._publisher.publish(topic=TOPIC, messages=[message]) for message in messages))

    async def consume(self, events: int) -> None:
        acknowledging: set[asyncio.Task[None]] = set()
        while events:
            answer = await self._subscriber.pull(subscription=SUBSCRIPTION, max_messages=PULLED)
            ids = await asyncio.gather(*(_handle(received) for received in answer.received_messages))
            events -= len(ids)
            if len(acknowledging) == ACKNOWLEDGERS:
                _, acknowledging = await asyncio.wait(acknowledging, return_when=asyncio.FIRST_COMPLETED)
            if ids:
                acknowledging.add(asyncio.create_task(self._acknowledge(ids)))
        await asyncio.gather(*acknowledging)

    async def _acknowledge(self, ids: list[str]) -> None:
        await self._subscriber.acknowledge(subscription=SUBSCRIPTION, ack_ids=ids)


async def _handle(received: ReceivedMessage) -> str:
    """In a task of its own, as work on a message would be."""
    assert received.message.data
    return received.ack_id


async def rates(topic: Topic, events: int) -> dict[str, float]:
    messages = topic.messages(events)
    begun = time.perf_counter()
    for start in range(0, events, PUBLISHERS):
        await topic.publish(messages[start : start + PUBLISHERS])
    published = time.perf_counter()
    await topic.consume(events)
    return {"publish": events / (published - begun), "consume": events / (time.perf_counter() - published)}


async def commits(topic: Topic, events: int) -> dict[str, float]:
    seconds = []
    for _ in range(WARM + MEASURED):
        messages = topic.messages(events)
        begun = time.perf_counter()
        await topic.publish(messages)
        seconds.append(time.perf_counter() - begun)
    return {"seconds": median(seconds[WARM:])}


async def main(mode: str, events: int) -> None:
    topic = Topic()
    await topic.create()
    print(msgspec.json.encode(await {"rates": rates, "commits": commits}[mode](topic, events)).decode())


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
