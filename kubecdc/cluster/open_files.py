"""File descriptors. Over HTTP/1.1 each watch has a connection of its own, so a process may need many."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import structlog

from kubecdc.cluster.errors import ApiError

log = structlog.get_logger()
RESERVED = 64  # for everything but watches: lists and other requests, the bus, the log
REQUESTS = 32  # of these, for requests to the API server; there may be more where the watches leave room for them
ENOUGH = 1 << 20  # where there is no hard limit
BUFFERS_BYTES = 32 << 20  # about, of all watches
BUFFER_BYTES = (16 << 10, 128 << 10)  # of one: all that has arrived is decoded at once, and no commit is made meanwhile
HINT = "raise it: `ulimit -Hn`, `LimitNOFILE=` of a systemd unit, the container runtime; or watch fewer namespaces"


def raise_limit() -> None:
    """Let this process open as many files as its hard limit permits. The soft limit is often only 1024 or 256."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = ENOUGH if hard == resource.RLIM_INFINITY else hard
    if soft not in {resource.RLIM_INFINITY, most}:
        with suppress(ValueError, OSError):  # some systems permit less than their hard limit says
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def limit() -> int:
    """How many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ENOUGH if soft == resource.RLIM_INFINITY else soft


def is_out_of_files(error: BaseException) -> bool:
    """Whether it says that this process, or this machine, may not open another file."""
    return isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}


def out_of_files() -> ApiError:
    """The error for a request that had no file for its connection."""
    return ApiError(f"this process may open {limit()} files, and none is left for a connection", hint=HINT)


def exhausted() -> bool:
    """Whether this process, or the system, has no descriptor left for another file or connection."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as e:
        return is_out_of_files(e)
    return False


class Connections:
    """The connections to the API server: how many are needed, and how many there may be."""

    def __init__(self) -> None:
        self._needed: dict[str, int] = {}  # by entry
        self._said = 0
        self._open = 0  # watches
        self._requests = 0
        self._freed = asyncio.Event()

    def need(self, entry: str, watches: int) -> None:
        """The entry has so many watches. Says once if this process may not open as many files as all entries need."""
        self._needed[entry] = watches
        needed, most = sum(self._needed.values()) + RESERVED, limit()
        if needed > most and needed > 2 * self._said:
            self._said = needed
            log.warning(
                "not all watches fit into the limit of open files",
                code="open-files-low",
                needed=needed,
                limit=most,
                hint=HINT,
            )

    @contextmanager
    def watch(self, *, essential: bool) -> Iterator[int]:
        """A watch is open during the block. Yields how many bytes it may read ahead.

        Raises ApiError if it does not fit, unless it is ``essential``.
        """
        most = limit()
        if not essential and self._open >= most - RESERVED:
            raise ApiError(f"this watch waits for others to end: this process may open {most} files", hint=HINT)
        self._open += 1
        try:
            least, most_ahead = BUFFER_BYTES
            yield max(least, min(most_ahead, BUFFERS_BYTES // self._open))
        finally:
            self._open -= 1

    @asynccontextmanager
    async def request(self, *, essential: bool) -> AsyncIterator[None]:
        """Any other request is sent during the block. Waits until it fits beside all watches, if not ``essential``."""
        while not essential and self._requests >= max(REQUESTS, limit() - RESERVED - sum(self._needed.values())):
            self._freed.clear()
            await self._freed.wait()
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1
            self._freed.set()
