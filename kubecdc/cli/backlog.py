"""Monitors the backlog of each subscription, and warns long before a full bus blocks the watcher."""

from __future__ import annotations

import asyncio
from collections.abc import Set
from typing import NamedTuple

import structlog

from kubecdc import metrics
from kubecdc.current import Current
from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import Bus, SubscriptionSpec, SubscriptionStatus

log = structlog.get_logger()

PERIOD_SECONDS = 30.0


class _Warning(NamedTuple):
    code: str
    text: str
    hint: str


async def watch(
    bus: Bus, specs: Current[list[SubscriptionSpec]], max_pending: int, *, period: float = PERIOD_SECONDS
) -> None:
    """Look at the backlog of each subscription every ``period`` seconds, and log each new warning once. Never returns.

    ``specs`` are the subscriptions that the manifests have.
    """
    warned: dict[str, str] = {}
    while True:
        try:
            statuses = await bus.subscriptions(ages=False)
            _forget(warned, {status.spec.name for status in statuses})
        except Unavailable:
            statuses = []  # the watcher and the workers report it
        named = {spec.name for spec in specs.value}
        for status in statuses:
            warning = _warning(status, named, max_pending)
            if warning and warned.get(status.spec.name) != warning.code:
                log.warning(
                    warning.text,
                    code=warning.code,
                    subscription=status.spec.name,
                    pending=status.pending,
                    max_pending=max_pending,
                    hint=warning.hint,
                )
            warned[status.spec.name] = warning.code if warning else ""
        await asyncio.sleep(period)


def _forget(warned: dict[str, str], there: Set[str]) -> None:
    """Nothing is counted any more of subscriptions that were pruned."""
    for name in warned.keys() - there:
        del warned[name]
        metrics.forget("subscription", name)


def _warning(status: SubscriptionStatus, named: Set[str], max_pending: int) -> _Warning | None:
    """The warning about a subscription; None if there is nothing to report."""
    if status.spec.name not in named:
        return _Warning(
            code="subscription-unnamed",
            text="no manifest names this subscription: its backlog is kept and will fill the bus",
            hint="name it in a manifest, or remove it with `kubecdc bus prune`",
        )
    if isinstance(status.pending, int) and status.pending * 2 >= max_pending:
        return _Warning(
            code="backlog-high",
            text="the backlog is above half of maxPending: a full bus blocks the watcher",
            hint="add workers, or find out why the trigger fails",
        )
    return None
