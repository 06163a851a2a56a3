"""Seals events and the bodies of the inventory on their way into a bus."""

from __future__ import annotations

from dataclasses import replace

from kubecdc.storage.contracts import Batch, PreparedBatch, Publication, Term, TransactionalPublisher
from kubecdc.storage.contracts.event import Event, truncated
from kubecdc.storage.encryption.checkpoints import sealed_delta
from kubecdc.storage.encryption.keyring import KeyRing


class SealingPublisher:
    """`storage.contracts.TransactionalPublisher`. While the key is missing, nothing is published: Unavailable."""

    def __init__(self, inner: TransactionalPublisher, codec: KeyRing) -> None:
        self._inner = inner
        self._codec = codec
        self.under_way = inner.under_way

    async def publish(self, publication: Publication) -> None:
        """What is sent again of it is encrypted anew; it shares what is ``done``."""
        await self._inner.publish(replace(publication, events=[self._sealed(event) for event in publication.events]))

    def fit(self, event: Event) -> Event:
        return _as(self._sealed(event), event) if self._codec.usable else event

    def prepare(self, batch: Batch, *, term: Term) -> Batch:
        if not self._codec.usable:
            return batch  # the commit says why
        sealed = self._sealed_batch(batch)
        events = [_as(*pair) for pair in zip(sealed.events, batch.events, strict=True)]
        return PreparedBatch(batch.key, events, batch.delta, self._inner.prepare(sealed, term=term))

    async def commit(self, batch: Batch, *, term: Term) -> None:
        sealed = batch.form if isinstance(batch, PreparedBatch) else self._sealed_batch(batch)
        await self._inner.commit(sealed, term=term)

    def _sealed_batch(self, batch: Batch) -> Batch:
        events = [self._sealed(event) for event in batch.events]
        return Batch(batch.key, events, sealed_delta(batch.key, batch.delta, self._codec))

    def _sealed(self, event: Event) -> Event:
        """The event as the bus can carry it: compressed if it has to be smaller, and truncated if that is not enough.

        A bus would compress it too, but nothing that is encrypted becomes smaller.
        """
        sealed = self._codec.seal(event)
        if self._inner.fit(sealed) is sealed:
            return sealed
        sealed = self._codec.seal_smaller(event)
        if self._inner.fit(sealed) is sealed or event.truncated:
            return sealed
        return self._codec.seal(truncated(event))


def _as(sealed: Event, event: Event) -> Event:
    """The event without its body, if it was sealed so."""
    return truncated(event) if sealed.truncated and not event.truncated else event
