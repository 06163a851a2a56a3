"""Which subscriptions an operator has paused. The bus keeps that in its state, for the workers of all processes."""

from __future__ import annotations

import json
from datetime import timedelta

from kubecdc.storage.contracts import Bus, Capabilities, StateEntry
from kubecdc.storage.shared_state import change

PLACE = ("bus", "paused")  # scope and key of the one value
KEPT = timedelta(days=36_500)


def pausable(capabilities: Capabilities) -> bool:
    """Whether the workers of a bus know its state: it is the bus's own, or they need it anyway."""
    return capabilities.state and (capabilities.atomic_commit or capabilities.uses_state)


async def paused(bus: Bus) -> frozenset[str]:
    """The names of the subscriptions that are paused; none if the bus cannot pause any. Raises Unavailable."""
    return _names(await bus.state.get(*PLACE)) if pausable(bus.capabilities) else frozenset()


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
