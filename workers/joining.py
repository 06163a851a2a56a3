"""The conditions step: an event that does not complete the conditions is kept, and settled without a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from kubecdc.storage.contracts import Bus
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.encryption.codec import codec_of
from kubecdc.workers.conditions.half_met import HalfMet, Hold
from kubecdc.workers.conditions.stored import Set
from kubecdc.workers.rate import Rate
from kubecdc.workers.route import Route, all_of
from kubecdc.workers.sensor.values import Values
from kubecdc.workers.settlement import persist


@dataclass(frozen=True)
class Joined:
    """An event that was taken into account for the conditions. ``found`` is the set that it completes, if it does."""

    half_met: HalfMet
    dependency: str
    event: Event
    key: str
    found: Set | None

    async def fired(self) -> None:
        """The trigger has had the set: forget it, before the event is acked."""
        await persist(partial(self.half_met.fired, self.dependency, self.event))

    async def acked(self) -> None:
        """The event is acked."""
        await self.half_met.acked(self.dependency, self.event, self.key, completed=self.found is not None)


async def join(event: Event, values: Values, key: str, half_met: HalfMet, hold: Hold) -> Joined:
    """Take the event into account. Puts the values of those that complete the conditions with it beside ``values``.

    ``hold`` is as in `HalfMet.complete`. Raises ClaimLost.
    """
    found = await persist(lambda: half_met.complete(values.dependency, event, key, hold))
    others = {name: other for name, other in (found or {}).items() if name != values.dependency}
    values.others = {name: Values(other, name) for name, other in others.items()}
    return Joined(half_met, values.dependency, event, key, found)


def share(bus: Bus, routes: Sequence[Route]) -> None:
    """Give the routes of each trigger what they share with each other and with all workers: conditions, rate, keys."""
    codec = codec_of(bus)
    shared: dict[int, HalfMet] = {}
    rates: dict[int, Rate] = {}
    state = bus.state if bus.capabilities.state and bus.state.frequent else None
    for route in all_of(routes):
        route.codec = codec
        if route.rate_limit:
            made = Rate(route.rate_limit.interval, state, f"{route.sensor}/{route.name}")
            route.rate = rates.setdefault(id(route.trigger), made)
    for route in routes:
        if route.dependency.name not in route.expression.alone:
            known = shared.get(id(route.trigger)) or route.half_met_in(bus.state, codec)
            route.half_met = shared[id(route.trigger)] = known
