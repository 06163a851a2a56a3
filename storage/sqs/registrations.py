"""Subscriptions: each is a queue whose tags say what it is for, and a dead-letter queue that outlives it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping

from kubecdc.concurrency import Limit
from kubecdc.storage.contracts import (
    UNKNOWN,
    Approximate,
    SubscriptionSpec,
    SubscriptionStatus,
)
from kubecdc.storage.sqs import names
from kubecdc.storage.sqs.backlog import count
from kubecdc.storage.sqs.catalog import Catalog, FoundQueue, Listing
from kubecdc.storage.sqs.client import Client
from kubecdc.storage.sqs.errors import QueueExists, QueueGone
from kubecdc.storage.sqs.settings import MAX_RECEIVES, RETENTION, SqsSettings


class Registrations:
    """Registers, lists and ends subscriptions."""

    def __init__(self, client: Client, catalog: Catalog, settings: SqsSettings) -> None:
        self._client = client
        self._catalog = catalog
        self._settings = settings

    async def register(self, specs: Iterable[SubscriptionSpec]) -> None:
        """Make what is missing. If anything is new, return once every publisher knows it."""
        listing = await self._catalog.read()
        changed = False
        for spec in specs:
            lines = await self._make(spec, listing, dry_run=False)
            changed = changed or bool(lines) or self._is_recent(listing.queues.get(spec.name))
        if changed:
            await self._catalog.read()
            await asyncio.sleep(self._settings.learn)

    async def ensure(self, specs: Iterable[SubscriptionSpec], *, dry_run: bool) -> list[str]:
        """As `register`, and set the attributes that differ. Returns a line for each thing that was to do."""
        listing = await self._catalog.read()
        made: list[str] = []
        set_: list[str] = []
        for spec in specs:
            made += await self._make(spec, listing, dry_run=dry_run)
            set_ += await self._set_attributes(spec, listing, dry_run=dry_run)
        if made and not dry_run:
            await self._catalog.read()
            await asyncio.sleep(self._settings.learn)
        return made + set_

    async def statuses(self) -> list[SubscriptionStatus]:
        """All subscriptions, by name, with the estimates of SQS."""
        listing = await self._catalog.read()

        async def status(queue: FoundQueue) -> SubscriptionStatus | None:
            dead = listing.dead.get(queue.spec.name)
            try:
                pending = await count(self._client, queue.url)
            except QueueGone:
                return None
            return SubscriptionStatus(
                spec=queue.spec,
                registered=queue.registered if queue.registered is not None else UNKNOWN,
                pending=Approximate(pending),
                oldest=UNKNOWN,
                dead_letters=Approximate(await count(self._client, dead.url)) if dead else UNKNOWN,
                workers=UNKNOWN,
            )

        found = await Limit(8).map(status, listing.queues.values())
        return [status for status in found if status]

    async def prune(self, name: str) -> bool:
        """Delete the queue of a subscription, not its dead-letter queue. False if there is none."""
        try:
            url = await self._catalog.url(names.queue_name(self._settings, name))
            await self._client.call("delete_queue", QueueUrl=url)
        except QueueGone:
            return False
        self._catalog.forget()
        return True

    async def _make(self, spec: SubscriptionSpec, listing: Listing, *, dry_run: bool) -> list[str]:
        """Make the queues of a subscription that are missing, and set its tags. Returns a line for each."""
        name = names.queue_name(self._settings, spec.name)
        queue, dead = listing.queues.get(spec.name), listing.dead.get(spec.name)
        now = time.time()
        lines = []
        if dead is None:
            lines.append(f"dead-letter queue {names.dead_name(name)}, of subscription {spec.name}")
            if not dry_run:
                tags = names.tags(self._settings.bus, spec, {names.REGISTERED: now})
                await self._create(names.dead_name(name), self._attributes(dead=True), tags)
        if queue is None:
            lines.append(f"queue {name}, for subscription {spec.name} to {spec.source}/{spec.subject}")
            if not dry_run:
                arn = await self._arn(dead.url if dead else await self._catalog.url(names.dead_name(name)))
                tags = names.tags(self._settings.bus, spec, {names.REGISTERED: now, names.CHANGED: now})
                await self._create(name, {**self._attributes(), **_redrive(arn)}, tags)
        elif queue.spec != spec:
            lines.append(f"tags of queue {name}: subscription {spec.name} to {spec.source}/{spec.subject}")
            if not dry_run:
                times = {names.REGISTERED: queue.registered or now, names.CHANGED: now}
                await self._client.call(
                    "tag_queue", QueueUrl=queue.url, Tags=names.tags(self._settings.bus, spec, times)
                )
        return lines

    async def _set_attributes(self, spec: SubscriptionSpec, listing: Listing, *, dry_run: bool) -> list[str]:
        """Set the attributes of queues that existed before and differ from what they should be."""
        lines = []
        dead, queue = listing.dead.get(spec.name), listing.queues.get(spec.name)
        for found in (dead, queue):
            if found is None:
                continue
            wanted = self._attributes(dead=found is dead)
            if found is queue and dead is not None:
                wanted |= _redrive(await self._arn(dead.url))
            present = await self._client.call("get_queue_attributes", QueueUrl=found.url, AttributeNames=["All"])
            differ = _differ(wanted, present.get("Attributes", {}))
            if not differ:
                continue
            lines.append(
                f"attributes of queue {names.of_url(found.url)}: "
                + ", ".join(f"{key} {value}" for key, value in differ.items())
            )
            if not dry_run:
                await self._client.call("set_queue_attributes", QueueUrl=found.url, Attributes=differ)
        return lines

    async def _create(self, name: str, attributes: Mapping[str, str], tags: Mapping[str, str]) -> None:
        fifo = {"FifoQueue": "true"} if self._settings.fifo else {}
        try:
            await self._client.call("create_queue", QueueName=name, Attributes={**attributes, **fifo}, tags=tags)
        except QueueExists:  # another process made it just now, with an ackWait of its own
            await self._client.call("tag_queue", QueueUrl=await self._catalog.url(name), Tags=tags)

    async def _arn(self, url: str) -> str:
        reply = await self._client.call("get_queue_attributes", QueueUrl=url, AttributeNames=["QueueArn"])
        return str(reply["Attributes"]["QueueArn"])

    def _attributes(self, *, dead: bool = False) -> dict[str, str]:
        attributes = {"MessageRetentionPeriod": str(RETENTION), "MaximumMessageSize": str(self._settings.message_bytes)}
        if not dead:
            attributes["VisibilityTimeout"] = str(self._settings.visibility)
        if self._settings.fifo:
            attributes |= {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
        return attributes

    def _is_recent(self, queue: FoundQueue | None) -> bool:
        """Whether some publisher may not know it yet. Clocks may differ by as much as it takes to learn it."""
        if queue is None or queue.changed is None:
            return False
        return abs(time.time() - queue.changed) < 2 * self._settings.learn


def _redrive(arn: str) -> dict[str, str]:
    return {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVES})}


def _differ(wanted: Mapping[str, str], present: Mapping[str, str]) -> dict[str, str]:
    """The attributes to set. One that the server does not tell is one that it does not have."""
    return {
        key: value
        for key, value in wanted.items()
        if (key in present or key == "RedrivePolicy") and not _same(key, value, present.get(key, "{}"))
    }


def _same(key: str, wanted: str, present: str) -> bool:
    if key != "RedrivePolicy":
        return wanted == present
    one, other = json.loads(wanted), json.loads(present)
    return {k: str(v) for k, v in one.items()} == {k: str(other.get(k)) for k in one}
