"""The high-water mark of each lane. A message that a broker delivers again after its successor was settled is not run.

A mark is a place in the order of publications (`Publication.order`), which only grows within a lane, and the time when
the broker took the message. A message that was sent after the marked one is not stale, whatever its place: somebody
has sent it again on purpose.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Literal, Protocol

from kubecdc.storage.broker.contract import Received
from kubecdc.storage.broker.ledger import KEPT
from kubecdc.storage.broker.recent import Recent
from kubecdc.storage.broker.settings import BrokerSettings
from kubecdc.storage.contracts import StateEntry, StateStore
from kubecdc.storage.shared_state import change

Entrance = Literal["free", "stale", "busy"]


@dataclass(frozen=True)
class Mark:
    """The newest settled message of a lane. ``owner`` is running another one until ``until``; "": nobody is."""

    order: str = ""
    sent: float = 0.0
    owner: str = ""
    until: float = 0.0

    def covers(self, message: Received) -> bool:
        """Whether the message, or a later one of its lane, was settled."""
        return bool(message.order) and message.order <= self.order and message.sent <= self.sent

    def after(self, message: Received) -> Mark:
        """The mark once the message is settled."""
        return Mark(message.order, message.sent, self.owner, self.until) if message.order > self.order else self


class Marks(Protocol):
    """Asked before a message is handed out, and told when it is settled. Calls raise Unavailable."""

    def known(self, message: Received) -> Entrance | None:
        """What `enter` would return, where that is known here; None if it has to be asked."""
        ...

    async def enter(self, message: Received) -> Entrance:
        """Whether to hand the message out: not if it is stale, and not now if another worker has one of its lane."""
        ...

    async def extend(self, message: Received) -> None:
        """The message is still in work."""
        ...

    async def leave(self, message: Received, *, settled: bool) -> None:
        """The message is not in work any more. Repeating it changes nothing."""
        ...

    async def not_acked(self, message: Received) -> None:
        """It was settled here, but the broker does not know, and may hand it to another worker."""
        ...


class OwnMarks:
    """Marks in the memory of this process, for a broker that keeps the order of a lane among its workers.

    A mark that other workers need, because an ack failed, is also kept in the ``state`` store. It is looked for when a
    message comes that was received before.
    """

    def __init__(self, state: StateStore | None, name: str) -> None:
        self._state = state
        self._name = name
        self._marks: Recent[Mark] = Recent()

    def known(self, message: Received) -> Entrance | None:
        mark = self._marks.get(_series(message))
        if mark and mark.covers(message):
            return "stale"
        return "free" if not (self._state and message.order) or message.receptions == 1 else None

    async def enter(self, message: Received) -> Entrance:
        if known := self.known(message):
            return known
        assert self._state
        kept = _mark(await self._state.get(self._name, _key(message)))
        return "stale" if kept.covers(message) else "free"

    async def extend(self, message: Received) -> None:
        """Nobody else asks."""

    async def leave(self, message: Received, *, settled: bool) -> None:
        if settled and message.order:
            key = _series(message)
            self._marks.put(key, (self._marks.get(key) or Mark()).after(message))

    async def not_acked(self, message: Received) -> None:
        def advance(found: StateEntry | None) -> bytes | None:
            mark = _mark(found)
            later = mark.after(message)
            return _value(later) if later != mark else None

        if self._state and message.order:
            await change(self._state, self._name, _key(message), advance, ttl=KEPT)


class MessageMarks:
    """Remembers single messages, for a broker without order and without a store that could keep order.

    An older event of an object may come after a newer one, and has not been run before.
    """

    def __init__(self) -> None:
        self._settled: Recent[bool] = Recent()

    def known(self, message: Received) -> Entrance:
        return "stale" if self._settled.get(message.id) else "free"

    async def enter(self, message: Received) -> Entrance:
        return self.known(message)

    async def extend(self, message: Received) -> None:
        """Nobody else asks."""

    async def leave(self, message: Received, *, settled: bool) -> None:
        if settled:
            self._settled.put(message.id, True)

    async def not_acked(self, message: Received) -> None:
        """Another worker runs it again."""


class SharedMarks:
    """Marks in a state store, for a broker without order: one worker at a time has a message of a lane.

    Objects never go back: an event that comes after a newer one was settled is stale. Costs two changes of the store
    for each message. ``now`` is the wall clock, by which workers tell whether another one has died; theirs may differ
    by as much as ``ack_wait``, in seconds.
    """

    def __init__(self, state: StateStore, name: str, owner: str, ack_wait: float, now: Callable[[], float]) -> None:
        self._state = state
        self._name = name
        self._owner = owner
        self._ack_wait = ack_wait
        self._now = now

    def known(self, message: Received) -> None:
        """Other workers change it."""

    async def enter(self, message: Received) -> Entrance:
        me, entrance = self._me(message), "free"

        def take(found: StateEntry | None) -> bytes | None:
            nonlocal entrance
            mark = _mark(found)
            if mark.owner not in {"", me} and mark.until > self._now():
                entrance = "busy"
                return None
            if mark.covers(message):
                entrance = "stale"
                return None
            entrance = "free"
            return _value(replace(mark, owner=me, until=self._now() + 2 * self._ack_wait))

        await change(self._state, self._name, _key(message), take, ttl=KEPT)
        return entrance  # type: ignore[return-value]

    async def extend(self, message: Received) -> None:
        def prolong(found: StateEntry | None) -> bytes | None:
            mark = _mark(found)
            if mark.owner != self._me(message):
                return None
            return _value(replace(mark, until=self._now() + 2 * self._ack_wait))

        await change(self._state, self._name, _key(message), prolong, ttl=KEPT)

    async def leave(self, message: Received, *, settled: bool) -> None:
        def release(found: StateEntry | None) -> bytes | None:
            mark = left = _mark(found)
            if mark.owner == self._me(message):
                left = replace(mark, owner="", until=0.0)
            if settled:
                left = left.after(message)
            return _value(left) if left != mark else None

        await change(self._state, self._name, _key(message), release, ttl=KEPT)

    async def not_acked(self, message: Received) -> None:
        """`leave` has told the store before the ack."""

    def _me(self, message: Received) -> str:
        return f"{self._owner} {message.id}"


def marks_of(settings: BrokerSettings, state: StateStore | None) -> Marks:
    """The marks for a subscription, as far as its broker and the state store allow."""
    if settings.ordered:
        return OwnMarks(state, settings.name)
    if state and state.frequent:
        return SharedMarks(state, settings.name, settings.holder, settings.ack_wait, settings.wall)
    return MessageMarks()


def _series(message: Received) -> str:
    return f"{message.series}\n{message.lane}"


def _key(message: Received) -> str:
    return f"mark/{message.series}/{message.lane}"


def _mark(found: StateEntry | None) -> Mark:
    return Mark(**json.loads(found.value)) if found else Mark()


def _value(mark: Mark) -> bytes:
    return json.dumps(asdict(mark)).encode()
