"""Dead letters: jobs in RQ's FailedJobRegistry, which neither time nor `prune` deletes."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

from rq.utils import utcparse

from kubecdc.storage.contracts import UNKNOWN, DeadLetter
from kubecdc.storage.contracts.administration import NO_SUCH_LETTER
from kubecdc.storage.redis_server.connection import Connection, pairs
from kubecdc.storage.redis_server.redrives import refusals
from kubecdc.storage.rq import jobs

PAGE = 250  # letters in one script
ID = re.compile(r"[0-9]{20}-([0-9a-f]{8})")
Fields = Sequence[bytes | None]


class RqDeadLetters:
    """`storage.contracts.DeadLetters`. Ids are those of the jobs.

    Pages have the dead letters of one subscription after another, in the order of their first registration, and those
    of each in the order of their commits.
    """

    def __init__(self, connection: Connection, *, max_pending: int) -> None:
        self._connection = connection
        self._max_pending = max_pending

    async def page(self, subscription: str | None = None, *, after: str = "", limit: int = 100) -> list[DeadLetter]:
        found: list[DeadLetter] = []
        queues = await self._queues()
        if not ID.fullmatch(after):
            after = ""
        begun = not any(after.endswith(mark) for mark in queues)  # it may have been forgotten meanwhile
        for mark, (name, queue) in queues.items():
            here = after.endswith(mark) and bool(after)
            begun = begun or here
            if begun and subscription in {None, name}:
                found += await self._page(name, queue, after if here else "", limit - len(found))
        return found

    async def _page(self, name: str, queue: str, after: str, limit: int) -> list[DeadLetter]:
        """Of one queue. Jobs that others put there are left to RQ's own tools."""
        found: list[DeadLetter] = []
        while len(found) < limit:
            wanted = min(limit - len(found), PAGE)
            letters = await self._connection.run("administration/letters", queue, after, wanted)
            found += [
                _letter(id_.decode(), name, of, superseded)
                for id_, of, superseded in letters
                if ID.fullmatch(id_.decode()) and of[0]
            ]
            if len(letters) < wanted:
                break
            after = letters[-1][0].decode()
        return found[:limit]

    async def letter(self, id_: str) -> tuple[DeadLetter, bytes] | None:
        match = ID.fullmatch(id_)
        place = (await self._queues()).get(match[1]) if match else None
        if not place:
            return None
        found = await self._connection.run("administration/letter", place[1], id_)
        if not found:
            return None
        of, superseded, (data, redelivery) = found
        return (_letter(id_, place[0], of, superseded), jobs.body(data, redelivery)) if data else None

    async def redrive(self, ids: Sequence[str]) -> dict[str, str]:
        refused = {id_: NO_SUCH_LETTER for id_ in ids if not ID.fullmatch(id_)}
        args = sorted({id_ for id_ in ids if ID.fullmatch(id_)})
        if args:
            head = (self._max_pending, jobs.time_text(), jobs.RETRIES)
            answer = await self._connection.run("administration/redrive", *head, *args)
            refused |= refusals(answer, self._max_pending)
        return refused

    async def purge(self, ids: Sequence[str]) -> int:
        known = [id_ for id_ in dict.fromkeys(ids) if ID.fullmatch(id_)]
        return int(await self._connection.run("administration/purge", *known)) if known else 0

    async def _queues(self) -> dict[str, tuple[str, str]]:
        """All subscriptions that ever were, by the end of their job ids: name and queue, the oldest first."""
        found = []
        for mark, place in pairs(await self._connection.keyed("HGETALL", "places")).items():
            number, queue, name = place.decode().split(" ", 2)
            found.append((int(number), mark.decode(), name, queue))
        return {mark: (name, queue) for _, mark, name, queue in sorted(found)}


def _letter(id_: str, subscription: str, found: Fields, superseded: bytes) -> DeadLetter:
    meta, reason, raised, attempts, committed, ended, ended_at = found
    names = jobs.meta(meta)
    first = int(committed or 0) / 1000
    last = int(ended) / 1000 if ended else utcparse(ended_at.decode()).timestamp() if ended_at else first
    return DeadLetter(
        id=id_,
        subscription=subscription,
        event=names.get("event", ""),
        partitionkey=names.get("partitionkey", ""),
        reason=reason.decode(errors="replace") if reason else _last_line(raised),
        attempts=int(attempts or 0),
        first=first,
        last=last,
        superseded=superseded == b"1" if superseded else UNKNOWN,
    )


def _last_line(raised: bytes | None) -> str:
    """Why RQ itself gave up on a job, from its record of the error."""
    try:
        text = zlib.decompress(raised or b"").decode(errors="replace")
    except zlib.error:
        text = (raised or b"").decode(errors="replace")
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "RQ gave up on its job"
