"""Which queues the bus has, and what for: the list that SQS gives, with the tags of each queue.

A publisher keeps the list, and reads it again while it publishes: no publish ends with one that is older than
``SqsSettings.learn`` seconds. A process that registers a subscription waits for so long.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from kubecdc.concurrency import Limit
from kubecdc.errors import Unavailable, UsageError
from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.sqs import names
from kubecdc.storage.sqs.client import Client
from kubecdc.storage.sqs.errors import QueueGone
from kubecdc.storage.sqs.settings import SqsSettings

_PAGE = 1000  # queues in an answer


@dataclass(frozen=True)
class FoundQueue:
    """A queue of the bus. ``registered`` and ``changed`` are when its subscription was registered, and changed last."""

    url: str
    spec: SubscriptionSpec
    tags: Mapping[str, str]

    @property
    def registered(self) -> float | None:
        return names.tagged_time(self.tags, names.REGISTERED)

    @property
    def changed(self) -> float | None:
        return names.tagged_time(self.tags, names.CHANGED)


@dataclass(frozen=True)
class Listing:
    """The queues and dead-letter queues of the bus, each by the name of its subscription. A pruned one has only the
    latter."""

    queues: Mapping[str, FoundQueue]
    dead: Mapping[str, FoundQueue]

    def by_event(self) -> dict[tuple[str, str], list[FoundQueue]]:
        """The queues by the source and subject of the events that they take."""
        found: dict[tuple[str, str], list[FoundQueue]] = defaultdict(list)
        for queue in self.queues.values():
            found[queue.spec.source, queue.spec.subject].append(queue)
        return found


class Catalog:
    """The list of queues, as new as it has to be."""

    def __init__(self, client: Client, settings: SqsSettings) -> None:
        self._client = client
        self._settings = settings
        self._lock = asyncio.Lock()
        self._listing: Listing | None = None
        self._read = 0.0  # when it was begun to read, by the clock of the loop
        self._reading: asyncio.Task[None] | None = None

    async def fresh(self) -> Listing:
        """A list that is not older than `learn`. One that is half as old is read again in the background.

        Raises UsageError, Unavailable.
        """
        age = asyncio.get_running_loop().time() - self._read
        if self._listing is None or age >= self._settings.learn:
            async with self._lock:
                age = asyncio.get_running_loop().time() - self._read
                if self._listing is None or age >= self._settings.learn:
                    return await self._refresh()
        elif age >= self._settings.learn / 2 and (self._reading is None or self._reading.done()):
            self._reading = asyncio.create_task(self._refresh_in_background())
        return self._listing

    async def read(self) -> Listing:
        """The list as it is now. Raises UsageError, Unavailable."""
        async with self._lock:
            return await self._refresh()

    def forget(self) -> None:
        """Read the list again before the next publish: it was wrong."""
        self._listing = None

    async def url(self, name: str) -> str:
        """The URL of the queue of that name. Raises QueueGone, UsageError, Unavailable."""
        return str((await self._client.call("get_queue_url", QueueName=name))["QueueUrl"])

    async def registered(self, name: str) -> SubscriptionSpec | None:
        """What a subscription is registered for, as SQS has it now. None if it is not registered."""
        try:
            url = await self.url(names.queue_name(self._settings, name))
        except QueueGone:
            return None
        found = await self._tags(url)
        return names.tagged_spec(found) if found else None

    async def close(self) -> None:
        """Stop reading."""
        if self._reading:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _refresh_in_background(self) -> None:
        try:
            await self.read()
        except (Unavailable, UsageError):
            return  # `fresh` raises it once the list is too old

    async def _refresh(self) -> Listing:
        begin = asyncio.get_running_loop().time()
        urls = await self._urls()
        found = await Limit(8).map(self._tags, urls)
        queues: dict[str, FoundQueue] = {}
        dead: dict[str, FoundQueue] = {}
        for url, tags in zip(urls, found, strict=True):
            if names.tag(tags, names.BUS) != self._settings.bus:
                continue  # of another bus, or deleted meanwhile
            queue = FoundQueue(url, names.tagged_spec(tags), tags)
            name = names.of_url(url)
            if name.endswith(names.FIFO) == self._settings.fifo:
                (dead if names.is_dead(name) else queues)[queue.spec.name] = queue
            elif not names.is_dead(name):
                raise UsageError(
                    f"bus {self._settings.bus!r} has queues of the other kind, for example {name}",
                    hint="set `fifo` back until they are empty and pruned, or give the bus another `queuePrefix`",
                )
        self._listing, self._read = Listing(dict(sorted(queues.items())), dict(sorted(dead.items()))), begin
        return self._listing

    async def _urls(self) -> list[str]:
        urls: list[str] = []
        page: dict[str, str] = {}
        while True:
            prefix = names.prefix(self._settings)
            reply = await self._client.call("list_queues", QueueNamePrefix=prefix, MaxResults=_PAGE, **page)
            urls += reply.get("QueueUrls", [])
            if not (token := reply.get("NextToken")):
                return urls
            page = {"NextToken": token}

    async def _tags(self, url: str) -> dict[str, str]:
        """The tags of a queue, empty if it does not exist any more."""
        try:
            reply = await self._client.call("list_queue_tags", QueueUrl=url)
        except QueueGone:
            return {}
        return dict(reply.get("Tags", {}))
