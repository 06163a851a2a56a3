"""Publishes events as jobs: each commit is one script, with the checkpoint step that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Batch, PreparedBatch, Publication, Term
from kubecdc.storage.contracts.errors import BusFull, CommitMismatch, NoSubscription
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.redis_server import checkpoints
from kubecdc.storage.redis_server.connection import Argument, Call, Connection
from kubecdc.storage.redis_server.registrations import Registrations
from kubecdc.storage.rq import jobs


class RqPublisher:
    """`storage.contracts.TransactionalPublisher`. ``lanes`` is the prefix of the names of this bus's rate limits."""

    under_way = 2  # so that Redis has the next one when it has done one; one connection keeps their order

    def __init__(self, connection: Connection, registrations: Registrations, *, lanes: str, max_pending: int) -> None:
        self._connection = connection
        self._registrations = registrations
        self._lanes = lanes
        self._max_pending = max_pending

    async def publish(self, publication: Publication) -> None:
        if publication.events:
            args = (*checkpoints.NO_STEP, *self._laid_out(publication.events))
            await self._check(await self._connection.run("commits/commit", *args))

    def fit(self, event: Event) -> Event:
        return event

    def prepare(self, batch: Batch, *, term: Term) -> Batch:
        return PreparedBatch(batch.key, batch.events, batch.delta, self._call(batch, term))

    async def commit(self, batch: Batch, *, term: Term) -> None:
        call = batch.form if isinstance(batch, PreparedBatch) else self._call(batch, term)
        answer = await self._connection.run_call(call)
        try:
            checkpoints.check(answer, batch.key, batch.delta, term)
        except CommitMismatch:  # a store that came back older may have lost subscriptions too
            with suppress(Unavailable):
                await self._registrations.restore()
            raise
        await self._check(answer)

    def _call(self, batch: Batch, term: Term) -> Call:
        step = checkpoints.step(batch.key, batch.delta, term)
        return self._connection.call("commits/commit", *step, *self._laid_out(batch.events))

    def _laid_out(self, events: Sequence[Event]) -> list[Argument]:
        """Events as `commit.lua` reads them."""
        laid_out: list[Argument] = []
        entries: dict[str, None] = {}
        for event in events:
            entry = f"{event.source}\n{event.subject}"
            entries[entry] = None
            laid_out += [entry, *jobs.lay_out(event)]
        common = jobs.common_fields()
        head: list[Argument] = [self._max_pending, jobs.time_text(), self._lanes]
        return [*head, len(entries), len(events), len(common), *entries, *common, *laid_out]

    async def _check(self, answer: Any) -> None:
        """Raise NoSubscription or BusFull if that is the answer."""
        if answer[0] == b"NOBODY":
            await self._registrations.restore()  # for the next time, unless they were pruned
            source, _, subject = answer[1].decode().partition("\n")
            raise NoSubscription.to_event(source, subject)
        if answer[0] == b"FULL":
            raise BusFull(answer[1].decode(), int(answer[2]), self._max_pending)
