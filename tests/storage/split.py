"""A bus whose checkpoint is in another store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from kubecdc.storage.contracts import Bus, Capabilities, CheckpointStore
from kubecdc.storage.split import SplitPublisher
from kubecdc.storage.testing import Harness, StoreHarness
from kubecdc.storage.testing.fault_injection import FaultyBus


class SplitBus(FaultyBus):
    """The events of one bus with the checkpoints of another store."""

    def __init__(self, inner: Bus, checkpoints: CheckpointStore) -> None:
        super().__init__(inner)
        self.capabilities = split(inner.capabilities)
        self.checkpoints = checkpoints
        self.publisher = SplitPublisher(inner.publisher, checkpoints)


def split(capabilities: Capabilities) -> Capabilities:
    """The capabilities without those that a split bus lacks."""
    return replace(capabilities, atomic_commit=False, exactly_once_publish=False)


@dataclass(frozen=True)
class SplitHarness:
    """Buses of one harness, checkpoints of another."""

    buses: Harness
    stores: StoreHarness

    @property
    def capabilities(self) -> Capabilities:
        return split(self.buses.capabilities)

    @property
    def short(self) -> timedelta:
        return self.buses.short

    async def open(
        self, holder: str = "one", *, ack_wait: timedelta = timedelta(seconds=30), max_pending: int = 1_000_000
    ) -> Bus:
        bus = await self.buses.open(holder, ack_wait=ack_wait, max_pending=max_pending)
        return SplitBus(bus, await self.stores.store(holder))
