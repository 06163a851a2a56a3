"""One connection to a server, for any number of commands at a time.

Commands are sent at once, and answers arrive in the order of the commands. redis-py opens the connection, logs in and
sets up TLS. After that this module uses the transport itself, and for that it needs three private names of redis-py:
the reader, writer and parser of its connection.

Measured against the public ways of redis-py (redis-py 8.1.0, hiredis 3.5.0, Python 3.11, Redis 7.0 on the same machine;
GET of 500 bytes and SET of 1000 bytes): CPU of this process for each command, and commands per second relative to this
module.

    commands                                        one after another      64 at a time
    this module                                     22-28 us    1          9-11 us     1
    Connection, one task that reads all answers     46-50 us    0.7-0.8    19-24 us    0.5
    Connection, one command at a time               45 us       0.7        53-63 us    0.1-0.3
    Redis with its connection pool                  95-100 us   0.4        85-87 us    0.1-0.2

Where events come in batches this hardly matters: a worker needed 220 commands for 20,000 events. Single events need
four commands each (commit, notification, read, settlement), about 1 ms of CPU in all: there this module saves a tenth
against the reading task, and nearly a third against the pool. The pool would also send concurrent commands over
different connections, which does not keep the order of commits that are under way together; the reading task would need
the same queue, deadlines and cleanup as this module, and no fewer lines.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

import hiredis
from redis import exceptions
from redis.asyncio.connection import AbstractConnection

from kubecdc.storage.redis_server.url import Address

Future = asyncio.Future[Any]
SILENCE = 0.5  # seconds without an answer after which a caller that gives up closes the connection for all callers
CLOSING = 1.0  # seconds to wait for connections to close
NOTHING = object()  # returned by the reader while an answer is incomplete
_pack: Callable[[Sequence[str | bytes | int]], bytes] = cast(Any, hiredis.pack_command)


def pack(*args: str | bytes | int) -> bytes:
    """A command in the form that is sent."""
    return _pack(args)


class Wire(asyncio.Protocol):
    """Opened, used and closed from one event loop. ``lost``: it is unusable; ``gone``: the transport is closed.

    Answers are bytes, numbers and lists, as the server sends them. A caller that gives up leaves its place in the
    queue, so that the other callers get their own answers.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        self.lost = False
        # redis-py has no public names for these. Its streams are not used any more, but close the transport if dropped.
        self._connection = cast(Any, connection)
        self._transport = self._connection._writer.transport
        self._reader = hiredis.Reader(
            protocolError=exceptions.InvalidResponse,
            replyError=self._connection._parser.parse_error,
            notEnoughData=NOTHING,
        )
        self._loop = asyncio.get_running_loop()
        self.gone: Future = self._loop.create_future()
        self._sent: deque[tuple[Future, float]] = deque()  # with their deadlines
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0  # of the timer
        self._heard = 0.0  # when data last arrived, or the first unanswered command was sent, if that was later

    @classmethod
    async def open(cls, connection: AbstractConnection) -> Wire:
        """Connect a connection of redis-py and take it over. Raises errors of redis-py."""
        try:
            await cast(Any, connection).connect()
            if cast(Any, connection)._reader.at_eof():
                raise exceptions.ConnectionError("it closed the connection")
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        wire = cls(connection)
        wire._transport.set_protocol(wire)
        return wire

    def send(self, command: bytes, deadline: float) -> Future:
        """Send a packed command once. The future has its answer, or an error of redis-py.

        If there is no answer by the deadline (of the loop's clock), the server hangs, and all waiting callers get a
        TimeoutError.
        """
        future = self._loop.create_future()
        if self.lost:
            _fail(future, exceptions.ConnectionError("the connection was closed"))
            return future
        if not self._sent:
            self._heard = self._loop.time()
        self._sent.append((future, deadline))
        self._transport.write(command)
        if self._timer is None or deadline < self._due:
            self._watch(deadline)
        return future

    @property
    def silent(self) -> float:
        """Seconds without data from the server while an answer is awaited; 0 if none is."""
        return self._loop.time() - self._heard if self._sent else 0.0

    def close(self) -> None:
        """Commands that are under way raise an error."""
        self._end(exceptions.ConnectionError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        """Give complete answers to their callers."""
        self._heard = self._loop.time()
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not NOTHING:
                future, _ = self._sent.popleft()
                if isinstance(answer, Exception):
                    _fail(future, answer)
                elif not future.done():
                    future.set_result(answer)
        except (exceptions.InvalidResponse, IndexError) as e:
            self._end(exceptions.ConnectionError(f"it does not answer like a Redis server: {e}"))

    def connection_lost(self, error: Exception | None) -> None:
        """The server, the network or this process has closed the connection."""
        if not self.gone.done():
            self.gone.set_result(None)
        self._end(exceptions.ConnectionError(str(error) if error else "it closed the connection"))

    def _watch(self, deadline: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._due = deadline
        self._timer = self._loop.call_at(deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._sent:
            return
        first = min(deadline for _, deadline in self._sent)
        if first > self._loop.time():
            self._watch(first)
        else:
            self._end(TimeoutError())

    def _end(self, error: Exception) -> None:
        self.lost = True
        if self._timer:
            self._timer.cancel()
        self._transport.abort()
        self._connection._reader = self._connection._writer = None
        while self._sent:
            future, _ = self._sent.popleft()
            _fail(future, error)


def _fail(future: Future, error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # marked as seen, in case its caller has just given up


class Server:
    """Up to two connections to a server, opened at first use: one for commands that wait there, one for all others."""

    def __init__(
        self, address: Address, connection: Callable[[], AbstractAsyncContextManager[AbstractConnection]]
    ) -> None:
        self.address = address
        self._connection = connection
        self._wires: dict[bool, Wire] = {}
        self._opening: dict[bool, asyncio.Task[Wire]] = {}
        self._closed = False

    def send(self, command: bytes, deadline: float, *, waits: bool = False) -> Awaitable[Any]:
        """Like `Wire.send`. Sent at once if the connection is open."""
        wire = self._wires.get(waits)
        if wire is None or wire.lost:
            return self._open_and_send(command, deadline, waits)
        return wire.send(command, deadline)

    def given_up(self) -> None:
        """A caller gave up waiting.

        If there are no answers at all, close the connection, so that others need not wait.
        """
        wire = self._wires.get(False)
        if wire and wire.silent > SILENCE:
            wire.close()

    def close(self) -> None:
        """Commands that are under way raise an error."""
        self._closed = True
        for wire in self._wires.values():
            wire.close()

    async def wait_closed(self) -> None:
        """Wait until the connections are closed and the event loop may end."""
        if self._opening:
            await asyncio.wait(self._opening.values(), timeout=CLOSING)
        if self._wires:
            await asyncio.wait([wire.gone for wire in self._wires.values()], timeout=CLOSING)

    async def _open_and_send(self, command: bytes, deadline: float, waits: bool) -> Any:
        if self._closed:
            raise exceptions.ConnectionError("the connections to this server were closed")
        opening = self._opening.get(waits)
        if opening is None:
            opening = self._opening[waits] = asyncio.create_task(self._open(deadline, waits))
            opening.add_done_callback(_noted)
        async with asyncio.timeout_at(deadline):
            wire = await asyncio.shield(opening)  # others may wait for it, and a half-open connection is hard to close
        return await wire.send(command, deadline)

    async def _open(self, deadline: float, waits: bool) -> Wire:
        try:
            async with asyncio.timeout_at(deadline), self._connection() as connection:
                wire = self._wires[waits] = await Wire.open(connection)
        finally:
            del self._opening[waits]
        if self._closed:
            wire.close()
        return wire


def _noted(opening: asyncio.Task[Wire]) -> None:
    """Mark its error as seen, in case no caller waits for it any more."""
    if not opening.cancelled():
        opening.exception()
