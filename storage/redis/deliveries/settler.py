"""Settles deliveries, those of one turn of the event loop in one script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence, Sized
from itertools import chain

from kubecdc.errors import Unavailable
from kubecdc.storage.contracts.errors import ClaimLost
from kubecdc.storage.redis.deliveries.lanes import Entry
from kubecdc.storage.redis_server.connection import Argument, Connection

GROUP = 200  # settlements in one script


Settlement = tuple[Sequence[Argument], asyncio.Future[bool]]  # what to do with an entry, and its answer


class Settler:
    """The settlements of one open subscription. ``token`` is the worker's; ``ended`` is called if it was pruned.

    ``handed_out`` are the deliveries that are not settled.
    """

    def __init__(self, connection: Connection, token: str, ended: Callable[[], None], handed_out: Sized) -> None:
        self._connection = connection
        self._token = token
        self._ended = ended
        self._handed_out = handed_out
        self._queues: dict[int, list[Settlement]] = {}  # by subscription id: a pruned one may be registered anew
        self._task: asyncio.Task[None] | None = None

    async def settle(self, id_: int, entry: Entry, what: str, first: Argument = 0, second: Argument = "") -> None:
        """Raises ClaimLost. Raises Unavailable: then it may have been done, and may be repeated."""
        args = (*entry.at, what, first, second, entry.size, entry.committed, entry.is_copy)
        if len(self._handed_out) < 2:  # there are no others: it is sent without waiting for them
            ended, done = await self._connection.run("deliveries/settle", id_, self._token, *args)
            if ended:
                self._ended()
        else:
            done = await self._with_others(id_, args)
        if not done:
            raise ClaimLost.lapsed(str(entry))

    def _with_others(self, id_: int, args: Sequence[Argument]) -> asyncio.Future[bool]:
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(id_, []).append((args, answer))
        if not self._task or self._task.done():
            self._task = asyncio.create_task(self._send_all())
        return answer

    async def _send_all(self) -> None:
        await asyncio.sleep(0)  # so that the other settlements of this turn of the loop are sent along
        while self._queues:
            id_, queue = next(iter(self._queues.items()))
            group, rest = queue[:GROUP], queue[GROUP:]
            if rest:
                self._queues[id_] = rest
            else:
                del self._queues[id_]
            await self._send(id_, group)

    async def _send(self, id_: int, group: list[Settlement]) -> None:
        args = chain.from_iterable(args for args, _ in group)
        try:
            ended, *answers = await self._connection.run("deliveries/settle", id_, self._token, *args)
        except Exception as e:  # any error belongs to the callers
            for _, answer in group:
                if not answer.done():
                    answer.set_exception(e)
            return
        except asyncio.CancelledError:
            for _, answer in group:
                if not answer.done():
                    answer.set_exception(Unavailable("the bus is closed"))
            raise
        if ended:
            self._ended()
        for (_, answer), done in zip(group, answers, strict=True):
            if not answer.done():
                answer.set_result(bool(done))
