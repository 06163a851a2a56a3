"""The dead letters of a bus, in the dead-letter queues of its subscriptions."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence

from kubecdc.storage.broker import publisher as broker
from kubecdc.storage.broker.contract import Outgoing
from kubecdc.storage.contracts import DeadLetter, Publication
from kubecdc.storage.contracts.administration import NO_SUCH_LETTER, subscription_ended
from kubecdc.storage.contracts.errors import BusFull
from kubecdc.storage.contracts.event import redelivered
from kubecdc.storage.sqs.backlog import count
from kubecdc.storage.sqs.catalog import Catalog, Listing
from kubecdc.storage.sqs.client import Client
from kubecdc.storage.sqs.letters import Letter, looking
from kubecdc.storage.sqs.publisher import SqsSender, message
from kubecdc.storage.sqs.settings import SqsSettings

_ID = re.compile(r"[0-9A-Za-z]{8}-[0-9A-Za-z-]{8,}")  # SQS's message ids are UUIDs
Page = list[DeadLetter]


class SqsDeadLetters:
    """Implements `storage.contracts.DeadLetters`, without consuming what it shows, as far as SQS allows: see `letters`.

    A list is read as a whole, and its pages are those of that reading. It ends after `letters.MOST` of a subscription.
    """

    def __init__(self, client: Client, catalog: Catalog, sender: SqsSender, settings: SqsSettings) -> None:
        self._client = client
        self._catalog = catalog
        self._sender = sender
        self._settings = settings
        self._list: tuple[str | None, Page] = (None, [])  # of which subscription, and what was read

    async def page(self, subscription: str | None = None, *, after: str = "", limit: int = 100) -> Page:
        of, letters = self._list
        if not after or of != subscription or all(letter.id != after for letter in letters):
            queues = _queues(await self._catalog.read())
            if subscription is not None:
                queues = {name: url for name, url in queues.items() if name == subscription}
            async with looking(self._client, self._settings) as look:
                await look.read(queues)
                letters = [letter.shown for letter in look.letters]
            self._list = subscription, letters
        ids = [letter.id for letter in letters]
        begin = ids.index(after) + 1 if after in ids else 0
        return letters[begin : begin + limit]

    async def letter(self, id_: str) -> tuple[DeadLetter, bytes] | None:
        if not _ID.fullmatch(id_):
            return None
        async with looking(self._client, self._settings) as look:
            await look.read(_queues(await self._catalog.read()), {id_})
            return next(((letter.shown, letter.body) for letter in look.letters if letter.shown.id == id_), None)

    async def redrive(self, ids: Sequence[str]) -> dict[str, str]:
        """Send copies to their queues, then delete the letters: one may be in both places for a moment.

        An interrupted redrive has sent and deleted some of them.
        """
        listing = await self._catalog.read()
        wanted = {id_ for id_ in ids if _ID.fullmatch(id_)}
        async with looking(self._client, self._settings) as look:
            await look.read(_queues(listing), wanted)
            found = [letter for letter in look.letters if letter.shown.id in wanted]
            refused = dict.fromkeys(set(ids) - {letter.shown.id for letter in found}, NO_SUCH_LETTER)
            ready: list[Letter] = []
            for letter in found:
                if letter.shown.subscription in listing.queues:
                    ready.append(letter)
                else:
                    refused[letter.shown.id] = subscription_ended(letter.shown.subscription)
            await self._require_room(listing, ready)
            publication = Publication((), token=secrets.token_hex(8))
            try:
                await broker.publish(publication, self._copies(publication.token, listing, ready), self._sender)
            finally:
                sent = {index for _, index in publication.done}
                await look.delete([letter for index, letter in enumerate(ready) if index in sent])
        return refused

    async def purge(self, ids: Sequence[str]) -> int:
        wanted = {id_ for id_ in ids if _ID.fullmatch(id_)}
        async with looking(self._client, self._settings) as look:
            await look.read(_queues(await self._catalog.read()), wanted)
            return await look.delete([letter for letter in look.letters if letter.shown.id in wanted])

    async def _require_room(self, listing: Listing, letters: Sequence[Letter]) -> None:
        """Raise BusFull if the queue of one of the letters is full."""
        limit = self._settings.max_pending
        for name in sorted({letter.shown.subscription for letter in letters}):
            if (pending := await count(self._client, listing.queues[name].url)) >= limit:
                raise BusFull(name, pending, limit)

    def _copies(self, token: str, listing: Listing, letters: Sequence[Letter]) -> list[Outgoing]:
        """The letters as new messages, without a place in the order of what is published."""
        copies = []
        for index, letter in enumerate(letters):
            body = redelivered(letter.body, "redrive")
            form = message(self._settings, body, letter.lane, id_=f"{token}-{index}")
            url = listing.queues[letter.shown.subscription].url
            copies.append(Outgoing(url, index, letter.lane, form.encoded.size, form))
        return copies


def _queues(listing: Listing) -> Mapping[str, str]:
    """The URLs of the dead-letter queues, by subscription."""
    return {name: queue.url for name, queue in listing.dead.items()}
