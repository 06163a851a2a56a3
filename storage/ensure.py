"""`Queue.ensure` for a bus that is created when it is opened, so that only its subscriptions may be missing."""

from __future__ import annotations

from collections.abc import Iterable

from kubecdc.storage.contracts import Queue, SubscriptionSpec


async def ensure_registered(queue: Queue, specs: Iterable[SubscriptionSpec], *, dry_run: bool) -> list[str]:
    """Register the subscriptions that are missing, or are registered for other events. Returns a line for each."""
    wanted = list(specs)
    known = {status.spec.name: status.spec for status in await queue.subscriptions(ages=False)}
    missing = [spec for spec in wanted if known.get(spec.name) != spec]
    if missing and not dry_run:
        await queue.register(wanted)
    return [f"subscription {spec.name}, to {spec.source}/{spec.subject}" for spec in missing]
