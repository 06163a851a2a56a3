"""A list, page by page, with no more bytes at a time than its entry may hold."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from kubecdc.cluster.changes import Page
from kubecdc.cluster.errors import TooLarge
from kubecdc.cluster.list_watch import ListWatch
from kubecdc.cluster.objects import OBJECT_BYTES
from kubecdc.watcher.capture.memory import Memory

PAGE_BYTES = 4 << 20
PAGE_OBJECTS = (50, 500)  # the first page, and the most
FEWER = 4  # how many times fewer objects are asked for when a page was too large


async def newest_version(list_watch: ListWatch, memory: Memory) -> str:
    """The server's current version, from a list of one object. Raises ApiError, Malformed."""
    with memory.holder() as holder:
        await holder.take(OBJECT_BYTES)
        return (await list_watch.page(1)).version


async def pages(list_watch: ListWatch, memory: Memory) -> AsyncGenerator[Page]:
    """A consistent list. Each page is held in ``memory`` until the next is asked for.

    A page that turns out to be larger than it may be is asked for again with fewer objects, so only one that is a
    single object, or that comes from a server which ignores the limit, can be larger. Raises Expired if the list
    outlives the server's history, ApiError, Malformed.
    """
    limit, most = PAGE_OBJECTS
    size = min(PAGE_BYTES, memory.limit)
    token = ""
    while True:
        with memory.holder() as holder:
            await holder.take(size)
            try:
                page = await list_watch.page(limit, token, most_bytes=size if limit > 1 else None)
            except TooLarge:
                limit = max(1, limit // FEWER)
                continue
            holder.resize(page.size)
            yield page
        if not page.next:
            return
        token = page.next
        limit = max(1, min(most, limit * size // max(page.size, 1)))
