"""Registers the subscriptions of a bus."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress

from kubecdc.errors import KubecdcError, UsageError
from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.contracts.deliveries import KEPT_SECONDS
from kubecdc.storage.redis_server import losses
from kubecdc.storage.redis_server.connection import Argument, Connection

LEAVE = 1.0  # seconds
TOGETHER = 10  # subscriptions in one script: each has a consumer group for each partition


def require_format(found: bytes | None, known: int, name: str, place: str) -> None:
    """Raise UsageError if there is no bus of that name, or one of a newer format than this program knows."""
    if found is None:
        raise UsageError(
            f"there is no bus {name!r} in {place} yet", hint="start `kubecdc run`, `watch` or `work` first"
        )
    if int(found) > known:
        raise UsageError(
            f"bus {name!r} has format {int(found)}, this kubecdc knows {known}",
            hint="run the version of kubecdc that made it, or a newer one",
        )


class Registrations:
    """What this process has registered. It registers it again in a Redis that lost it.

    ``holder`` names the process.
    ``partitions`` is the number of partitions of the bus, 0 for a bus without streams; ``form`` the format of its keys;
    ``more`` is what else the script that opens this kind of bus takes.
    """

    def __init__(self, connection: Connection, holder: str, partitions: int, form: int, *more: Argument) -> None:
        self._holder = holder
        self._told = 0  # when `keep` was called before, by the clock of the Redis
        self._form = form
        self._more = more
        self._connection = connection
        self._partitions = partitions
        self._specs: dict[str, SubscriptionSpec] = {}

    async def register(self, specs: Iterable[SubscriptionSpec]) -> None:
        """Add new subscriptions. A known name takes the new source and subject, and its backlog stays."""
        wanted = {spec.name: spec for spec in specs}
        await self._send(wanted, "register")
        self._specs |= wanted

    async def keep(self, specs: Iterable[SubscriptionSpec]) -> None:
        """This process still has them."""
        self._told = await self._send({spec.name: spec for spec in specs}, "keep")

    async def leave(self) -> None:
        """This process has them no more. Without an answer, that is found after `KEPT_SECONDS`."""
        with suppress(KubecdcError, TimeoutError):
            async with asyncio.timeout(LEAVE):
                await self._send(self._specs, "leave")

    async def restore(self) -> None:
        """Register what Redis has lost, but not what was pruned."""
        if self._specs:
            await self._connection.run("administration/open", self._partitions, self._form, 1, *self._more)
            await self._send(self._specs, "restore")

    async def _send(self, specs: Mapping[str, SubscriptionSpec], mode: str) -> int:
        """Returns the time by the clock of the Redis."""
        listed, time = list(specs.values()), 0
        head = (self._partitions, mode, self._holder, int(KEPT_SECONDS * 1000), self._told)
        for start in range(0, len(listed), TOGETHER):
            args: list[Argument] = []
            for spec in listed[start : start + TOGETHER]:
                args += [spec.name, spec.source, spec.subject]
            time = 0
            while not time:
                time, *again = await self._connection.run("administration/register", *head, *args)
                for name in again:
                    losses.report(name.decode(), record=True)
        return time


async def registered(connection: Connection, name: str) -> tuple[SubscriptionSpec, ...]:
    """The specs that a subscription is owed events by, the one that was registered last first; () if it was ended."""
    id_ = await connection.keyed("HGET", "subscriptions", name)
    found = id_ and await connection.keyed("HMGET", f"subscription:{int(id_)}", "source", "subject")
    if not found or found[0] is None:
        return ()
    others = [entry.split(b"\n", 1) for entry in await connection.keyed("SMEMBERS", f"wants:{int(id_)}")]
    entries = dict.fromkeys([tuple(found), *map(tuple, sorted(others))])
    return tuple(SubscriptionSpec(name, source.decode(), subject.decode()) for source, subject in entries)


async def successes(connection: Connection, name: str) -> int:
    """How many deliveries of a subscription were acked; 0 if there is none of that name."""
    id_ = await connection.keyed("HGET", "subscriptions", name)
    found = id_ and await connection.keyed("HGET", f"subscription:{int(id_)}", "successes")
    return int(found or 0)
