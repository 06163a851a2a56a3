"""Keeps the position of a quiet resource young where the API server sends no bookmarks.

It bypasses its watch cache for `events`. There a position that stands still falls out of etcd's history within minutes,
though the watch is open and nothing was missed. So while a watch is open and silent, the objects are listed. If they
are those of the inventory, and the watch stays silent for a while longer, all changes up to the version of the list
have been seen, and the next watch may begin there.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import structlog

from kubecdc.cluster.errors import ApiError, Malformed
from kubecdc.cluster.list_watch import ListWatch
from kubecdc.cluster.versions import older
from kubecdc.watcher.capture.checkpoint_writer import CheckpointWriter
from kubecdc.watcher.capture.memory import Memory
from kubecdc.watcher.capture.pages import pages
from kubecdc.watcher.capture.progress import Progress
from kubecdc.watcher.capture.stream import StreamCommitter

log = structlog.get_logger()

STILL_SECONDS = 150.0  # until the objects are listed; etcd keeps at least 5 minutes (kube-apiserver compacts it)
SETTLE_SECONDS = 10.0  # that the watch must be silent before and after the list
LOOK_SECONDS = 5.0


class QuietPosition:
    """The position of one watch, and since when it has stood still."""

    def __init__(self, list_watch: ListWatch, memory: Memory, progress: Progress) -> None:
        self._list_watch = list_watch
        self._memory = memory
        self._progress = progress
        self._position = ""
        self._since = 0.0
        self._seen_up_to = ""  # a version up to which nothing has changed since the position

    async def advance(self, writer: CheckpointWriter) -> None:
        """Commit what the last watch has shown. No watch may be open. Raises CommitMismatch, LeadershipLost."""
        if self._position == writer.state.position and older(self._position, self._seen_up_to):
            await writer.commit(position=self._seen_up_to)
        self._seen_up_to = ""

    async def run(self, writer: CheckpointWriter, stream: StreamCommitter) -> None:
        """Look for a younger position while the watch is open. Never returns. Raises Unavailable."""
        if self._list_watch.resource.has_bookmarks:
            await asyncio.Event().wait()
        while True:
            if self._position != writer.state.position:
                self._position, self._since, self._seen_up_to = writer.state.position, time.monotonic(), ""
            due = max(self._since + STILL_SECONDS, stream.opened + SETTLE_SECONDS) - time.monotonic()
            if self._seen_up_to or stream.lines or due > 0:
                await asyncio.sleep(LOOK_SECONDS)
                continue
            version = await unchanged(writer, self._list_watch, self._memory)
            await asyncio.sleep(SETTLE_SECONDS)
            if version and not stream.lines and self._position == writer.state.position:
                self._seen_up_to = version
                self._progress.renewed()


async def unchanged(writer: CheckpointWriter, list_watch: ListWatch, memory: Memory) -> str:
    """The version of a list that shows what is known; "" if it shows anything else, or could not be read.

    Raises Unavailable.
    """
    known, position = await writer.inventory(), writer.state.position
    version = ""
    try:
        async with aclosing(pages(list_watch, memory)) as listed:
            async for page in listed:
                version = page.version
                for meta in (change.meta for change in page.items):
                    if writer.entry.keeps_inventory:
                        before = known.pop(meta.uid, None)
                        if before is None or before.resource_version != meta.resource_version:
                            return ""
                    elif older(position, meta.resource_version):
                        return ""
    except (ApiError, Malformed) as e:
        log.debug("the objects could not be listed", code="position-unmoved", watch=writer.entry.key, reason=str(e))
        return ""
    return "" if known else version
