"""A bus composed of a queue and a checkpoint store of any types."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from kubecdc.errors import UsageError
from kubecdc.storage.contracts import (
    Capabilities,
    CheckpointStore,
    DeadLetters,
    Elector,
    Queue,
    Replay,
    Replayable,
    StateStore,
    Subscription,
    SubscriptionSpec,
    SubscriptionStatus,
    Unknown,
)
from kubecdc.storage.contracts.types import Store
from kubecdc.storage.split import SplitPublisher


class ComposedBus:
    """Implements `storage.contracts.Bus`. The queue has the events; the store has checkpoints, state and election.

    State and election are optional in a store: see `capabilities`.
    """

    def __init__(self, queue: Queue, store: Store) -> None:
        self._queue = queue
        self._store = store
        self.publisher = SplitPublisher(queue.publisher, store.checkpoints)
        self.checkpoints: CheckpointStore = store.checkpoints
        self.capabilities: Capabilities = self.composed(
            queue.capabilities,
            state=store.state is not None,
            frequent=store.state is not None and store.state.frequent,
            elector=store.elector is not None,
        )

    @staticmethod
    def composed(queue: Capabilities, *, state: bool, frequent: bool, elector: bool) -> Capabilities:
        """The capabilities of a queue together with a store. ``frequent`` is that of its `StateStore`."""
        return replace(
            queue,
            atomic_commit=False,
            exactly_once_publish=False,
            state=state,
            elector=elector,
            attempts=queue.attempts or (queue.uses_state and state),
            never_back=queue.never_back or (queue.uses_state and frequent),
        )

    @property
    def ack_wait(self) -> timedelta:
        return self._queue.ack_wait

    @property
    def elector(self) -> Elector:
        if self._store.elector is None:
            raise UsageError(
                "the bus cannot elect a leader by itself: its checkpoint store does not support it",
                hint="use a Lease in the cluster: --leader-election",
            )
        return self._store.elector

    @property
    def state(self) -> StateStore:
        if self._store.state is None:
            raise UsageError("the bus cannot store the state of triggers: its checkpoint store does not support it")
        return self._store.state

    async def register(self, specs: Iterable[SubscriptionSpec]) -> None:
        await self._queue.register(specs)

    async def keep(self, specs: Iterable[SubscriptionSpec]) -> None:
        await self._queue.keep(specs)

    async def subscriptions(self, *, ages: bool = True) -> list[SubscriptionStatus]:
        return await self._queue.subscriptions(ages=ages)

    async def prune(self, name: str) -> bool:
        return await self._queue.prune(name)

    async def ensure(self, specs: Iterable[SubscriptionSpec], *, dry_run: bool) -> list[str]:
        return await self._queue.ensure(specs, dry_run=dry_run)

    def subscription(self, name: str, *, prefetch: int, state: StateStore | None = None) -> Subscription:
        return self._queue.subscription(name, prefetch=prefetch, state=state or self._store.state)

    @property
    def dead_letters(self) -> DeadLetters:
        return self._queue.dead_letters

    async def replayable(self, replay: Replay) -> Replayable:
        return await self._queue.replayable(replay)

    async def replay(self, replay: Replay) -> int | Unknown:
        return await self._queue.replay(replay)

    async def close(self) -> None:
        try:
            await self._queue.close()  # what it hands back may be noted in the store
        finally:
            await self._store.close()
