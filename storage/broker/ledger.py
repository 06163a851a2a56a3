"""How often the trigger of a message was started. Brokers count receptions, which are more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from kubecdc.errors import Unavailable
from kubecdc.storage.broker.contract import Received
from kubecdc.storage.broker.recent import Recent
from kubecdc.storage.contracts import StateChange, StateConflict, StateEntry, StateStore

KEPT = timedelta(days=15)  # SQS keeps a message for 14 days at most
CONFLICTS = 10  # in a row


class Ledger(Protocol):
    """Counts the attempts of messages."""

    def known(self, message: Received) -> int | None:
        """How many attempts were made before this reception; None if that has to be asked."""
        ...

    async def attempts(self, message: Received) -> int:
        """Ask how many attempts were made before this reception. Raises Unavailable."""
        ...

    async def record(self, message: Received, attempts: int) -> None:
        """Store how many attempts were begun. Raises Unavailable."""
        ...

    async def forget(self, message: Received) -> None:
        """The message is settled. Raises Unavailable."""
        ...


class ReceptionLedger:
    """Takes the broker's count of receptions for attempts, where no state store is to be had.

    A message that this process has received before is counted by what this process did with it.
    """

    def __init__(self) -> None:
        self._known: Recent[int] = Recent()

    def known(self, message: Received) -> int:
        known = self._known.get(message.id)
        if known is None:
            known = max(0, (message.receptions or 1) - 1)
            self._known.put(message.id, known)
        return known

    async def attempts(self, message: Received) -> int:
        return self.known(message)

    async def record(self, message: Received, attempts: int) -> None:
        self._known.put(message.id, attempts)

    async def forget(self, message: Received) -> None:
        self._known.forget(message.id)


class StateLedger:
    """Keeps attempts in a state store. ``name`` is the subscription's.

    The store is asked only for messages that were received before, so most messages cost nothing.
    """

    def __init__(self, state: StateStore, name: str) -> None:
        self._state = state
        self._name = name

    def known(self, message: Received) -> int | None:
        return 0 if message.receptions == 1 else None

    async def attempts(self, message: Received) -> int:
        found = await self._state.get(self._name, _key(message))
        return int(found.value) if found else 0

    async def record(self, message: Received, attempts: int) -> None:
        def higher(found: StateEntry | None) -> bytes | None:
            return str(attempts).encode() if found is None or int(found.value) < attempts else None

        await change(self._state, self._name, _key(message), higher)

    async def forget(self, message: Received) -> None:
        if found := await self._state.get(self._name, _key(message)):
            try:
                await self._state.delete(self._name, _key(message), version=found.version)
            except StateConflict:  # another worker has the message too, and counts
                return


def _key(message: Received) -> str:
    return f"attempts/{message.id}"


async def change(
    state: StateStore, scope: str, key: str, decide: Callable[[StateEntry | None], bytes | None]
) -> StateEntry | None:
    """Put the value that ``decide`` makes of the present entry. None from it leaves the entry as it is.

    Returns the entry as it is now. Raises Unavailable, also if other processes keep changing the value.
    """
    for _ in range(CONFLICTS):
        found = await state.get(scope, key)
        value = decide(found)
        if value is None:
            return found
        put = StateChange(value=value, ttl=KEPT, follows=found.version if found else "")
        try:
            await state.put(scope, key, put)
        except StateConflict:
            continue
        return StateEntry(value, put.token)
    raise Unavailable(f"other processes keep changing the state {key!r} of {scope!r}")
