"""The subscriptions of a bus.

The filter of a Pub/Sub subscription cannot be changed. So a subscription of ours has generations: another spec, or a
replay, makes the next one. The older one keeps what it is owed up to that time, and is read until none of it is left.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kubecdc.concurrency import Limit
from kubecdc.errors import UsageError
from kubecdc.storage.contracts import UNKNOWN, NoSubscription, SubscriptionSpec, SubscriptionStatus
from kubecdc.storage.pubsub.client import Client, duration, seconds_of
from kubecdc.storage.pubsub.configs import Configs
from kubecdc.storage.pubsub.errors import Exists, Missing
from kubecdc.storage.pubsub.messages import ENTRY, FOR
from kubecdc.storage.pubsub.names import Names, entry_of, spec_of, target_of

UNTIL = "kubecdc-until"  # label of an older generation: milliseconds since the epoch
REPLAYED = "kubecdc-replayed"  # label of a generation that a replay made: when, in milliseconds since the epoch
SKEW_SECONDS = 10.0  # by which our clock may differ from Pub/Sub's


@dataclass(frozen=True)
class Generation:
    """A subscription of Pub/Sub. ``until`` is the end of what it is owed, None if there is none yet.

    What was published before ``replayed`` is delivered again.
    """

    path: str
    spec: SubscriptionSpec
    serial: int
    until: float | None
    claim: float  # seconds
    kept: float  # seconds for which it keeps a message
    replayed: float

    @property
    def target(self) -> str:
        return target_of(self.path)

    def owns(self, message: Any) -> bool:
        """Whether a message is for this generation. Pub/Sub's filter lets nothing else in; its emulator has none."""
        if target := message.attributes.get(FOR):
            return bool(target == self.target)
        if message.attributes.get(ENTRY) != entry_of(self.spec.source, self.spec.subject):
            return False
        return self.until is None or seconds_of(message.publish_time) < self.until


