"""Addresses of host names, as the system finds them, in threads of their own.

An event loop looks up all names of its process in a few threads (uvloop two at a time), which every caller shares.
There is no way to end a look-up, and the loop waits for it at its end.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import Counter
from functools import partial
from typing import TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

from kubecdc.concurrency import begin_in_thread

MOST = 16  # look-ups at a time
_Query: TypeAlias = tuple[str, int, socket.AddressFamily]
_FLAGS = socket.AI_ADDRCONFIG  # as aiohttp's own resolver
_NUMERIC = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


class Names(AbstractResolver):
    """A resolver for aiohttp. Names that take long delay nobody who has another one of these.

    At most ``most`` look-ups run at a time; one that nobody waits for any more is still one of them. A name is looked
    up once for all who ask for it meanwhile. The threads are daemons: the process ends without them.
    """

    def __init__(self, most: int = MOST) -> None:
        self._free = asyncio.Semaphore(most)
        self._under_way: dict[_Query, asyncio.Future[list[ResolveResult]]] = {}
        self._asked: Counter[str] = Counter()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises OSError."""
        query = (host, port, family)
        self._asked[host] += 1
        try:
            if query not in self._under_way:
                await self._free.acquire()
                if query in self._under_way:
                    self._free.release()
                else:
                    self._begin(query)
            return await asyncio.shield(self._under_way[query])
        finally:
            self._asked[host] -= 1
            if not self._asked[host]:
                del self._asked[host]

    def waits_for(self, host: str | None) -> bool:
        """Whether somebody waits for the host's addresses."""
        return host in self._asked

    @property
    def waited_for(self) -> str:
        """A name whose addresses somebody waits for, "" if there is none."""
        return next(iter(self._asked), "")

    async def close(self) -> None:
        """Nothing: a look-up cannot be ended."""

    def _begin(self, query: _Query) -> None:
        """Look it up in a thread. Raises OSError if there can be no more threads."""

        def done(looked_up: asyncio.Future[list[ResolveResult]]) -> None:
            del self._under_way[query]
            self._free.release()
            looked_up.exception()  # marked as seen, in case nobody waits for it any more

        try:
            self._under_way[query] = begin_in_thread(partial(_addresses, *query), name="look-up")
        except RuntimeError as e:
            self._free.release()
            raise OSError(errno.EAGAIN, "no thread can be started to look up the name") from e
        self._under_way[query].add_done_callback(done)


def _addresses(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    found: list[ResolveResult] = []
    for kind, _, proto, _, address in socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=_FLAGS):
        name = str(address[0])
        if kind == socket.AF_INET6 and len(address) == 4 and address[3]:  # link-local: with its interface
            name, _ = socket.getnameinfo(address, _NUMERIC)
        found.append(
            ResolveResult(
                hostname=host,
                host=name,
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
        )
    return found
