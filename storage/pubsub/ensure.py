"""`Queue.ensure`: makes topics and subscriptions, and sets what differs from the manifest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.pubsub.client import Client
from kubecdc.storage.pubsub.configs import SETTABLE, SETTABLE_OF_TOPIC, Configs, differences
from kubecdc.storage.pubsub.names import id_of
from kubecdc.storage.pubsub.registrations import Registrations

OF_DEAD_LETTERS = ("ack_deadline_seconds", "message_retention_duration", "expiration_policy")


class Ensure:
    """One run. ``lines`` says what was made or set, or would be."""

    def __init__(self, client: Client, configs: Configs, registrations: Registrations, *, dry_run: bool) -> None:
        self._client = client
        self._configs = configs
        self._registrations = registrations
        self._dry_run = dry_run
        self.lines: list[str] = []

    async def run(self, specs: Iterable[SubscriptionSpec]) -> None:
        """Topics first, because subscriptions need them. Raises UsageError, Unavailable."""
        client = self._client
        topics = client.topic, client.create_topic, client.update_topic
        subscriptions = client.subscription, client.create_subscription, client.update_subscription
        await self._same("topic", self._configs.topic(), SETTABLE_OF_TOPIC, *topics)
        await self._same("dead-letter topic", self._configs.dead_topic(), (), *topics)
        await self._same("subscription for dead letters", self._configs.dead_letters(), OF_DEAD_LETTERS, *subscriptions)
        wanted = list(specs)
        known = await self._registrations.all()
        for spec in wanted:
            newest = known.get(spec.name, [None])[0]
            if newest is None or newest.spec != spec or newest.until is not None:
                self.lines.append(f"subscription {spec.name}, to {spec.source}/{spec.subject}")
            else:
                config = self._configs.subscription(spec, newest.serial)
                await self._same(f"subscription {spec.name}", config, SETTABLE, *subscriptions)
        if not self._dry_run:
            await self._registrations.register(wanted)

    async def _same(
        self,
        what: str,
        wanted: Any,
        fields: tuple[str, ...],
        get: Callable[[str], Awaitable[Any | None]],
        create: Callable[[Any], Awaitable[None]],
        update: Callable[[Any, Sequence[str]], Awaitable[None]],
    ) -> None:
        found = await get(wanted.name)
        if found is None:
            self.lines.append(f"{what} {id_of(wanted.name)}")
            if not self._dry_run:
                await create(wanted)
        elif differing := differences(found, wanted, fields):
            self.lines.append(f"{what} {id_of(wanted.name)}: {', '.join(differing)}")
            if not self._dry_run:
                await update(wanted, differing)
