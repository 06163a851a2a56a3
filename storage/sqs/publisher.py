"""Publishes events to the queues of their subscriptions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kubecdc.concurrency import Limit
from kubecdc.errors import KubecdcError
from kubecdc.storage.broker import publisher as broker
from kubecdc.storage.broker.contract import Outgoing, Results
from kubecdc.storage.contracts import Publication
from kubecdc.storage.contracts.errors import NoSubscription
from kubecdc.storage.contracts.event import Event, truncated
from kubecdc.storage.sqs import encoding, names
from kubecdc.storage.sqs.backlog import Backlog
from kubecdc.storage.sqs.catalog import Catalog, FoundQueue, Listing
from kubecdc.storage.sqs.client import PARALLEL, SECONDS, Client
from kubecdc.storage.sqs.encoding import Encoded
from kubecdc.storage.sqs.errors import QueueGone, entry_error
from kubecdc.storage.sqs.settings import SqsSettings

ENTRIES = 10  # messages in a call


@dataclass(frozen=True)
class Message:
    """A message to send. ``group`` and ``id`` (of deduplication) are "" where the queue has none."""

    encoded: Encoded
    group: str = ""
    id: str = ""

    def entry(self, number: int) -> dict[str, Any]:
        """It as an entry of a batch."""
        attributes = encoding.as_attributes(self.encoded.attributes)
        entry = {"Id": str(number), "MessageBody": self.encoded.text, "MessageAttributes": attributes}
        if self.group:
            entry["MessageGroupId"] = self.group
        if self.id:
            entry["MessageDeduplicationId"] = self.id
        return entry


def message(settings: SqsSettings, body: bytes, partitionkey: str, *, order: str = "", id_: str = "") -> Message:
    """An event's body as a message to a queue of the bus."""
    group = names.group(partitionkey)
    key = partitionkey if encoding.is_sendable(partitionkey) else group
    attributes = {encoding.ORDER: order}
    above = min(settings.compress_above, settings.message_bytes - 2 * encoding.RESERVE)
    if not settings.grouped or key != group:
        attributes[encoding.PARTITIONKEY] = key
    return Message(
        encoding.encoded(body, compress_above=above, attributes=attributes),
        group if settings.grouped else "",
        id_ if settings.fifo else "",
    )


class SqsSender:
    """Implements `storage.broker.contract.Sender`: SendMessageBatch, where each message may fail by itself."""

    most = ENTRIES
    whole_lanes = False
    parallel = PARALLEL
    seconds = SECONDS

    def __init__(self, client: Client, catalog: Catalog, backlog: Backlog, settings: SqsSettings) -> None:
        self._client = client
        self._catalog = catalog
        self._backlog = backlog
        self.most_bytes = settings.message_bytes

    async def send(self, target: str, messages: Sequence[Outgoing]) -> Results:
        entries = [sent.form.entry(number) for number, sent in enumerate(messages)]
        try:
            reply = await self._client.call("send_message_batch", QueueUrl=target, Entries=entries)
        except QueueGone as e:
            self._catalog.forget()
            raise NoSubscription.ended(names.of_url(target)) from e
        results: list[KubecdcError | None] = [None] * len(messages)
        for failed in reply.get("Failed", []):
            results[int(failed["Id"])] = entry_error(failed, "SendMessageBatch")
        self._backlog.sent(target, results.count(None))
        return results


class SqsPublisher:
    """Implements `storage.contracts.Publisher`."""

    def __init__(self, sender: SqsSender, catalog: Catalog, backlog: Backlog, settings: SqsSettings) -> None:
        self._sender = sender
        self._catalog = catalog
        self._backlog = backlog
        self._settings = settings

    async def publish(self, publication: Publication) -> None:
        """A subscription that is registered meanwhile is sent the events too, unless the list is still fresh at the end
        without it: then `register` has not returned."""
        listing = await self._catalog.fresh()
        while messages := list(self._missing(publication, listing)):
            await self._send(publication, messages, listing)
            listing = await self._catalog.fresh()

    def fit(self, event: Event) -> Event:
        body, limit = event.encode(), self._settings.message_bytes
        if len(body) < limit // 8:  # escapes make it six times as long at most
            return event
        size = message(self._settings, body, event.partitionkey).encoded.size
        return event if size <= limit - encoding.RESERVE else truncated(event)

    async def _send(self, publication: Publication, messages: Sequence[Outgoing], listing: Listing) -> None:
        queues = {queue.url: queue for queue in listing.queues.values()}
        begun = {target for target, _ in publication.done}  # what was begun is completed
        targets = sorted({sent.target for sent in messages} - begun)
        try:
            await Limit(PARALLEL).map(self._backlog.require_room, [queues[target] for target in targets])
        except NoSubscription:
            self._catalog.forget()
            raise
        await broker.publish(publication, messages, self._sender)

    def _missing(self, publication: Publication, listing: Listing) -> Iterator[Outgoing]:
        """The messages to the listed queues that are not confirmed yet."""
        wanted = listing.by_event()
        for index, event in enumerate(publication.events):
            queues: list[FoundQueue] = wanted.get((event.source, event.subject), [])
            if not queues:
                raise NoSubscription.to_event(event.source, event.subject)
            targets = [queue.url for queue in queues if (queue.url, index) not in publication.done]
            if not targets:
                continue
            form = message(
                self._settings,
                event.encode(),
                event.partitionkey,
                order=publication.order(index),
                id_=f"{publication.token}-{index}",
            )
            for target in targets:
                yield Outgoing(target, index, event.partitionkey, form.encoded.size, form)
