"""The dead letters of a bus: the messages of the subscription on its dead-letter topic.

Pub/Sub has no way to look at messages without receiving them. So each command receives them all, and hands them back.
Two commands at a time each see a part.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from kubecdc.concurrency import Limit
from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.storage.contracts import DeadLetter
from kubecdc.storage.contracts.administration import NO_SUCH_LETTER, subscription_ended
from kubecdc.storage.pubsub.client import Client
from kubecdc.storage.pubsub.errors import Missing, NotSettled
from kubecdc.storage.pubsub.letters import id_of_letter, read, redriven
from kubecdc.storage.pubsub.messages import body_of
from kubecdc.storage.pubsub.names import Names
from kubecdc.storage.pubsub.registrations import Registrations

MOST = 10_000  # letters that a command looks at
MOST_BYTES = 256 << 20
AT_ONCE = 1000


@dataclass(frozen=True)
class Held:
    """A dead letter that this process has received."""

    ack_id: str
    message: Any


class PubSubDeadLetters:
    """`storage.contracts.DeadLetters`. Of letters that a command cannot see, it says that there are none."""

    def __init__(self, client: Client, names: Names, registrations: Registrations, pull_seconds: float) -> None:
        self._pull_seconds = pull_seconds
        self._client = client
        self._names = names
        self._registrations = registrations

    async def page(self, subscription: str | None = None, *, after: str = "", limit: int = 100) -> list[DeadLetter]:
        async with self._held() as held:
            letters = [read(one.message, self._names) for id_, one in sorted(held.items()) if id_ > after]
        return [letter for letter in letters if subscription in {None, letter.subscription}][:limit]

    async def letter(self, id_: str) -> tuple[DeadLetter, bytes] | None:
        if "-" not in id_[1:]:
            return None
        async with self._held() as held:
            one = held.get(id_)
        return (read(one.message, self._names), body_of(one.message)) if one else None

    async def redrive(self, ids: Sequence[str]) -> dict[str, str]:
        """Not in one step: a letter that is interrupted may be in both places."""
        refused: dict[str, str] = {}
        newest = {name: found[0] for name, found in (await self._registrations.all()).items()}
        async with self._held() as held:
            lanes: dict[str, list[tuple[Held, str]]] = defaultdict(list)
            for id_ in sorted(set(ids)):
                if id_ not in held:
                    refused[id_] = NO_SUCH_LETTER
                    continue
                name = read(held[id_].message, self._names).subscription
                if name not in newest:
                    refused[id_] = subscription_ended(name)
                    continue
                lanes[held[id_].message.ordering_key].append((held.pop(id_), newest[name].target))

            async def in_order(lane: list[tuple[Held, str]]) -> None:
                for one, target in lane:
                    await self._client.publish(self._names.topic_path, [redriven(one.message, target)])
                    await self._ack([one])

            await Limit(32).map(in_order, lanes.values())
        return refused

    async def purge(self, ids: Sequence[str]) -> int:
        async with self._held() as held:
            mine = [held.pop(id_) for id_ in set(ids) if id_ in held]
            for at in range(0, len(mine), AT_ONCE):
                await self._ack(mine[at : at + AT_ONCE])
        return len(mine)

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[dict[str, Held]]:
        """All letters, by id, while the block runs. Those that are still in the dictionary are handed back."""
        held: dict[str, Held] = {}
        try:
            await self._receive(held)
            yield held
        finally:
            left = [one.ack_id for one in held.values()]
            for at in range(0, len(left), AT_ONCE):
                with suppress(KubecdcError):  # then they come back by themselves
                    await self._client.modify_deadline(self._names.dead_path, left[at : at + AT_ONCE], 0)

    async def _receive(self, held: dict[str, Held]) -> None:
        size = 0
        while len(held) < MOST and size < MOST_BYTES:
            try:
                pulled = await self._client.pull(self._names.dead_path, AT_ONCE, seconds=self._pull_seconds)
            except Missing:
                return
            if not pulled:
                return
            for one in pulled:
                held[id_of_letter(one.message)] = Held(one.ack_id, one.message)
                size += len(one.message.data)

    async def _ack(self, letters: Sequence[Held]) -> None:
        try:
            await self._client.ack(self._names.dead_path, [one.ack_id for one in letters])
        except NotSettled as e:
            raise Unavailable(
                "some dead letters stay, because they were held here for too long", hint="run the command again"
            ) from e
