"""Dead letters: copies of events in a stream of their own, which neither retention nor `prune` deletes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from kubecdc.storage.contracts import UNKNOWN, DeadLetter
from kubecdc.storage.contracts.administration import NO_SUCH_LETTER
from kubecdc.storage.contracts.errors import BusFull
from kubecdc.storage.redis.commits.publisher import partition
from kubecdc.storage.redis_server.connection import BODIES_BYTES, Argument, Connection, pairs
from kubecdc.storage.redis_server.redrives import refusals

PAGE = 250  # letters in one script, which reads them with their bodies
TOGETHER = 50  # that are delivered again by one script
COPIES_BYTES = 1024 * 1024  # about, of their bodies
ID = re.compile(r"[0-9]{1,18}-[0-9]{1,18}")


class RedisDeadLetters:
    """`storage.contracts.DeadLetters`. Ids are the entry ids of the stream."""

    def __init__(self, connection: Connection, *, partitions: int, max_pending: int) -> None:
        self._connection = connection
        self._partitions = partitions
        self._max_pending = max_pending

    async def page(self, subscription: str | None = None, *, after: str = "", limit: int = 100) -> list[DeadLetter]:
        found: list[DeadLetter] = []
        start = f"({after}" if ID.fullmatch(after) else "-"
        while len(found) < limit:
            args = (start, min(max(limit, 100), PAGE), BODIES_BYTES, subscription or "")
            last, letters = await self._connection.run("administration/letters", *args)
            found += [_letter(letter) for letter in letters]
            if not last:
                break
            start = f"({last.decode()}"
        return found[:limit]

    async def letter(self, id_: str) -> tuple[DeadLetter, bytes] | None:
        if not ID.fullmatch(id_):
            return None
        found = await self._connection.keyed("XRANGE", "letters", id_, id_)
        if not found:
            return None
        eid, of = found[0][0], pairs(found[0][1])
        names = (b"subscription", b"id", b"key", b"reason", b"attempts", b"first", b"last")
        found = [eid, *(of[name] for name in names), await self._connection.run("administration/superseded", id_)]
        return _letter(found), of[b"body"]

    async def redrive(self, ids: Sequence[str]) -> dict[str, str]:
        refused: dict[str, str] = {}
        wanted = sorted(dict.fromkeys(ids), key=_order)
        begun = False
        while wanted:
            some = [found async for found in self._first(wanted)]
            args: list[Argument] = []
            for id_, letter in some:
                if letter:
                    args += [id_, partition(letter.partitionkey, self._partitions)]
                else:
                    refused[id_] = NO_SUCH_LETTER
            head = (self._partitions, self._max_pending)
            try:
                answer = await self._connection.run("administration/redrive", *head, *args) if args else []
                refused |= refusals(answer, self._max_pending)
            except BusFull as e:
                if not begun:
                    raise
                return refused | {id_: str(e) for id_ in wanted if id_ not in refused}
            begun = begun or bool(args)
            wanted = wanted[len(some) :]
        return refused

    async def _first(self, ids: Sequence[str]) -> AsyncGenerator[tuple[str, DeadLetter | None]]:
        """The first of these letters, about as many as one script may copy. None for those that are not there."""
        left = COPIES_BYTES
        for id_, found in zip(ids, await asyncio.gather(*map(self.letter, ids[:TOGETHER])), strict=False):
            if left <= 0:
                return
            left -= 1000 + (len(found[1]) if found else 0)
            yield id_, found and found[0]

    async def purge(self, ids: Sequence[str]) -> int:
        known = [id_ for id_ in dict.fromkeys(ids) if ID.fullmatch(id_)]
        purged = 0
        while known:
            looked, there = await self._connection.run("administration/purge", BODIES_BYTES, *known[:PAGE])
            purged += there
            known = known[looked:]
        return purged


def _letter(found: Sequence[Any]) -> DeadLetter:
    id_, subscription, event, key, reason, attempts, first, last, superseded = found
    return DeadLetter(
        id=id_.decode(),
        subscription=subscription.decode(),
        event=event.decode(),
        partitionkey=key.decode(),
        reason=reason.decode(errors="replace"),
        attempts=int(attempts),
        first=int(first) / 1000,
        last=int(last) / 1000,
        superseded=superseded == b"1" if superseded else UNKNOWN,
    )


def _order(id_: str) -> tuple[int, ...]:
    return tuple(int(part) for part in id_.split("-")) if ID.fullmatch(id_) else (0,)
