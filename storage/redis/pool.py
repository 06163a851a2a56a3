"""The connections to one server: a command takes one that is free, or a new one.

redis-py's own pool, and what its client does around each command, take as long again as the command itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from redis import exceptions
from redis.asyncio.connection import AbstractConnection

from storage.redis.packing import Packed
from storage.redis_url import Address


class Pool:
    """Opened, used and closed from one event loop. An answer is as the server writes it: bytes, numbers and lists."""

    def __init__(self, address: Address, connection: Callable[[], AbstractConnection]) -> None:
        self.address = address
        self._connection = connection
        self._free: list[AbstractConnection] = []
        self._all: set[AbstractConnection] = set()
        self._closed = False

    async def send(self, *args: str | bytes | int | Packed) -> Any:
        """Send a command, which may be packed, once and wait for its answer, for ever. Raises what redis-py raises.

        Whatever goes wrong on the way, also if the caller gives up, ends that connection: no answer is left in it.
        """
        if self._closed:
            raise exceptions.ConnectionError("the connections to this server were closed")
        connection = await self._take()
        try:
            if isinstance(args[0], Packed):
                await connection.send_packed_command(args[0].wire, check_health=False)
            else:
                await connection.send_command(*args, check_health=False)
            return await connection.read_response()
        finally:
            if self._closed:
                await connection.disconnect(nowait=True)
            else:
                self._free.append(connection)

    async def close(self) -> None:
        """Close the connections. What is under way on them ends with an error."""
        self._closed = True
        closing = [connection.disconnect() for connection in self._all]
        self._free.clear()
        self._all.clear()
        await asyncio.gather(*closing, return_exceptions=True)

    async def _take(self) -> AbstractConnection:
        if not self._free:
            connection = self._connection()
            self._all.add(connection)
            return connection  # connects at its first command
        connection = self._free.pop()
        try:
            if connection.is_connected and await connection.can_read():  # its end: nobody was asked anything
                await connection.disconnect(nowait=True)
        except exceptions.ConnectionError:
            pass  # it is closed by that, and connects anew
        return connection
