"""Publishes events with a script: each commit is one call, with the checkpoint step that belongs to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
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

OK = [b"OK"]


class ScriptPublisher(ABC):
    """`storage.contracts.TransactionalPublisher`, over the back end's script ``commits/commit``.

    Its arguments are the checkpoint step and the events as `lay_out` returns them. It answers as `checkpoints.check`
    knows, with ``NOBODY`` and an entry, or with ``FULL``, a subscription and its backlog.
    """

    under_way = 2  # so that Redis has the next one when it has done one; one connection keeps their order

    def __init__(self, connection: Connection, registrations: Registrations, *, max_pending: int) -> None:
        self._connection = connection
        self._registrations = registrations
        self._max_pending = max_pending

    @abstractmethod
    def lay_out(self, events: Sequence[Event]) -> list[Argument]:
        """The events as arguments of the script."""

    async def publish(self, publication: Publication) -> None:
        if publication.events:
            args = (*checkpoints.NO_STEP, *self.lay_out(publication.events))
            await self._check(await self._connection.run("commits/commit", *args))

    def fit(self, event: Event) -> Event:
        return event

    def prepare(self, batch: Batch, *, term: Term) -> Batch:
        return PreparedBatch(batch.key, batch.events, batch.delta, self._call(batch, term))

    async def commit(self, batch: Batch, *, term: Term) -> None:
        call = batch.form if isinstance(batch, PreparedBatch) else self._call(batch, term)
        answer = await self._connection.run_call(call)
        if answer == OK:
            return
        try:
            checkpoints.check(answer, batch.key, batch.delta, term)
        except CommitMismatch:  # a store that came back older may have lost subscriptions too
            with suppress(Unavailable):
                await self._registrations.restore()
            raise
        await self._check(answer)

    def _call(self, batch: Batch, term: Term) -> Call:
        step = checkpoints.step(batch.key, batch.delta, term)
        return self._connection.call("commits/commit", *step, *self.lay_out(batch.events))

    async def _check(self, answer: Any) -> None:
        """Raise NoSubscription or BusFull if that is the answer."""
        if answer[0] == b"NOBODY":
            await self._registrations.restore()  # for the next time, unless they were pruned
            source, _, subject = answer[1].decode().partition("\n")
            raise NoSubscription.to_event(source, subject)
        if answer[0] == b"FULL":
            raise BusFull(answer[1].decode(), int(answer[2]), self._max_pending)


def entry(source: str, subject: str) -> str:
    """What a subscription subscribes to, in the form that the scripts use."""
    return f"{source}\n{subject}"
