"""Registers the subscriptions of a bus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kubecdc.errors import UsageError
from kubecdc.storage.contracts import SubscriptionSpec
from kubecdc.storage.redis_server.connection import Argument, Connection

TOGETHER = 20  # subscriptions in one script: each has a consumer group for each partition


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

    ``partitions`` is the number of partitions of the bus, 0 for a bus without streams; ``form`` the format of its keys;
    ``more`` is what else the script that opens this kind of bus takes.
    """

    def __init__(self, connection: Connection, partitions: int, form: int, *more: Argument) -> None:
        self._form = form
        self._more = more
        self._connection = connection
        self._partitions = partitions
        self._specs: dict[str, SubscriptionSpec] = {}

    async def register(self, specs: Iterable[SubscriptionSpec]) -> None:
        """Add new subscriptions. A known name takes the new source and subject, and its backlog stays."""
        wanted = {spec.name: spec for spec in specs}
        await self._send(wanted, only_missing=False)
        self._specs |= wanted

    async def restore(self) -> None:
        """Register what Redis has lost, but not what was pruned."""
        if self._specs:
            await self._connection.run("administration/open", self._partitions, self._form, 1, *self._more)
            await self._send(self._specs, only_missing=True)

    async def _send(self, specs: Mapping[str, SubscriptionSpec], *, only_missing: bool) -> None:
        listed = list(specs.values())
        for start in range(0, len(listed), TOGETHER):
            args: list[Argument] = []
            for spec in listed[start : start + TOGETHER]:
                args += [spec.name, spec.source, spec.subject]
            await self._connection.run("administration/register", self._partitions, int(only_missing), *args)


async def registered(connection: Connection, name: str) -> SubscriptionSpec | None:
    """The spec of a subscription; None if it is not registered."""
    id_ = await connection.keyed("HGET", "subscriptions", name)
    found = id_ and await connection.keyed("HMGET", f"subscription:{int(id_)}", "source", "subject")
    if not found or found[0] is None:
        return None
    return SubscriptionSpec(name, found[0].decode(), found[1].decode())


async def successes(connection: Connection, name: str) -> int:
    """How many deliveries of a subscription were acked; 0 if there is none of that name."""
    id_ = await connection.keyed("HGET", "subscriptions", name)
    found = id_ and await connection.keyed("HGET", f"subscription:{int(id_)}", "successes")
    return int(found or 0)
