"""A bus that encrypts: it seals what it stores and opens what it returns. The bus inside knows nothing about this."""

from __future__ import annotations

from dataclasses import replace

from kubecdc.storage.contracts import Bus, DeadLetter, DeadLetters, Elector, StateStore, Subscription
from kubecdc.storage.contracts.errors import Locked, Undecodable
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.encryption.checkpoints import SealedCheckpoints
from kubecdc.storage.encryption.deliveries import SealedSubscription
from kubecdc.storage.encryption.keyring import KeyRing
from kubecdc.storage.encryption.publisher import SealingPublisher


class EncryptedBus:
    """`storage.contracts.Bus` around another one, ``inner``. ``codec`` is for what else stores events in it."""

    def __init__(self, inner: Bus, codec: KeyRing) -> None:
        self.inner = inner
        self.codec = codec
        largest = (inner.capabilities.max_event_bytes - 1024) // 4 * 3  # base64, and what encryption adds
        self.capabilities = replace(inner.capabilities, max_event_bytes=largest)
        self.ack_wait = inner.ack_wait
        self.publisher = SealingPublisher(inner.publisher, codec)
        self.checkpoints = SealedCheckpoints(inner.checkpoints, codec)
        self.register = inner.register
        self.keep = inner.keep
        self.subscriptions = inner.subscriptions
        self.prune = inner.prune
        self.ensure = inner.ensure
        self.replayable = inner.replayable
        self.replay = inner.replay
        self.close = inner.close

    @property
    def elector(self) -> Elector:
        return self.inner.elector

    @property
    def state(self) -> StateStore:
        return self.inner.state

    @property
    def dead_letters(self) -> DeadLetters:
        return SealedDeadLetters(self.inner.dead_letters, self.codec)

    def subscription(self, name: str, *, prefetch: int, state: StateStore | None = None) -> Subscription:
        return self.opening(self.inner.subscription(name, prefetch=prefetch, state=state))

    def opening(self, subscription: Subscription) -> Subscription:
        """A subscription of the bus within, whose deliveries have their events opened."""
        return SealedSubscription(subscription, self.codec)


class SealedDeadLetters:
    """`storage.contracts.DeadLetters`."""

    def __init__(self, inner: DeadLetters, codec: KeyRing) -> None:
        self._inner = inner
        self._codec = codec
        self.page = inner.page
        self.redrive = inner.redrive
        self.purge = inner.purge

    async def letter(self, id_: str) -> tuple[DeadLetter, bytes] | None:
        """As it is stored if its key is not there: it can be redriven and purged without."""
        found = await self._inner.letter(id_)
        if found is None:
            return None
        letter, body = found
        try:
            event = Event.decode(body)
            return letter, self._codec.open(event).encode() if event.encryptionkey else body
        except (Locked, Undecodable):
            return found
