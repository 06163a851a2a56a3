"""Publishes events: many requests at a time, each with the events of one object."""

from __future__ import annotations

from collections.abc import Sequence

from kubecdc.storage.broker.contract import Outgoing, Results
from kubecdc.storage.broker.publisher import publish
from kubecdc.storage.contracts import Publication
from kubecdc.storage.contracts.event import Event, truncated
from kubecdc.storage.pubsub.client import Client
from kubecdc.storage.pubsub.messages import fits, message_of, size_of
from kubecdc.storage.pubsub.settings import REQUEST_BYTES
from kubecdc.storage.pubsub.subscribers import Subscribers

MOST_MESSAGES = 1000  # in a request
TOPIC_BYTES = 1024  # of a request that are not messages


class PubSubSender:
    """`storage.broker.contract.Sender`: a request has messages of one ordering key, and is taken as a whole."""

    most = MOST_MESSAGES
    most_bytes = REQUEST_BYTES - TOPIC_BYTES
    whole_lanes = True
    parallel = 128

    def __init__(self, client: Client) -> None:
        self._client = client
        self.seconds = client.longest_call

    async def send(self, target: str, messages: Sequence[Outgoing]) -> Results:
        await self._client.publish(target, [message.form for message in messages])
        return [None] * len(messages)


class PubSubPublisher:
    """`storage.contracts.Publisher`: one topic, of which each subscription filters its events."""

    def __init__(self, client: Client, topic: str, subscribers: Subscribers, most_bytes: int) -> None:
        self._sender = PubSubSender(client)
        self._topic = topic
        self._subscribers = subscribers
        self._most_bytes = most_bytes

    async def publish(self, publication: Publication) -> None:
        await self._subscribers.require({(event.source, event.subject) for event in publication.events})
        messages = [
            self._outgoing(publication, index)
            for index in range(len(publication.events))
            if (self._topic, index) not in publication.done
        ]
        await publish(publication, messages, self._sender)

    def fit(self, event: Event) -> Event:
        return event if fits(event, self._most_bytes) else truncated(event)

    def _outgoing(self, publication: Publication, index: int) -> Outgoing:
        event = publication.events[index]
        message = message_of(event, publication.order(index), self._most_bytes)
        return Outgoing(self._topic, index, event.partitionkey, size_of(message), message)