class Registrations:
    """Finds, makes and ends subscriptions. All of it is kept in Pub/Sub: in ids, labels and filters."""

    def __init__(self, client: Client, names: Names, configs: Configs, now: Callable[[], float] = time.time) -> None:
        self._client = client
        self._names = names
        self._configs = configs
        self._now = now
        self._limit = Limit(16)

    async def generations(self, name: str) -> list[Generation]:
        """The generations of a subscription, newest first; [] if it is not registered. Raises Unavailable."""
        return (await self._found(lambda in_id, _: in_id == self._names.in_id(name))).get(name, [])

    async def all(self) -> dict[str, list[Generation]]:
        """All subscriptions, by name, each with its generations, newest first."""
        return await self._found(lambda *_: True)

    def is_spent(self, generation: Generation) -> bool:
        """Whether nothing can be left of what it is owed."""
        end = generation.until
        return end is not None and self._now() > end + generation.kept + SKEW_SECONDS

    async def subscribed(self, events: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those (source, subject) that a subscription wants today."""
        entries = {entry_of(*event): event for event in events}
        found = await self._found(lambda _, entry: entry in entries)
        current = [generation for generations in found.values() for generation in generations]
        return {(one.spec.source, one.spec.subject) for one in current if one.until is None} & set(entries.values())

    async def registered(self, name: str) -> SubscriptionSpec | None:
        """The spec that was registered last; None if it was ended."""
        found = await self.generations(name)
        return found[0].spec if found else None

    async def statuses(self) -> list[SubscriptionStatus]:
        """As far as Pub/Sub tells: it has no counts."""
        return [
            SubscriptionStatus(generations[0].spec, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
            for _, generations in sorted((await self.all()).items())
        ]

    async def register(self, specs: Iterable[SubscriptionSpec]) -> None:
        """Make what is missing. Needs no right to create anything if all is there."""
        wanted = list(specs)
        names = {self._names.in_id(spec.name) for spec in wanted}
        found = await self._found(lambda in_id, _: in_id in names)

        async def register(spec: SubscriptionSpec) -> None:
            try:
                await self._register(spec, found.get(spec.name, []))
            except UsageError as e:
                raise UsageError(
                    f"cannot register subscription {spec.name!r}: {e}",
                    hint="let an operator run `kubecdc bus ensure` with the manifests: it makes what is missing",
                ) from e

        await self._limit.map(register, wanted)

    async def succeed(self, spec: SubscriptionSpec, generations: list[Generation], *, replayed: float = 0.0) -> str:
        """Make the next generation, and return its path. The older ones are owed what they are until they `retire`.

        ``replayed`` is the time of the replay that it is for. Raises Exists if another process has made it.
        """
        serial = max((generation.serial for generation in generations), default=0) + 1
        config = self._configs.subscription(spec, serial)
        if replayed:
            config.labels[REPLAYED] = str(int(replayed * 1000))
        try:
            await self._client.create_subscription(config)
        except Missing:
            await self.make_topics()
            await self._client.create_subscription(config)
        return str(config.name)

    async def retire(self, generations: Iterable[Generation], until: float) -> None:
        """Owe them only what was published before. Once nothing is left and nobody reads them, Pub/Sub ends them."""
        for generation in generations:
            if generation.until is None or generation.until > until:
                await self._retire(generation.path, until)

    async def prune(self, name: str) -> bool:
        """End all generations. False if there are none."""
        generations = await self.generations(name)
        for generation in reversed(generations):  # the newest last: if this is interrupted, the name is still there
            await self._client.delete_subscription(generation.path)
        return bool(generations)

    async def make_topics(self) -> None:
        """The topics, and the subscription that keeps dead letters."""
        for config in (self._configs.topic(), self._configs.dead_topic()):
            with suppress(Exists):
                await self._client.create_topic(config)
        with suppress(Exists):
            await self._client.create_subscription(self._configs.dead_letters())

    async def _register(self, spec: SubscriptionSpec, generations: list[Generation]) -> None:
        newest = generations[0] if generations else None
        if newest is None or newest.spec != spec or newest.until is not None:
            with suppress(Exists):
                await self.succeed(spec, generations)
        else:
            generations = generations[1:]
        await self.retire((one for one in generations if one.until is None), self._now() + SKEW_SECONDS)

    async def _retire(self, path: str, until: float) -> None:
        config = await self._client.subscription(path)
        if config is None:
            return
        config.labels[UNTIL] = str(int(until * 1000))
        config.expiration_policy.ttl.CopyFrom(duration(self._configs.expires))
        with suppress(Missing):
            await self._client.update_subscription(config, ["labels", "expiration_policy"])

    async def _found(self, wanted: Callable[[str, str], bool]) -> dict[str, list[Generation]]:
        """Generations whose name (as in the id) and entry are wanted, by name, newest first."""
        try:
            paths = await self._client.subscriptions(self._names.topic_path)
        except Missing:
            return {}
        ids = {path: id_ for path in paths if (id_ := self._names.parse(path))}
        paths = [path for path, id_ in ids.items() if wanted(id_.name, id_.entry)]
        found: dict[str, list[Generation]] = defaultdict(list)
        for path, config in zip(paths, await self._limit.map(self._client.subscription, paths), strict=True):
            if config is None or (spec := spec_of(config.labels)) is None:
                continue
            until = config.labels.get(UNTIL)
            one = Generation(
                path,
                spec,
                ids[path].serial,
                int(until) / 1000 if until else None,
                config.ack_deadline_seconds,
                seconds_of(config.message_retention_duration),
                int(config.labels.get(REPLAYED, "0")) / 1000,
            )
            found[spec.name].append(one)
        for generations in found.values():
            generations.sort(key=lambda one: (one.serial, one.path), reverse=True)
        return dict(found)


async def current(registrations: Registrations, name: str) -> Generation:
    """The newest generation. Raises NoSubscription."""
    generations = await registrations.generations(name)
    if not generations:
        raise NoSubscription.of(name)
    return generations[0]
