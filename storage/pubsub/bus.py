"""The queue on Pub/Sub, with all its parts."""

from __future__ import annotations

import os
from collections.abc import Iterable
from weakref import WeakSet

from kubecdc.concurrency import Background
from kubecdc.errors import UsageError
from kubecdc.storage.broker.settings import BrokerSettings
from kubecdc.storage.broker.subscription import BrokerSubscription
from kubecdc.storage.contracts import (
    Capabilities,
    Replay,
    Replayable,
    StateStore,
    SubscriptionSpec,
    SubscriptionStatus,
    Unknown,
)
from kubecdc.storage.pubsub.client import EMULATOR, Client
from kubecdc.storage.pubsub.configs import Configs
from kubecdc.storage.pubsub.dead_letters import PubSubDeadLetters
from kubecdc.storage.pubsub.ensure import Ensure
from kubecdc.storage.pubsub.names import Names
from kubecdc.storage.pubsub.publisher import PubSubPublisher
from kubecdc.storage.pubsub.registrations import Registrations
from kubecdc.storage.pubsub.replays import Replays
from kubecdc.storage.pubsub.settings import MESSAGE_BYTES, PubSubSettings
from kubecdc.storage.pubsub.source import PubSubSource
from kubecdc.storage.pubsub.subscribers import Subscribers

HELD = 1000  # messages that wait in a worker: Pub/Sub returns many of one object at a time

CAPABILITIES = Capabilities(
    order=True,
    atomic_commit=False,
    delayed_nack=True,
    attempts=False,
    replay=True,
    dead_letter_browse=True,
    max_event_bytes=MESSAGE_BYTES,
    exactly_once_publish=False,
    counts=False,
    limits_backlog=False,
    uses_state=True,
    never_back=True,
)


class PubSubBus:
    """`storage.contracts.Queue`: a topic in a project of Google Cloud."""

    def __init__(self, settings: PubSubSettings, *, holder: str) -> None:
        if os.environ.get(EMULATOR):
            settings = settings.on_emulator()
        self._settings = settings
        self._holder = holder
        self._names = names = Names(settings.project, settings.topic)
        self._client = client = Client(settings)
        self._configs = configs = Configs(settings, names)
        self._registrations = registrations = Registrations(client, names, configs)
        self._subscribers = Subscribers(registrations)
        self._replays = Replays(client, names, registrations)
        self._must_exist = False
        self._sources: WeakSet[PubSubSource] = WeakSet()
        self._late = Background()  # what brings back messages of receivers that are gone
        self._opened: WeakSet[BrokerSubscription] = WeakSet()
        self.capabilities = CAPABILITIES
        self.ack_wait = settings.claim
        self.publisher = PubSubPublisher(client, names.topic_path, self._subscribers, settings.message_bytes)
        self.dead_letters = PubSubDeadLetters(client, names, registrations, settings.pull_seconds)

    async def open(self, *, create: bool) -> None:
        """Find credentials. Raises UsageError. Without ``create``, `subscriptions` raises it if there is no topic:
        `ensure` can tell what it would make."""
        self._must_exist = not create
        await self._client.open()

    async def register(self, specs: Iterable[SubscriptionSpec]) -> None:
        await self._registrations.register(specs)
        self._subscribers.forget()

    async def keep(self, specs: Iterable[SubscriptionSpec]) -> None:
        """The latest registration alone counts."""

    async def subscriptions(self, *, ages: bool = True) -> list[SubscriptionStatus]:
        if self._must_exist and await self._client.topic(self._names.topic_path) is None:
            raise UsageError(
                f"there is no topic {self._settings.place} yet",
                hint="run `kubecdc bus ensure`, or start `kubecdc run`, `watch` or `work` first",
            )
        return await self._registrations.statuses()

    async def prune(self, name: str) -> bool:
        self._subscribers.forget()
        return await self._registrations.prune(name)

    async def ensure(self, specs: Iterable[SubscriptionSpec], *, dry_run: bool) -> list[str]:
        run = Ensure(self._client, self._configs, self._registrations, dry_run=dry_run)
        await run.run(specs)
        return run.lines

    def subscription(self, name: str, *, prefetch: int, state: StateStore | None = None) -> BrokerSubscription:
        source = PubSubSource(name, self._client, self._names, self._registrations, self._settings, self._late)
        settings = BrokerSettings(
            name=name,
            prefetch=prefetch,
            ack_wait=self.ack_wait.total_seconds(),
            ordered=True,
            holder=self._holder,
            receivers=1,
            least_held=HELD,
        )

        async def registered() -> tuple[SubscriptionSpec, ...]:
            spec = await self._registrations.registered(name)
            return (spec,) if spec else ()

        opened = BrokerSubscription(source, settings, state, registered)
        self._sources.add(source)
        self._opened.add(opened)
        return opened

    async def replayable(self, replay: Replay) -> Replayable:
        return await self._replays.replayable(replay)

    async def replay(self, replay: Replay) -> Unknown:
        return await self._replays.replay(replay)

    async def close(self) -> None:
        """Open `deliveries` end. What they handed out may still be settled until the channel is closed."""
        for subscription in self._opened:
            subscription.end()
        for source in self._sources:
            source.close()
        await self._late.finish()
        await self._client.close()
