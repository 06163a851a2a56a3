"""What the leader does about groups and events that somebody has deleted, and about entries that are left.

Whether a group has read all of its stream, only a look at all groups of the stream tells. So each stream is looked at
once for all subscriptions. A group may have gone on since. What was found is checked when it is used, in all streams at
the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubecdc.storage.redis.commits.publisher import stream_name
from kubecdc.storage.redis_server import losses
from kubecdc.storage.redis_server.connection import Connection, pairs

COMMANDS = 500  # in one script, about
SUBSCRIPTIONS = 100  # the same
MORE = -2  # the answer if more streams have to be looked at


class Repairs:
    """One look at a bus."""

    def __init__(self, connection: Connection, partitions: int) -> None:
        self._connection = connection
        self._partitions = partitions
        self._ends: dict[str, dict[bytes, bytes]] = {}  # of each group of a stream

    async def recount(self) -> None:
        """Make missing groups again. Say of subscriptions that have nothing left in their streams how many events are
        gone, and count on from zero.
        """
        for id_, name, missing, state in await self._look("administration/recount"):
            losses.report(name.decode(), missing=missing)
            if state:
                entries = state.decode().partition("/")[0].split() or ["0"]
                losses.report(name.decode(), gone=max(0, await self._drained(id_, name, state, "", entries)))

    async def leave_entries(self) -> None:
        """Forget what subscriptions do not subscribe to any more, once nothing of it is pending."""
        for id_, name, state, entry in await self._look("administration/leave"):
            await self._drained(id_, name, state, entry.decode(), [entry.decode()])

    async def _look(self, script: str) -> list[Any]:
        """What a script finds out about all subscriptions, in steps."""
        ids = (await self._connection.keyed("HGETALL", "subscriptions"))[1::2]
        found = []
        while ids:
            looked, some = await self._connection.run(script, self._partitions, COMMANDS, *ids[:SUBSCRIPTIONS])
            found += some
            ids = ids[looked:]
        self._ends.clear()  # from before the states: a group may have been made again meanwhile, which starts anew
        return found

    async def _drained(self, id_: bytes, name: bytes, state: bytes, entry: str, entries: Sequence[str]) -> int:
        """What `drained.lua` answers. Mostly the first stream tells."""
        streams = [stream_name(entry, partition) for entry in entries for partition in range(self._partitions)]
        group, most, answer = id_ + b":" + name, 1, MORE
        while answer == MORE:
            ends = [await self._end(stream, group) for stream in streams[:most]]
            answer = await self._connection.run("administration/drained", self._partitions, id_, state, entry, *ends)
            most *= 4
        return int(answer)

    async def _end(self, stream: str, group: bytes) -> bytes:
        """The last event that the group has handed out, or one before it; nothing if there is no such group."""
        if stream not in self._ends:
            self._ends[stream] = pairs(await self._connection.run("administration/ends", stream))
        return self._ends[stream].get(group, b"")
