"""How often the trigger of a message was started, and how that ended. Brokers count receptions, which are more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from kubecdc.storage.broker.contract import Received
from kubecdc.storage.broker.recent import Recent
from kubecdc.storage.contracts import NO_FAILURES, Failures, StateConflict, StateEntry, StateStore
from kubecdc.storage.shared_state import change

KEPT = timedelta(days=15)  # SQS keeps a message for 14 days at most
SUCCESSES = "successes"  # the key of their number


@dataclass(frozen=True)
class Tries:
    """The attempts of a message that were begun, and what is kept of those that failed."""

    attempts: int = 0
    failures: Failures = NO_FAILURES


class Ledger(Protocol):
    """Counts the attempts of messages, and remembers successes."""

    def known(self, message: Received) -> Tries | None:
        """The attempts before this reception; None if that has to be asked."""
        ...

    async def tries(self, message: Received) -> Tries:
        """Ask for the attempts before this reception. Raises Unavailable."""
        ...

    async def record(self, message: Received, tries: Tries, *, before: Tries) -> None:
        """Store the attempts that were begun: fewer than are known only if these are ``before``. Raises Unavailable."""
        ...

    async def forget(self, message: Received) -> None:
        """The message is settled. Raises Unavailable."""
        ...

    async def succeeded(self) -> None:
        """A message was acked as a success. Raises Unavailable."""
        ...

    async def successes(self) -> int:
        """As `Subscription.successes`. Raises Unavailable."""
        ...


class ReceptionLedger:
    """Uses the broker's count of receptions as the attempts, where there is no state store.

    A message that this process has received before is counted by what this process did with it. Successes are those of
    this process.
    """

    def __init__(self) -> None:
        self._known: Recent[Tries] = Recent()
        self._successes = 0

    def known(self, message: Received) -> Tries:
        known = self._known.get(message.id)
        if known is None:
            known = Tries(max(0, (message.receptions or 1) - 1))
            self._known.put(message.id, known)
        return known

    async def tries(self, message: Received) -> Tries:
        return self.known(message)

    async def record(self, message: Received, tries: Tries, *, before: Tries) -> None:
        self._known.put(message.id, tries)

    async def forget(self, message: Received) -> None:
        self._known.forget(message.id)

    async def succeeded(self) -> None:
        self._successes += 1

    async def successes(self) -> int:
        return self._successes


class StateLedger:
    """Keeps attempts in a state store. ``name`` is the subscription's.

    The store is asked only for messages that were received before, so most messages cost nothing. Most successes cost
    nothing either: a process notes its first one after it has asked for `successes`, which it does at each failure.
    """

    def __init__(self, state: StateStore, name: str) -> None:
        self._state = state
        self._name = name
        self._asked = False

    def known(self, message: Received) -> Tries | None:
        return Tries() if message.receptions == 1 else None

    async def tries(self, message: Received) -> Tries:
        return _tries(await self._state.get(self._name, _key(message)))

    async def record(self, message: Received, tries: Tries, *, before: Tries) -> None:
        def later(found: StateEntry | None) -> bytes | None:
            known = _tries(found)
            if tries == known or (tries.attempts < known.attempts and known != before):
                return None
            return f"{tries.attempts} {tries.failures.uncounted} {tries.failures.successes}".encode()

        await change(self._state, self._name, _key(message), later, ttl=KEPT)

    async def forget(self, message: Received) -> None:
        if found := await self._state.get(self._name, _key(message)):
            try:
                await self._state.delete(self._name, _key(message), version=found.version)
            except StateConflict:  # another worker has the message too, and counts
                return

    async def succeeded(self) -> None:
        if self._asked:
            self._asked = False
            try:
                await change(self._state, self._name, SUCCESSES, lambda found: b"%d" % (_number(found) + 1), ttl=KEPT)
            except BaseException:
                self._asked = True
                raise

    async def successes(self) -> int:
        self._asked = True
        return _number(await self._state.get(self._name, SUCCESSES))


def _key(message: Received) -> str:
    return f"tries/{message.id}"


def _tries(found: StateEntry | None) -> Tries:
    attempts, *failures = map(int, found.value.split()) if found else (0,)
    return Tries(attempts, Failures(*failures))


def _number(found: StateEntry | None) -> int:
    return int(found.value) if found else 0
