"""The open spool: what kubecdc's contract of a queue asks for, on top of `directory.py`."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from kubecdc.errors import Unavailable, UsageError
from kubecdc.storage.contracts import (
    BusFull,
    Capabilities,
    ClaimLost,
    DeadLetters,
    Delivery,
    NoSubscription,
    Replay,
    Replayable,
    SubscriptionSpec,
    SubscriptionStatus,
)
from kubecdc.storage.contracts.event import Event
from kubecdc.storage.contracts.types import BusSettings
from kubecdc_spool.directory import FRESH, Directory, Name, map_error

T = TypeVar("T")
POLL = 0.05  # seconds between two looks into a directory with nothing to do
CAPABILITIES = Capabilities(
    order=False,
    atomic_commit=False,
    delayed_nack=True,
    attempts=True,
    replay=False,
    dead_letter_browse=False,
    max_event_bytes=16 << 20,
    exactly_once_publish=False,
)


async def in_thread(do: Callable[..., T], *args: object) -> T:
    """File systems block. Raises Unavailable for what the operating system refuses."""
    with map_error():
        return await asyncio.to_thread(do, *args)


class SpoolQueue:
    """`kubecdc.storage.contracts.Queue`, and the `Publisher` of it."""

    capabilities = CAPABILITIES

    def __init__(self, root: Path, settings: BusSettings, holder: str) -> None:
        self._root = root
        self._settings = settings
        self._holder = holder
        self.ack_wait = settings.ack_wait
        self.publisher = self

    async def publish(self, events: Sequence[Event]) -> None:
        await in_thread(self._publish, events)

    def _publish(self, events: Sequence[Event]) -> None:
        owed: dict[str, list[bytes]] = defaultdict(list)
        statuses = self._statuses()
        for event in events:
            wanted = [s for s in statuses if (s.spec.source, s.spec.subject) == (event.source, event.subject)]
            if not wanted:
                raise NoSubscription(f"nobody subscribes to {event.source}/{event.subject}")
            for status in wanted:
                if status.pending >= self._settings.max_pending:
                    raise BusFull(status.spec.name, status.pending, self._settings.max_pending)
                owed[status.spec.name].append(event.encode())
        for name, bodies in owed.items():
            Directory(self._root, name).add(bodies)

    async def register(self, specs: Iterable[SubscriptionSpec]) -> None:
        for spec in specs:
            await in_thread(Directory(self._root, spec.name).register, spec)

    async def subscriptions(self) -> list[SubscriptionStatus]:
        return await in_thread(self._statuses)

    def _statuses(self) -> list[SubscriptionStatus]:
        names = sorted(unquote(folder.name) for folder in self._root.glob("subscriptions/*"))
        found = [Directory(self._root, name).status(self.ack_wait.total_seconds()) for name in names]
        return [status for status in found if status]

    async def prune(self, name: str) -> bool:
        return await in_thread(Directory(self._root, name).prune)

    def subscription(self, name: str, *, prefetch: int) -> SpoolSubscription:
        return SpoolSubscription(Directory(self._root, name), prefetch, self._holder, self.ack_wait)

    @property
    def dead_letters(self) -> DeadLetters:
        raise UsageError(f"dead letters of a spool are files in {self._root / 'dead'}")

    async def replayable(self, replay: Replay) -> Replayable:
        raise UsageError("a spool keeps nothing that could be replayed")

    async def replay(self, replay: Replay) -> int:
        raise UsageError("a spool keeps nothing that could be replayed")

    async def close(self) -> None:
        """Nothing is open between two calls."""


class SpoolSubscription:
    """`kubecdc.storage.contracts.Subscription`."""

    def __init__(self, directory: Directory, prefetch: int, holder: str, ack_wait: timedelta) -> None:
        self._directory = directory
        self._room = asyncio.Semaphore(prefetch)
        self._holder = holder
        self._ack_wait = ack_wait

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Nothing is claimed before it is asked for, so nothing has to be handed back at the end."""
        heard = float("-inf")
        try:
            while True:
                try:
                    if time.monotonic() > heard + self._ack_wait.total_seconds() / 3:
                        await in_thread(self._directory.present, self._holder)
                        heard = time.monotonic()
                    names = await in_thread(self._directory.names)
                except Unavailable:
                    names = []
                for name in names:
                    if name.due > time.time() * 1000:
                        break
                    if delivery := await self._claim(name):
                        yield delivery
                await asyncio.sleep(POLL)
        finally:
            self._directory.absent(self._holder)

    async def _claim(self, name: Name) -> SpoolDelivery | None:
        """None if another process was faster."""
        await self._room.acquire()
        try:
            due = int((time.time() + self._ack_wait.total_seconds()) * 1000)
            token = secrets.token_hex(8)
            claimed = await in_thread(lambda: self._directory.change(name, due=due, token=token))
            body = await in_thread(self._directory.read, claimed)
        except (ClaimLost, Unavailable):
            self._room.release()
            return None
        return SpoolDelivery(self._directory, claimed, body, self._ack_wait, self._room, first=name.token == FRESH)

    async def registered(self) -> SubscriptionSpec | None:
        found = await in_thread(self._directory.spec)
        return found[0] if found else None


class SpoolDelivery:
    """`kubecdc.storage.contracts.Delivery`: the file of an event that is claimed, by its exact name."""

    def __init__(
        self,
        directory: Directory,
        name: Name,
        body: bytes,
        ack_wait: timedelta,
        room: asyncio.Semaphore,
        *,
        first: bool,
    ) -> None:
        self._directory = directory
        self._name = name
        self._ack_wait = ack_wait
        self._room = room
        self._first = first  # nobody had it before, so that no attempt can have killed its worker
        self._started = False
        self._settled = ""
        self.body = body
        self.attempt = name.attempts + 1

    @property
    def event(self) -> Event:
        return Event.decode(self.body)

    async def start(self) -> None:
        if not self._started and not self._first:
            await self._change(attempts=self.attempt)
        self._started = True

    async def extend(self) -> None:
        await self._change(due=self._after(self._ack_wait))

    async def ack(self) -> None:
        await self._settle("ack", self._directory.remove)

    async def nack(self, delay: timedelta) -> None:
        due, attempts = self._after(delay), self._attempts()
        await self._settle("nack", lambda name: self._directory.change(name, due=due, attempts=attempts, token="back"))

    async def dead_letter(self, reason: str) -> None:
        await self._settle("dead_letter", lambda name: self._directory.give_up(name, self._attempts(), reason))

    def _attempts(self) -> int:
        return self.attempt if self._started else self.attempt - 1

    def _after(self, delay: timedelta) -> int:
        return int((time.time() + delay.total_seconds()) * 1000)

    async def _change(self, **what: int) -> None:
        self._name = await in_thread(lambda: self._directory.change(self._name, **what))

    async def _settle(self, how: str, do: Callable[[Name], object]) -> None:
        if self._settled == how:
            return
        if self._settled:
            raise ClaimLost(f"{self._name} was settled before: {self._settled}")
        try:
            await in_thread(do, self._name)
            self._settled = how
        except ClaimLost:
            self._settled = "by somebody else"
            raise
        finally:
            if self._settled:
                self._room.release()
