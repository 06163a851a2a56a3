"""Which subscriptions an operator has paused. The bus keeps that in its state, for the workers of all processes."""

from __future__ import annotations

import json
from datetime import timedelta

from kubecdc.storage.contracts import Bus, StateEntry
from kubecdc.storage.shared_state import change

PLACE = ("bus", "paused")  # scope and key of the one value
KEPT = timedelta(days=36_500)


async def paused(bus: Bus) -> frozenset[str]:
    """The names of the subscriptions that are paused; none if the bus cannot pause any. Raises Unavailable."""
    return _names(await bus.state.get(*PLACE)) if bus.capabilities.pauses else frozenset()


async def pause(bus: Bus, name: str) -> None:
    """From now on, workers deliver nothing of that subscription; what they have in work ends. Raises Unavailable."""
    await change(bus.state, *PLACE, lambda found: _value(_names(found) | {name}, found), ttl=KEPT)


async def resume(bus: Bus, name: str) -> None:
    """Workers deliver again. A no-op if it is not paused. Raises Unavailable."""
    await change(bus.state, *PLACE, lambda found: _value(_names(found) - {name}, found), ttl=KEPT)


def _names(found: StateEntry | None) -> frozenset[str]:
    return frozenset(json.loads(found.value)) if found else frozenset()


def _value(names: frozenset[str], found: StateEntry | None) -> bytes | None:
    return json.dumps(sorted(names)).encode() if names != _names(found) else None
