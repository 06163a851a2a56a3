"""One bus of a process, as the manifests use it now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from kubecdc.backoff import Backoff
from kubecdc.cli.reload.uses import BusUse
from kubecdc.current import Current
from kubecdc.errors import KubecdcError
from kubecdc.retry import until_done
from kubecdc.storage.contracts import Bus, SubscriptionSpec
from kubecdc.watcher.manifest import Entries
from kubecdc.workers.plan import Plan

T = TypeVar("T")
log = structlog.get_logger()
RETRY = Backoff(duration=0.5, cap=10.0)


class OnBus:
    """What is done on a bus. Everything that works there reads it from the three values, which are replaced."""

    def __init__(self, use: BusUse) -> None:
        self.manifest = use.manifest
        self.use = use
        self.subscriptions = Current(use.subscriptions)
        self.entries: Current[Entries] = Current(use.entries)
        self.triggers: Current[Plan] = Current(use.triggers)
        self._registered = {spec.name: spec for spec in use.subscriptions}
        self._bus: asyncio.Future[Bus] = asyncio.get_running_loop().create_future()

    def worked(self) -> list[str]:
        """The subscriptions that this process works for."""
        return [name for planned in self.triggers.value.values() for name in planned.subscriptions]

    def opened(self, bus: Bus) -> None:
        """The bus is open, and has the subscriptions."""
        self._bus.set_result(bus)

    async def become(self, use: BusUse) -> None:
        """Go on as the manifests have it now, once the bus answers. Safe to cancel, and to repeat.

        What is new is registered before anything else changes: from then on, no event of it is missed. Raises
        KubecdcError if the bus refuses a subscription; then everything goes on as before.
        """
        bus = await asyncio.shield(self._bus)
        try:
            await self._register(bus, use.subscriptions)
        except KubecdcError:
            await self._register(bus, self.use.subscriptions)
            raise
        self._registered = {spec.name: spec for spec in use.subscriptions}  # others may be pruned from now on
        self.use = use
        self.subscriptions.replace(use.subscriptions)
        self.entries.replace(use.entries)
        self.triggers.replace(use.triggers)

    async def _register(self, bus: Bus, specs: Sequence[SubscriptionSpec]) -> None:
        """Register what the bus does not have, or perhaps not, after a call that was cancelled or has failed."""
        new = [spec for spec in specs if self._registered.get(spec.name) != spec]
        if not new:
            return
        for spec in new:
            self._registered.pop(spec.name, None)
        await until_available(self.manifest.name, lambda: bus.register(new))
        self._registered |= {spec.name: spec for spec in new}


async def until_available(bus: str, call: Callable[[], Awaitable[T]]) -> T:
    """The result of a call, which is repeated until the bus answers. Raises every other KubecdcError."""

    def report(error: KubecdcError, failures: int) -> None:
        if failures == 1:
            log.warning("waiting for the bus", code="bus-waiting", name=bus, error=str(error), hint=error.hint)

    return await until_done(call, RETRY, report=report)
