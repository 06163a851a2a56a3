"""The types of queues and checkpoint stores that are installed."""

from __future__ import annotations

from typing import Any

from kubecdc.plugins import Plugins, load
from kubecdc.storage.contracts.types import QUEUES, STORES, QueueType, StoreType


def queue_types() -> Plugins[QueueType[Any]]:
    """The queue types by name. The type that is used without an EventBus comes first."""
    found = load(QUEUES, QueueType)
    ordered = sorted(found.types, key=lambda name: found.types[name].default is None)
    return Plugins({name: found.types[name] for name in ordered}, found.broken)


def store_types() -> Plugins[StoreType[Any]]:
    """The store types by name. Those that are queue types too come first, in the order of `queue_types`."""
    found = load(STORES, StoreType)
    ordered = [name for name in queue_types().types if name in found.types]
    ordered += [name for name in found.types if name not in ordered]
    return Plugins({name: found.types[name] for name in ordered}, found.broken)
