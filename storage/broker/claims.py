"""The claims on messages: extended while they wait, and handed back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import compress

from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.storage.broker.batching import Batched
from kubecdc.storage.broker.contract import Received, Results, Source
from kubecdc.storage.broker.lanes import Entry, Lanes
from kubecdc.storage.broker.marks import Marks
from kubecdc.storage.contracts import ClaimLost

HAND_BACK_SECONDS = 3.0  # for what waits, when the deliveries end


class Claims:
    """The messages that this process has received and not settled. ``ack_wait`` is in seconds."""

    def __init__(self, source: Source, lanes: Lanes, marks: Marks, ack_wait: float) -> None:
        self._source = source
        self._lanes = lanes
        self._marks = marks
        self._ack_wait = ack_wait
        self._extend = Batched(self._extended, source.most)

    async def extend(self, message: Received) -> None:
        """Raises ClaimLost, Unavailable."""
        await self._extend(message)

    async def keep(self, lost: Callable[[Entry], None]) -> None:
        """Extend what waits each third of ackWait; each twelfth while the broker is unavailable. Never returns.

        ``lost`` is called for each claim that was lost, and for each message that is out although its claim has lapsed:
        its worker cannot settle it any more, and may never have tried to.
        """
        loop, pause = asyncio.get_running_loop(), self._ack_wait / 3
        while True:
            await asyncio.sleep(pause)
            for lane in self._lanes:
                if lane[0].phase == "out" and lane[0].message.until <= loop.time():
                    lost(lane[0])
            soon = loop.time() + 0.7 * self._ack_wait
            entries = [entry for lane in self._lanes for entry in lane if entry.message.until < soon]
            waiting = [entry for entry in entries if entry.phase in {"waiting", "offered"}]
            results = await asyncio.gather(*(self._extend(entry.message) for entry in waiting), return_exceptions=True)
            pause = self._ack_wait / 3
            for entry, result in zip(waiting, results, strict=True):
                if isinstance(result, ClaimLost):
                    if entry.phase == "waiting":
                        lost(entry)
                elif isinstance(result, Unavailable):
                    pause = self._ack_wait / 12
                elif isinstance(result, BaseException):
                    raise result

    async def release(self, entry: Entry, delay: float) -> None:
        """Hand back what is out, after the later ones of its lane: the broker cannot give them out before it.

        Raises ClaimLost, Unavailable.
        """
        await self._release_later(self._lanes.of(entry.message)[1:])
        for error in await self._source.release([entry.message], min(delay, self._source.longest_delay)):
            if error is not None:
                raise error

    async def hand_back(self, lanes: Sequence[Sequence[Entry]]) -> None:
        """Hand back what is not handed out. What the broker does not take back comes again when its claim lapses."""
        now = asyncio.get_running_loop().time()

        async def hand_back(first: Entry, *later: Entry) -> None:
            entered = first.phase == "offered"
            for entry in (first, *later):
                self._lanes.remove(entry)
            await self._release_later(later)
            await self._release_some([first], min(max(0.0, first.due - now), self._source.longest_delay))
            if entered:
                with suppress(Unavailable):  # then other workers wait until it lapses
                    await self._marks.leave(first.message, settled=False)

        with suppress(TimeoutError):
            async with asyncio.timeout(HAND_BACK_SECONDS):
                results = await asyncio.gather(*(hand_back(*lane) for lane in lanes if lane), return_exceptions=True)
                for error in results:
                    if isinstance(error, BaseException) and not isinstance(error, KubecdcError):
                        raise error

    async def _extended(self, messages: Sequence[Received]) -> Results:
        begin = asyncio.get_running_loop().time()
        valid = [message.until > begin for message in messages]
        results = iter(await self._source.extend([*compress(messages, valid)]) if any(valid) else [])
        found: list[KubecdcError | None] = []
        for message, still in zip(messages, valid, strict=True):
            error = next(results) if still else ClaimLost.lapsed(message.id)
            if error is None:
                message.until = begin + self._ack_wait
            found.append(error)
        return found

    async def _release_later(self, entries: Sequence[Entry]) -> None:
        most = self._source.most
        for at in range(len(entries), 0, -most):
            await self._release_some(entries[max(0, at - most) : at], 0.0)

    async def _release_some(self, entries: Sequence[Entry], delay: float) -> None:
        messages = [entry.message for entry in entries]
        for entry, error in zip(entries, await self._source.release(messages, delay), strict=True):
            if isinstance(error, Unavailable):
                raise error
            self._lanes.remove(entry)
