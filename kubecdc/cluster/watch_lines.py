"""The lines of an open watch."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import aiohttp

from kubecdc.cluster.errors import Cut, Malformed
from kubecdc.cluster.objects import OBJECT_BYTES

MAX_LINE_BYTES = 64 << 20  # etcd takes 1.5 MiB, aggregated servers may send more; no object is this large


class Silence(Exception):
    """Nothing arrived for a while, so the server may be gone. This is no error: the watch is closed and resumed."""


class Room(Protocol):
    """Memory for long lines."""

    async def reserve(self, size: int) -> None:
        """Wait until there is room for so many bytes, before they are read."""

    def reserved(self, size: int) -> None:
        """What is reserved turned out to be so many bytes; 0: it is needed no more, or others count it by now."""


class WatchLines:
    """Reads a stream as it arrives, at most ``silence`` seconds at a time. Close it, or a timer stays behind.

    All reads share that timer. One for each would cost more than to decode the line.

    A line that is longer than what may be read ahead gets ``room`` before the rest of it is read. What is reserved is
    enough for the line and for everything that arrives with its end, so a reader that has room never waits for more.
    """

    def __init__(self, response: aiohttp.ClientResponse, silence: float, room: Room | None = None) -> None:
        self._response = response
        self._stream = response.content
        self._silence = silence
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._reading: float | None = None  # since when
        self._rest: list[bytes] = []  # pieces of an incomplete line, joined only once
        self._size = 0  # of them
        self._room = room
        self._short = self._stream.get_read_buffer_limits()[0] if room else MAX_LINE_BYTES
        self._long = False  # the incomplete line has room
        self._returned = False  # what was read last has room

    async def read(self) -> list[bytes] | None:
        """The lines that are complete with what has arrived. None at the end, which drops an incomplete line.

        Those read before count no more. Raises Silence, Cut, Malformed.
        """
        if self._room and self._returned:
            self._room.reserved(0)
            self._returned = False
        if self._room and self._size > self._short and not self._long:
            with self._paused():
                await self._room.reserve(OBJECT_BYTES)
            self._long = True
        self._reading = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._silence, self._look)
        try:
            chunk = await self._stream.readany()
        except (aiohttp.ClientError, OSError) as e:
            raise Cut(f"the watch was cut: {e or type(e).__name__}") from e
        finally:
            self._reading = None
        return self._completed_by(chunk) if chunk else None

    def close(self) -> None:
        """Nothing more is read."""
        if self._timer:
            self._timer.cancel()
        if self._room:
            self._room.reserved(0)

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """Nothing is received during the block: aiohttp alone would go on until its buffers are full."""
        connection = self._response.connection
        transport = connection.transport if connection else None  # None where all has been received
        if transport is None or not transport.is_reading():
            yield
            return
        with suppress(RuntimeError):  # uvloop's, of a connection that has ended
            transport.pause_reading()
        try:
            yield
        finally:
            with suppress(RuntimeError):
                transport.resume_reading()

    def _look(self) -> None:
        """End the read under way if it has lasted too long; else look again when it would have."""
        self._timer = None
        if self._reading is None:
            return
        due = self._reading + self._silence
        if due > self._loop.time():
            self._timer = self._loop.call_at(due, self._look)
        else:
            self._stream.set_exception(Silence())

    def _completed_by(self, chunk: bytes) -> list[bytes]:
        head, newline, tail = chunk.rpartition(b"\n")
        lines: list[bytes] = []
        if newline:
            lines = [line for line in b"".join((*self._rest, head)).split(b"\n") if line]
            if self._room and self._long:
                self._room.reserved(self._size + len(head))
                self._long, self._returned = False, True
            self._rest, self._size = [], 0
        self._rest.append(tail)
        self._size += len(tail)
        if self._room and self._long and self._size > OBJECT_BYTES:
            self._room.reserved(self._size)
        if self._size > MAX_LINE_BYTES:
            raise Malformed(f"a line of the watch is longer than {MAX_LINE_BYTES >> 20} MiB")
        return lines
