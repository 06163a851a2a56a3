"""Which partitions of a subscription a worker has: leases that live as long as it is heard of, shared out evenly."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.storage.contracts.errors import NoSubscription
from kubecdc.storage.redis.administration.registrations import Registrations
from kubecdc.storage.redis.server.connection import Argument, Connection

BEAT = 1.0  # seconds between two signs of life, and so about what a rebalance takes
NEW = b">"


@dataclass(eq=False, slots=True)
class Partition:
    """A partition that is ours from here to its loss; ``cursor`` is where to read on."""

    number: int
    cursor: bytes = b"0"  # first what was read before and is not settled, by whomever


class Tenant(Protocol):
    """Whose leases they are."""

    def taken(self, partition: Partition) -> None:
        """From now on it is ours."""
        ...

    def lost(self, number: int) -> None:
        """It is not ours any more: nothing more of it may be handed out."""
        ...

    def in_flight(self, number: int) -> list[tuple[bytes, float]]:
        """What is handed out of it, and for how many seconds more each claim holds."""
        ...


class Leases:
    """The leases of one open subscription."""

    def __init__(
        self,
        connection: Connection,
        registrations: Registrations,
        tenant: Tenant,
        *,
        name: str,
        holder: str,
        partitions: int,
        ack_wait: float,
        now: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._registrations = registrations
        self._tenant = tenant
        self._name = name
        self._holder = holder
        self._partitions = partitions
        self._ack_wait = ack_wait
        self._now = now
        self._lock = asyncio.Lock()
        self._sure_until = float("-inf")
        self._left = False
        self._unsure = False  # an answer of the server was lost
        self._failure: Unavailable | None = None  # the last
        self._run = b""  # of the server
        self.token = secrets.token_hex(8)
        self.id = 0  # of the subscription, while it is registered
        self.owned: dict[int, Partition] = {}

    @property
    def stale(self) -> bool:
        """Half of the time has passed after which others may take what we have."""
        return self._now() > self._sure_until - self._ack_wait / 2

    async def run(self) -> None:
        """Say now and then that we live, for ever."""
        while True:
            await asyncio.sleep(min(BEAT, self._ack_wait / 4))
            with suppress(KubecdcError):  # whoever reads says so
                await self.beat()

    async def beat(self) -> None:
        """Keep what we have, take our share of what is free, give back what is above it.

        Raises NoSubscription, Unavailable.
        """
        before = self._failure
        async with self._lock:
            if self._failure is not before and self._failure:
                raise self._failure  # of the beat that we waited for: another would take as long to fail
            if self._left:
                return
            sent = self._now()
            args = (self._name, self.token, self._holder, int(self._ack_wait * 1000), self._partitions)
            unsure, self._unsure = self._unsure, True
            try:
                answer = await self._connection.run("deliveries/heartbeat", *args)
            except Unavailable as e:
                self._failure = e
                raise
            if not answer:
                self.forget()
                self.id = 0
                await self._registrations.restore()  # for the next time, unless it was pruned
                raise NoSubscription(
                    f"subscription {self._name!r} is not registered in the bus",
                    hint="was it pruned? A restart registers it again",
                )
            id_, share, mine, fresh, run = answer
            # Another run of a server may have forgotten what the last one told: settled events are not settled then.
            unsure = unsure or run != self._run
            self._run = run
            if int(id_) != self.id:
                self._lose(list(self.owned))
                self.id = int(id_)
            self._sure_until = sent + self._ack_wait
            self._unsure = False
            self._lose([number for number in self.owned if unsure or number not in mine or number in fresh])
            for number in mine:
                if number not in self.owned:
                    self.owned[number] = Partition(number)
                    self._tenant.taken(self.owned[number])
            if len(mine) > share:
                idle_first = sorted(mine, key=lambda number: len(self._tenant.in_flight(number)))
                await self._release(idle_first[: len(mine) - share], leave=False)

    async def leave(self) -> None:
        """Give everything back. What is handed out stays claimed for as long as it was."""
        async with self._lock:
            if self._left:
                return
            self._left = True
            with suppress(KubecdcError):  # then it lapses
                await self._release(list(self.owned), leave=True)

    def forget(self) -> None:
        """They are gone, with the subscription: hand out nothing before the next beat."""
        self._lose(list(self.owned))
        self._sure_until = float("-inf")

    def restart(self) -> None:
        """An answer was lost, and nobody knows what was read: read again what is not settled."""
        for number in list(self.owned):
            self._lose([number])
            self.owned[number] = Partition(number)
            self._tenant.taken(self.owned[number])

    async def _release(self, numbers: list[int], *, leave: bool) -> None:
        args: list[Argument] = [self.id, self.token, int(leave), len(numbers), *numbers]
        for number in numbers:
            for eid, left in self._tenant.in_flight(number):
                args += [number, eid, max(0, int(left * 1000))]
        self._lose(numbers)
        await self._connection.run("deliveries/release", *args)

    def _lose(self, numbers: list[int]) -> None:
        for number in numbers:
            if self.owned.pop(number, None):
                self._tenant.lost(number)
