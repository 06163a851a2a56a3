"""Changes of the state that several processes share, decided again after each conflict."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts import StateChange, StateConflict, StateEntry, StateStore

CONFLICTS = 10  # in a row


async def change(
    state: StateStore, scope: str, key: str, decide: Callable[[StateEntry | None], bytes | None], *, ttl: timedelta
) -> StateEntry | None:
    """Put the value that ``decide`` makes of the present entry. None from it leaves the entry as it is.

    Returns the entry as it is now. Raises Unavailable, also if other processes keep changing the value.
    """
    for _ in range(CONFLICTS):
        found = await state.get(scope, key)
        value = decide(found)
        if value is None:
            return found
        put = StateChange(value=value, ttl=ttl, follows=found.version if found else "")
        try:
            await state.put(scope, key, put)
        except StateConflict:
            continue
        return StateEntry(value, put.token)
    raise Unavailable(f"other processes keep changing the state {key!r} of {scope!r}")
