"""How many events a subscription has pending: an estimate of SQS, and what was sent since."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from kubecdc.errors import Unavailable, UsageError
from kubecdc.storage.contracts.errors import BusFull, NoSubscription
from kubecdc.storage.sqs.catalog import FoundQueue
from kubecdc.storage.sqs.client import Client
from kubecdc.storage.sqs.errors import QueueGone
from kubecdc.storage.sqs.settings import SqsSettings

_COUNTS = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
]


async def count(client: Client, url: str) -> int:
    """The messages of a queue, those in flight too, as SQS estimates them. Raises UsageError, Unavailable."""
    reply = await client.call("get_queue_attributes", QueueUrl=url, AttributeNames=_COUNTS)
    return sum(int(value) for key, value in reply.get("Attributes", {}).items() if key in _COUNTS)


@dataclass
class _Counted:
    """A count, and when it was made by the clock of the loop."""

    pending: int
    time: float
    sent: int = 0


class Backlog:
    """The backlog of each queue, for a publisher that refuses to add to a full one.

    The limit is kept approximately: SQS estimates, a count is used for some seconds, and other publishers send too.
    """

    def __init__(self, client: Client, settings: SqsSettings) -> None:
        self._client = client
        self._settings = settings
        self._counted: dict[str, _Counted] = {}
        self._counting: dict[str, asyncio.Task[None]] = {}

    async def require_room(self, queue: FoundQueue) -> None:
        """Raises BusFull if the queue has `max_pending` messages. Raises NoSubscription, UsageError, Unavailable."""
        try:
            await self._require_room(queue)
        except QueueGone as e:
            raise NoSubscription.ended(queue.spec.name) from e

    async def _require_room(self, queue: FoundQueue) -> None:
        limit = self._settings.max_pending
        counted = self._counted.get(queue.url)
        full = counted is not None and counted.pending + counted.sent >= limit
        age = asyncio.get_running_loop().time() - counted.time if counted else 0.0
        if counted is None or (full and age >= self._settings.recount_full):
            counted = await self._count(queue.url)
        elif not full and age >= self._settings.recount:
            if self._settings.recount <= 0:
                counted = await self._count(queue.url)
            elif queue.url not in self._counting:
                self._count_in_background(queue.url)
        if (pending := counted.pending + counted.sent) >= limit:
            raise BusFull(queue.spec.name, pending, limit)

    def sent(self, url: str, messages: int) -> None:
        """So many messages were sent to the queue."""
        if counted := self._counted.get(url):
            counted.sent += messages

    async def close(self) -> None:
        """Stop counting."""
        tasks = list(self._counting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _count(self, url: str) -> _Counted:
        now = asyncio.get_running_loop().time()
        counted = self._counted[url] = _Counted(await count(self._client, url), now)
        return counted

    def _count_in_background(self, url: str) -> None:
        task = self._counting[url] = asyncio.create_task(self._try_to_count(url))
        task.add_done_callback(lambda _: self._counting.pop(url, None))

    async def _try_to_count(self, url: str) -> None:
        try:
            await self._count(url)
        except QueueGone:
            self._counted.pop(url, None)
        except (Unavailable, UsageError):
            return  # the next publish tries again
