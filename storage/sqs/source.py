"""The messages of a subscription, as a worker receives and settles them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Any

from kubecdc.concurrency import Background
from kubecdc.errors import KubecdcError
from kubecdc.storage.broker.contract import Received, Results
from kubecdc.storage.contracts.errors import NoSubscription
from kubecdc.storage.sqs import encoding, names
from kubecdc.storage.sqs.catalog import Catalog
from kubecdc.storage.sqs.client import Client, Reply
from kubecdc.storage.sqs.encoding import Encoded
from kubecdc.storage.sqs.errors import QueueGone, settle_error
from kubecdc.storage.sqs.publisher import ENTRIES, Message, message
from kubecdc.storage.sqs.settings import SqsSettings

_SYSTEM = ["ApproximateReceiveCount", "SentTimestamp", "MessageGroupId"]
_REASON = 1000  # bytes


class SqsSource:
    """Implements `storage.broker.contract.Source`. ``late`` takes the work that outlives a cancelled call."""

    most = ENTRIES
    longest_delay = 6 * 3600.0  # half of the 12 hours for which SQS keeps a claim; the other half is for the trigger

    def __init__(self, name: str, client: Client, catalog: Catalog, settings: SqsSettings, late: Background) -> None:
        self._name = name
        self._client = client
        self._catalog = catalog
        self._settings = settings
        self._queue = names.queue_name(settings, name)
        self._urls: dict[str, str] = {}
        self._late = late

    async def receive(self, most: int) -> list[Received]:
        begin = asyncio.get_running_loop().time()
        polling = asyncio.create_task(self._poll(min(most, ENTRIES)))
        try:
            reply = await asyncio.shield(polling)
        except asyncio.CancelledError:
            self._late.spawn(self._give_back(polling, begin))
            raise
        return self._received(reply, begin)

    async def ack(self, messages: Sequence[Received]) -> Results:
        entries = [{"Id": str(number), "ReceiptHandle": sent.handle} for number, sent in enumerate(messages)]
        return await self._settle("delete_message_batch", "DeleteMessageBatch", entries, messages)

    async def extend(self, messages: Sequence[Received]) -> Results:
        return await self._change_visibility(messages, self._settings.visibility)

    async def release(self, messages: Sequence[Received], delay: float) -> Results:
        results = await self._change_visibility(messages[::-1], math.ceil(delay))  # the head of a group last
        return results[::-1]

    async def dead_letter(self, message: Received, reason: str, attempts: int) -> None:
        url = await self._url(names.dead_name(self._queue))
        letter = _letter(self._settings, message, reason, attempts)
        entry = letter.entry(0)
        del entry["Id"]
        await self._client.call("send_message", QueueUrl=url, **entry)
        (error,) = await self.ack([message])
        if error:
            raise error

    async def _poll(self, most: int) -> Reply:
        try:
            return await self._client.poll(
                QueueUrl=await self._url(self._queue),
                MaxNumberOfMessages=most,
                VisibilityTimeout=self._settings.received_for,
                MessageSystemAttributeNames=_SYSTEM,
                MessageAttributeNames=["All"],
            )
        except QueueGone as e:
            self._urls.clear()
            raise NoSubscription.of(self._name) from e

    def _received(self, reply: Reply, begin: float) -> list[Received]:
        until = begin + self._settings.ack_wait.total_seconds() + self._settings.poll
        return [_received(found, until) for found in reply.get("Messages") or []]

    async def _give_back(self, polling: asyncio.Task[Reply], begin: float) -> None:
        """Hand back what arrives after the receiver was cancelled. If that fails, the claims lapse."""
        try:
            if messages := self._received(await polling, begin):
                await self.release(messages, 0)
        except KubecdcError:
            return

    async def _change_visibility(self, messages: Sequence[Received], seconds: int) -> Results:
        entries = [
            {"Id": str(number), "ReceiptHandle": sent.handle, "VisibilityTimeout": seconds}
            for number, sent in enumerate(messages)
        ]
        return await self._settle("change_message_visibility_batch", "ChangeMessageVisibilityBatch", entries, messages)

    async def _settle(
        self, operation: str, action: str, entries: list[dict[str, Any]], messages: Sequence[Received]
    ) -> Results:
        """Call for a batch. If the queue is gone, because the subscription was pruned, there is nothing to settle."""
        try:
            reply = await self._client.call(operation, QueueUrl=await self._url(self._queue), Entries=entries)
        except QueueGone:
            return [None] * len(messages)
        results: list[KubecdcError | None] = [None] * len(messages)
        for failed in reply.get("Failed") or []:
            number = int(failed["Id"])
            results[number] = settle_error(failed, action, messages[number].id)
        return results

    async def _url(self, name: str) -> str:
        if name not in self._urls:
            self._urls[name] = await self._catalog.url(name)
        return self._urls[name]


def _received(found: dict[str, Any], until: float) -> Received:
    system, attributes = found.get("Attributes", {}), encoding.attributes_of(found)
    receptions = system.get("ApproximateReceiveCount")
    return Received(
        handle=found["ReceiptHandle"],
        id=found["MessageId"],
        body=encoding.decoded(found["Body"], attributes),
        lane=attributes.get(encoding.PARTITIONKEY) or system.get("MessageGroupId", ""),
        order=attributes.get(encoding.ORDER, ""),
        sent=int(system.get("SentTimestamp", 0)) / 1000,
        receptions=int(receptions) if receptions else None,
        until=until,
    )


def _letter(settings: SqsSettings, received: Received, reason: str, attempts: int) -> Message:
    """The message as a dead letter.

    In a FIFO queue it has a group of its own, so that one that is looked at hides no other. Its id for deduplication
    is that of the message: a worker that repeats this because the reply was lost makes no second letter.
    """
    form = message(settings, received.body, received.lane)
    attributes = {
        **form.encoded.attributes,
        encoding.PARTITIONKEY: received.lane if encoding.is_sendable(received.lane) else "",
        encoding.REASON: encoding.sendable(reason, _REASON) or "no reason",
        encoding.ATTEMPTS: str(attempts),
        encoding.FIRST: f"{received.sent:.3f}",
        encoding.LAST: f"{time.time():.6f}",
    }
    present = {name: value for name, value in attributes.items() if value}
    return Message(
        Encoded(form.encoded.text, present),
        received.id if settings.grouped else "",
        received.id if settings.fifo else "",
    )
