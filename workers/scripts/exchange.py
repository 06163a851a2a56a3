"""The requests to one process that runs programs, and its answers.

Several requests may be on their way to it, so that it need not wait for the worker in between. It answers in order:
what it has not answered first is what it was at when it ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, cast

from kubecdc.workers.scripts import frames

_GONE = 1.0  # seconds for a process that was killed to be gone
_SAID = 4096  # bytes of its standard error that are kept


class Answer(NamedTuple):
    """How a program ended: its result or the reason of its failure, and the seconds that it took."""

    end: int
    text: bytes
    took: float


class Ended(Exception):
    """The process has ended before it answered, with an exit code, None if that is not known.

    ``at_it``: it was at this request, and not at another one. ``late``: it was killed, because it did not answer.
    ``overlong``: it was killed, because its answer has more bytes than it may.
    """

    def __init__(self, code: int | None, *, at_it: bool, late: bool = False, overlong: bool = False) -> None:
        super().__init__(code)
        self.code, self.at_it, self.late, self.overlong = code, at_it, late, overlong


@dataclass(frozen=True)
class _Asked:
    most: int  # bytes of the answer
    wait: float  # seconds for it, from the answer before
    answer: asyncio.Future[Answer]


class Exchange(asyncio.SubprocessProtocol):
    """With one process. ``ready`` tells whether it has started, ``ended`` that it is gone. ``said``: to stderr."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[bool] = self._loop.create_future()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.said = b""
        self._asked: deque[_Asked] = deque()
        self._received = bytearray()
        self._since = 0.0  # when it began with the first of them
        self._watch: asyncio.TimerHandle | None = None
        self._why: dict[str, bool] = {"at_it": True}  # of `Ended`, for the first

    @property
    def pid(self) -> int:
        return self._transport.get_pid()

    @property
    def open(self) -> bool:
        """It can be asked."""
        return not (self.ended.done() or self._stdin.is_closing())

    @property
    def waiting(self) -> int:
        """How many requests it has not answered."""
        return len(self._asked)

    async def ask(self, request: bytes, data: bytes, wait: float) -> Answer:
        """Send a request. Raises Ended. If it is cancelled, the process is ended: nobody waits for the program."""
        asked = _Asked(len(data) + frames.LARGER, wait, self._loop.create_future())
        self._asked.append(asked)
        if len(self._asked) == 1:
            self._begin()
        self._stdin.writelines((request, data))
        try:
            return await asked.answer
        except asyncio.CancelledError:
            await self.close()
            raise

    async def close(self) -> None:
        """End the process. It was at nobody's request."""
        self._end(at_it=False)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GONE):
                await asyncio.shield(self.ended)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self._stdin = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd != 1:
            self.said = (self.said + data)[-_SAID:]
        elif self.ready.done():
            self._received += data
            self._read()
        else:
            self.ready.set_result(True)

    def _read(self) -> None:
        """Hand over the answers that are complete."""
        head, received = frames.ANSWER.size, self._received
        while len(received) >= head:
            end, length = frames.ANSWER.unpack_from(received)
            if not self._asked or length > self._asked[0].most:
                self._end(at_it=True, overlong=True)
                break
            if len(received) < head + length:
                break
            took = self._loop.time() - self._since
            answer = self._asked.popleft().answer
            if not answer.done():  # it is, if it was cancelled
                answer.set_result(Answer(end, bytes(received[head : head + length]), took))
            del received[: head + length]
            self._begin()

    def connection_lost(self, error: Exception | None) -> None:
        """It has ended, and all that it wrote was read."""
        code = self._transport.get_returncode()
        self._transport.close()
        if self._watch:
            self._watch.cancel()
        if not self.ready.done():
            self.ready.set_result(False)
        self.ended.set_result(None)
        why = self._why
        while self._asked:
            answer = self._asked.popleft().answer
            if not answer.done():
                answer.set_exception(Ended(code, **why))
            why = {"at_it": False}

    def _begin(self) -> None:
        """It is at the first request now, if there is one."""
        self._since = self._loop.time()
        if self._asked and self._watch is None:
            self._watch = self._loop.call_at(self._since + self._asked[0].wait, self._look)
        elif self._watch and not self._asked:
            self._watch.cancel()
            self._watch = None

    def _look(self) -> None:
        """End it if it takes too long."""
        due = self._since + self._asked[0].wait
        if self._loop.time() < due:
            self._watch = self._loop.call_at(due, self._look)
        else:
            self._end(at_it=True, late=True)

    def _end(self, **why: bool) -> None:
        self._why = why
        self._transport.close()  # kills it, too
