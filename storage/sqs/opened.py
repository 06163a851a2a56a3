"""An open SQS queue, with all its parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn
from weakref import WeakSet

from kubecdc.concurrency import Background
from kubecdc.errors import UsageError
from kubecdc.storage.broker.settings import BrokerSettings
from kubecdc.storage.broker.subscription import BrokerSubscription
from kubecdc.storage.contracts import (
    Capabilities,
    Replay,
    StateStore,
    SubscriptionSpec,
    SubscriptionStatus,
)
from kubecdc.storage.sqs.backlog import Backlog
from kubecdc.storage.sqs.catalog import Catalog, Listing
from kubecdc.storage.sqs.client import Client
from kubecdc.storage.sqs.dead_letters import SqsDeadLetters
from kubecdc.storage.sqs.publisher import SqsPublisher, SqsSender
from kubecdc.storage.sqs.registrations import Registrations
from kubecdc.storage.sqs.settings import SqsSettings
from kubecdc.storage.sqs.source import SqsSource

MAX_EVENT_BYTES = 16 << 20  # `SqsPublisher.fit` decides: how large an event may be depends on how well it compresses


def capabilities(*, fifo: bool) -> Capabilities:
    """The capabilities of FIFO queues, or of standard queues."""
    return Capabilities(
        order=fifo,
        atomic_commit=False,
        delayed_nack=True,
        attempts=False,
        replay=False,
        dead_letter_browse=True,
        max_event_bytes=MAX_EVENT_BYTES,
        exactly_once_publish=False,
        state=False,
        elector=False,
        counts=False,
        limits_backlog=True,
        uses_state=True,
        never_back=fifo,
    )


class SqsQueue:
    """Implements `storage.contracts.Queue`."""

    def __init__(self, client: Client, settings: SqsSettings, holder: str) -> None:
        self._client = client
        self._holder = holder
        self._opened: WeakSet[BrokerSubscription] = WeakSet()
        self._late = Background()  # what brings back messages of receivers that are gone
        self._settings = settings
        self._catalog = catalog = Catalog(client, settings)
        self._backlog = backlog = Backlog(client, settings)
        self._registrations = Registrations(client, catalog, settings)
        self._sender = SqsSender(client, catalog, backlog, settings)
        self.capabilities = capabilities(fifo=settings.fifo)
        self.ack_wait = settings.ack_wait
        self.publisher = SqsPublisher(self._sender, catalog, backlog, settings)
        self.dead_letters = SqsDeadLetters(client, catalog, self._sender, settings)

    @classmethod
    async def connect(cls, settings: SqsSettings, holder: str) -> SqsQueue:
        """Raises UsageError if there are no credentials or no region."""
        return cls(await Client.connect(settings), settings, holder)

    async def check(self) -> None:
        """Raises UsageError if the queues may not be listed or are not of the manifest's kind, Unavailable."""
        await self.listing()

    async def register(self, specs: Iterable[SubscriptionSpec]) -> None:
        await self._registrations.register(specs)

    async def keep(self, specs: Iterable[SubscriptionSpec]) -> None:
        """The latest registration alone counts."""

    async def subscriptions(self, *, ages: bool = True) -> list[SubscriptionStatus]:
        return await self._registrations.statuses()

    async def prune(self, name: str) -> bool:
        return await self._registrations.prune(name)

    async def ensure(self, specs: Iterable[SubscriptionSpec], *, dry_run: bool) -> list[str]:
        return await self._registrations.ensure(specs, dry_run=dry_run)

    async def listing(self) -> Listing:
        """The queues of the bus, as SQS lists them now. Raises UsageError, Unavailable."""
        return await self._catalog.read()

    def source(self, name: str) -> SqsSource:
        """The messages of a subscription."""
        return SqsSource(name, self._client, self._catalog, self._settings, self._late)

    def subscription(self, name: str, *, prefetch: int, state: StateStore | None = None) -> BrokerSubscription:
        settings = BrokerSettings(
            name=name,
            prefetch=prefetch,
            ack_wait=self.ack_wait.total_seconds(),
            ordered=self._settings.fifo,
            holder=self._holder,
        )

        async def registered() -> tuple[SubscriptionSpec, ...]:
            spec = await self._catalog.registered(name)
            return (spec,) if spec else ()

        opened = BrokerSubscription(self.source(name), settings, state, registered)
        self._opened.add(opened)
        return opened

    async def replay(self, replay: Replay) -> NoReturn:
        raise UsageError("SQS keeps no events that are settled, so it cannot replay them")

    replayable = replay

    async def close(self) -> None:
        """Open `deliveries` end, and hand back what they hold. What a long poll still brings is handed back too."""
        for opened in self._opened:
            opened.end()
        await self._client.end_polls()
        await self._late.finish()
        await self._catalog.close()
        await self._backlog.close()
        await self._client.close()
