"""Watching the backlog: what waits for whom, and a word of warning long before a full bus blocks the watcher."""

from __future__ import annotations

import asyncio
from collections.abc import Set

import structlog
from prometheus_client import Gauge

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Bus, SubscriptionStatus

log = structlog.get_logger()

PERIOD_SECONDS = 30.0
PENDING = Gauge("kubecdc_pending_events", "Events not yet acked or dead-lettered", ["subscription"])


async def watch(bus: Bus, named: Set[str], max_pending: int, *, period: float = PERIOD_SECONDS) -> None:
    """For ever: export each subscription's backlog, and warn once per cause. `named` is what the manifests name."""
    warned: dict[str, str] = {}
    while True:
        try:
            statuses = await bus.subscriptions()
        except Unavailable:
            statuses = []  # the watcher and the workers say so
        for status in statuses:
            PENDING.labels(status.spec.name).set(status.pending)
            cause = concern(status, named, max_pending)
            if cause and warned.get(status.spec.name) != cause:
                log.warning(
                    cause,
                    subscription=status.spec.name,
                    pending=status.pending,
                    max_pending=max_pending,
                    fix="name it in a manifest, or end it with `kubecdc bus prune`"
                    if status.spec.name not in named
                    else "scale its workers, or see why its trigger fails",
                )
            warned[status.spec.name] = cause
        await asyncio.sleep(period)


def concern(status: SubscriptionStatus, named: Set[str], max_pending: int) -> str:
    """Why somebody should look at the subscription, "" if nobody needs to."""
    if status.spec.name not in named:
        return "no manifest here names this subscription: it keeps its backlog, which will fill the bus"
    if status.pending * 2 >= max_pending:
        return "the backlog is above half of maxPending: a full bus blocks the watcher"
    return ""
