"""Opens the bus of an EventBus manifest, of any type."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import cast

from kubecdc.cluster.keys import Keys
from kubecdc.storage.composed import ComposedBus
from kubecdc.storage.contracts import Bus
from kubecdc.storage.contracts.types import BusSettings, Opening
from kubecdc.storage.encryption import require_library
from kubecdc.storage.encryption.bus import EncryptedBus
from kubecdc.storage.encryption.keyring import KeyRing
from kubecdc.storage.manifest import EventBus


@asynccontextmanager
async def opened(manifest: EventBus, opening: Opening) -> AsyncIterator[Bus]:
    """Open the bus of a manifest, and close it on exit.

    Raises UsageError, Refused, and Unavailable if a later attempt may succeed.
    """
    access = opening.cluster
    async with aclosing(access.shared()) as cluster:
        keys = Keys(opening.mounts, cluster, manifest.metadata.namespace)
        encryption = manifest.spec.encryption
        if encryption:
            require_library()
        bus = await _open(manifest, replace(opening, keys=keys))
        try:
            if encryption is None:
                yield bus
                return
            codec = KeyRing(manifest.name, encryption.keys, keys)
            async with codec.kept():
                yield EncryptedBus(bus, codec)
        finally:
            await bus.close()


async def _open(manifest: EventBus, opening: Opening) -> Bus:
    spec = manifest.spec
    settings = BusSettings(
        name=manifest.name,
        ack_wait=spec.redelivery.ack_wait,
        retention=spec.retention,
        retention_bytes=spec.retention_bytes,
        max_pending=spec.max_pending,
    )
    queue = await spec.queue_type.open(spec.queue, settings, opening)
    if spec.queue_type.holds_checkpoint:
        return cast("Bus", queue)  # as the contract of `QueueType.open` requires
    try:
        store = await spec.store_type.open(spec.store, manifest.name, opening)
    except BaseException:
        await queue.close()
        raise
    return ComposedBus(queue, store)
