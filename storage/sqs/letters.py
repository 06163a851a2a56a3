"""Reads dead-letter queues without consuming them, as far as SQS allows.

SQS can show a message only by handing it out. What is read here is held for the time of the look, and handed back:
meanwhile nobody else sees it, its count of receptions grows, and what another process looks at just now is not seen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from kubecdc.concurrency import Limit
from kubecdc.counts import counted
from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import DeadLetter
from kubecdc.storage.contracts.event import names_in
from kubecdc.storage.sqs import encoding
from kubecdc.storage.sqs.client import Client
from kubecdc.storage.sqs.errors import QueueGone
from kubecdc.storage.sqs.publisher import ENTRIES
from kubecdc.storage.sqs.settings import MAX_RECEIVES, SqsSettings

HOLD = 120  # seconds; a look that takes longer sees some letters twice, and counts them once
MOST = 10_000  # letters of a queue that a look reads
_SYSTEM = ["SentTimestamp", "ApproximateReceiveCount"]


@dataclass(frozen=True)
class Letter:
    """A dead letter that is held, and where. ``handle`` is what SQS deletes it by.

    ``body`` is b"" unless the letter was asked for by its id: all that a look finds may be too much for the memory.
    """

    url: str
    handle: str
    lane: str
    body: bytes
    shown: DeadLetter

    @property
    def place(self) -> tuple[float, float, str]:
        """It sorts letters by when they were given up on."""
        return self.shown.last, self.shown.first, self.shown.id


class Look:
    """A look at the dead-letter queues of some subscriptions, which are given as URLs by subscription."""

    def __init__(self, client: Client, settings: SqsSettings) -> None:
        self._client = client
        self._settings = settings
        self._held: dict[str, Letter] = {}

    @property
    def letters(self) -> list[Letter]:
        """What was found and is not deleted, oldest first."""
        return sorted(self._held.values(), key=lambda letter: letter.place)

    async def read(self, queues: Mapping[str, str], wanted: Collection[str] | None = None) -> None:
        """Read the queues, or until all of the wanted ids are found. Raises UsageError, Unavailable."""

        async def read(queue: tuple[str, str]) -> None:
            await self._read(*queue, wanted)

        await Limit(8).map(read, queues.items())

    async def delete(self, letters: Sequence[Letter]) -> int:
        """Delete letters that are held. Returns how many. Raises UsageError, Unavailable: some may be deleted."""
        deleted = 0
        for url, batch in _batches(letters):
            entries = [{"Id": str(number), "ReceiptHandle": letter.handle} for number, letter in enumerate(batch)]
            try:
                reply = await self._client.call("delete_message_batch", QueueUrl=url, Entries=entries)
            except QueueGone:
                continue
            failed = {int(entry["Id"]): entry for entry in reply.get("Failed") or []}
            for number, letter in enumerate(batch):
                if number not in failed:
                    self._held.pop(letter.shown.id, None)
            deleted += len(batch) - len(failed)
            for entry in failed.values():
                raise Unavailable(
                    f"SQS did not delete {counted(len(failed), 'dead letter')}: {entry.get('Message', '')}"
                )
        return deleted

    async def hand_back(self) -> None:
        """Let others see what is still held. What cannot be handed back is seen again after `HOLD` seconds."""
        for url, batch in _batches(self.letters):
            entries = [
                {"Id": str(number), "ReceiptHandle": letter.handle, "VisibilityTimeout": 0}
                for number, letter in enumerate(batch)
            ]
            try:
                await self._client.call("change_message_visibility_batch", QueueUrl=url, Entries=entries)
            except Unavailable:
                continue

    async def _read(self, subscription: str, url: str, wanted: Collection[str] | None) -> None:
        read = 0
        while read < MOST and not (wanted is not None and all(id_ in self._held for id_ in wanted)):
            try:
                reply = await self._client.call(
                    "receive_message",
                    QueueUrl=url,
                    MaxNumberOfMessages=ENTRIES,
                    WaitTimeSeconds=self._settings.browse_wait,
                    VisibilityTimeout=HOLD,
                    MessageSystemAttributeNames=_SYSTEM,
                    MessageAttributeNames=["All"],
                )
            except QueueGone:
                return
            messages = reply.get("Messages") or []
            if not messages or all(message["MessageId"] in self._held for message in messages):
                return
            read += len(messages)
            for message in messages:
                letter = _letter(subscription, url, message)
                asked = wanted is not None and letter.shown.id in wanted
                self._held[letter.shown.id] = letter if asked else replace(letter, body=b"")


@asynccontextmanager
async def looking(client: Client, settings: SqsSettings) -> AsyncIterator[Look]:
    """A look, of which everything is handed back after the block that was not deleted."""
    look = Look(client, settings)
    try:
        yield look
    finally:
        await look.hand_back()


def _batches(letters: Sequence[Letter]) -> list[tuple[str, list[Letter]]]:
    by_url: dict[str, list[Letter]] = {}
    for letter in letters:
        by_url.setdefault(letter.url, []).append(letter)
    return [(url, of[at : at + ENTRIES]) for url, of in by_url.items() for at in range(0, len(of), ENTRIES)]


def _letter(subscription: str, url: str, message: dict[str, Any]) -> Letter:
    attributes, system = encoding.attributes_of(message), message.get("Attributes", {})
    body = encoding.decoded(message["Body"], attributes)
    sent = int(system.get("SentTimestamp", 0)) / 1000
    id_, partitionkey = names_in(body)
    shown = DeadLetter(
        id=message["MessageId"],
        subscription=subscription,
        event=id_,
        partitionkey=partitionkey,
        reason=attributes.get(encoding.REASON) or f"received {MAX_RECEIVES} times without being settled",
        attempts=int(_number(attributes.get(encoding.ATTEMPTS), MAX_RECEIVES)),
        first=_number(attributes.get(encoding.FIRST), sent),
        last=_number(attributes.get(encoding.LAST), sent),
    )
    lane = partitionkey or attributes.get(encoding.PARTITIONKEY, "")
    return Letter(url, message["ReceiptHandle"], lane, body, shown)


def _number(text: str | None, otherwise: float) -> float:
    try:
        return float(text or otherwise)
    except ValueError:
        return otherwise
