"""Half-met conditions, as commands show and end them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from kubecdc.cli.manifests.loading import Manifests
from kubecdc.storage.contracts import Bus, DeadLetter
from kubecdc.storage.manifest import EventBus

if TYPE_CHECKING:
    from kubecdc.workers.conditions.kept import Kept


async def waiting(
    bus: Bus, manifests: Manifests, manifest: EventBus, subscriptions: Iterable[str]
) -> dict[str, list[Kept]]:
    """The events of each subscription that wait for the rest of the conditions, the oldest first.

    Only of triggers that need several dependencies, and of what is left of such in the bus. Raises Unavailable,
    Refused.
    """
    from kubecdc.workers.conditions import kept
    from kubecdc.workers.route import half_met_in

    if not _joins(bus):
        return {}
    sensors = [sensor for sensor in manifests.sensors.values() if sensor.spec.event_bus_name == manifest.name]
    named = {
        f"{sensor.name}/{trigger.name}": half_met_in(sensor, trigger, bus.state)
        for sensor in sensors
        for trigger in sensor.spec.triggers
        if len(sensor.needs(trigger)) > 1
    }
    found: dict[str, list[Kept]] = {}
    scopes: dict[str, list[Kept]] = {}
    for subscription in subscriptions:
        scope, dependency = kept.place_of(subscription)
        if not dependency:
            continue
        if scope not in scopes:
            scopes[scope] = await (named[scope].kept() if scope in named else kept.kept(bus.state, scope))
        own = [one for one in scopes[scope] if one.dependency == dependency]
        if own or scope in named:
            found[subscription] = own
    return found


async def pruned(bus: Bus, subscription: str) -> None:
    """Forget what is half met of a trigger once its last subscription was pruned. Raises Unavailable."""
    from kubecdc.workers.conditions import kept

    scope, dependency = kept.place_of(subscription)
    if dependency and _joins(bus):
        left = [status.spec.name for status in await bus.subscriptions(ages=False)]
        if not any(kept.place_of(name)[0] == scope for name in left):
            await kept.prune(bus.state, scope)


async def purged(bus: Bus, letters: Sequence[DeadLetter]) -> None:
    """Forget the sets that were kept for dead letters. Raises Unavailable."""
    from kubecdc.workers.conditions import kept

    for subscription in {letter.subscription for letter in letters} if _joins(bus) else ():
        events = {letter.event for letter in letters if letter.subscription == subscription}
        await kept.purge(bus.state, subscription, events)


def _joins(bus: Bus) -> bool:
    """Whether triggers on the bus may have conditions."""
    return bus.capabilities.state and bus.state.frequent
