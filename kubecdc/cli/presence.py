"""Tells a bus which subscriptions this process has, for as long as it runs."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from kubecdc.current import Current
from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Bus, SubscriptionSpec
from kubecdc.storage.contracts.deliveries import KEPT_SECONDS


async def keep(bus: Bus, specs: Current[list[SubscriptionSpec]], *, period: float = KEPT_SECONDS / 3) -> None:
    """Tell it periodically. Never returns."""
    while True:
        await asyncio.sleep(period)
        with suppress(Unavailable):  # the watcher and the workers report it
            await bus.keep(specs.value)
