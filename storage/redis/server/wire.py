"""One connection to a server, for any number of commands at a time.

They go out as they are given, and their answers come back in that order. redis-py opens the connection, logs in and
speaks TLS; after that its streams, locks and deadlines for each command would take several times as long as all else
that a command costs us.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import hiredis
from redis import exceptions
from redis.asyncio.connection import AbstractConnection

from kubecdc.storage.redis.url import Address

Future = asyncio.Future[Any]
SILENCE = 0.5  # seconds after which whoever gives up gives the connection up for all: a new one may have more luck
CLOSING = 1.0  # seconds, though nobody is asked
NOTHING = object()  # what the reader says while an answer is not whole
_pack: Callable[[Sequence[str | bytes | int]], bytes] = cast(Any, hiredis.pack_command)


def pack(*args: str | bytes | int) -> bytes:
    """A command as it goes over the wire."""
    return _pack(args)


class Wire(asyncio.Protocol):
    """Opened, used and closed from one event loop; ``lost`` once it is of no more use, ``gone`` once nothing is left.

    An answer is as the server writes it: bytes, numbers and lists. Whoever gives up waiting leaves a place that its
    answer goes to, so that the others' are theirs.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        self.lost = False
        # It has no public names for these. Its streams, which nobody uses any more, close the transport if dropped.
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
        self._heard = 0.0  # when something was, or the first of those was sent that are not answered

    @classmethod
    async def open(cls, connection: AbstractConnection) -> Wire:
        """Take over a connection of redis-py's, connected. Raises what redis-py raises."""
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
        """Send a packed command once; its answer comes in the future, or an error of redis-py's.

        If it is not there by the deadline (of the loop's clock), the server hangs, and all that wait here hear so.
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
        """Seconds for which no answer has come, if one is due."""
        return self._loop.time() - self._heard if self._sent else 0.0

    def close(self) -> None:
        """What is under way on it ends with an error."""
        self._end(exceptions.ConnectionError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        """Hand out the answers that are whole."""
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
            self._end(exceptions.ConnectionError(f"it does not answer as a Redis does: {e}"))

    def connection_lost(self, error: Exception | None) -> None:
        """The server, or the way to it, has ended it, or we have."""
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
        future.exception()  # whoever has just given up need not hear of it


class Server:
    """The connections to one server, opened at first use: for what is answered at once, and for what waits there."""

    def __init__(self, address: Address, connection: Callable[[], AbstractConnection]) -> None:
        self.address = address
        self._connection = connection
        self._wires: dict[bool, Wire] = {}
        self._opening: dict[bool, asyncio.Task[Wire]] = {}
        self._closed = False

    def send(self, command: bytes, deadline: float, *, waits: bool = False) -> Awaitable[Any]:
        """`Wire.send`, at once if the connection is open."""
        wire = self._wires.get(waits)
        if wire is None or wire.lost:
            return self._open_and_send(command, deadline, waits)
        return wire.send(command, deadline)

    def given_up(self) -> None:
        """Somebody did not wait for an answer: if none comes at all, others need not learn that by themselves."""
        wire = self._wires.get(False)
        if wire and wire.silent > SILENCE:
            wire.close()

    def close(self) -> None:
        """What is under way ends with an error."""
        self._closed = True
        for wire in self._wires.values():
            wire.close()

    async def wait_closed(self) -> None:
        """Until nothing of them is left in the event loop, which may end then."""
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
            wire = await asyncio.shield(opening)  # others may wait for it, and half a connection is hard to end
        return await wire.send(command, deadline)

    async def _open(self, deadline: float, waits: bool) -> Wire:
        try:
            async with asyncio.timeout_at(deadline):
                wire = self._wires[waits] = await Wire.open(self._connection())
        finally:
            del self._opening[waits]
        if self._closed:
            wire.close()
        return wire


def _noted(opening: asyncio.Task[Wire]) -> None:
    """Whoever waits for it hears of its error, and if nobody does, then nobody."""
    if not opening.cancelled():
        opening.exception()
