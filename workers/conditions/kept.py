"""How commands show half-met conditions, and remove those that no worker will handle any more.

The sets of dead letters that were purged, and all that is left of a trigger whose subscriptions were pruned.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import NamedTuple

import msgspec

from kubecdc.errors import Refused
from kubecdc.storage.contracts import StateEntry, StateStore
from kubecdc.storage.contracts.errors import StateConflict
from kubecdc.workers.conditions.stored import CONFLICTS, MET, SET, Owed, Record, name_of_key


class Kept(NamedTuple):
    """An event that waits for the rest of the conditions, ``since`` seconds after 1970."""

    dependency: str
    key: str
    event: str
    since: float


def place_of(subscription: str) -> tuple[str, str]:
    """Scope and dependency of a subscription of a trigger that needs several, ``<sensor>/<trigger>/<dependency>``.

    The dependency of others is "".
    """
    scope, _, dependency = subscription.rpartition("/")
    return (scope, dependency) if "/" in scope else (subscription, "")


async def kept(state: StateStore, scope: str, read: Callable[[StateEntry], Record] = Record.read) -> list[Kept]:
    """The events that wait, the oldest first. Raises Unavailable, Refused."""
    found = []
    for name in await state.keys(scope):
        entry = await state.get(scope, name) if name.startswith(MET) else None
        try:
            known = read(entry) if entry else Record()
        except msgspec.DecodeError as e:
            raise Refused(f"what is half met of {scope!r} is damaged: {e}") from e
        for dependency, held in known.held.items():
            found.append(Kept(dependency, name.removeprefix(MET), held.event.id, held.at))
    return sorted(found, key=lambda one: one.since)


async def purge(state: StateStore, subscription: str, events: Collection[str]) -> None:
    """Forget the sets that events with these ids completed: they are not redriven any more. Raises Unavailable."""
    scope, dependency = place_of(subscription)
    begin = f"{SET}{dependency}/"
    for name in await state.keys(scope) if dependency else ():
        if name.startswith(begin) and name.removeprefix(begin).partition("/")[2] in events:
            entry = await state.get(scope, name)
            await _drop(state, scope, name, entry)
            if entry:
                with suppress(msgspec.DecodeError):  # damaged
                    await settled(state, scope, Owed.read(entry).key, name)


async def prune(state: StateStore, scope: str) -> None:
    """Forget all that is half met or owed of a trigger. Raises Unavailable."""
    for name in await state.keys(scope):
        if name.startswith((MET, SET)):
            await _drop(state, scope, name, await state.get(scope, name))


async def settled(state: StateStore, scope: str, key: str, place: str) -> None:
    """A set is owed no more: what is kept under its key expires. That its event was seen stays until then, in case it
    is delivered again. Raises Unavailable."""
    name = name_of_key(key)
    for _ in range(CONFLICTS):
        entry = await state.get(scope, name)
        known = Record.read(entry) if entry else Record()
        if not known.seen.get(place):
            return
        known.seen[place] = False
        with suppress(StateConflict):
            await state.put(scope, name, known.change(entry))
            return


async def _drop(state: StateStore, scope: str, name: str, entry: StateEntry | None) -> None:
    if entry:
        with suppress(StateConflict):  # a worker is at it
            await state.delete(scope, name, version=entry.version)
