"""Commits the changes of a watch as they come: few at a time when idle, many under load. No timer is involved."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from kubecdc.cluster.changes import Change
from kubecdc.cluster.versions import older
from kubecdc.concurrency import run_until_first
from kubecdc.storage.contracts import Batch
from kubecdc.watcher.capture.batch import Batcher
from kubecdc.watcher.capture.checkpoint_writer import CheckpointWriter
from kubecdc.watcher.capture.chunks import chunks
from kubecdc.watcher.capture.memory import Holder, Memory
from kubecdc.watcher.capture.progress import Progress
from kubecdc.watcher.recovery import Recovery

BATCH = 100  # changes a commit; more are slower on every back end
INSTANT_SECONDS = 1.0

Commits = asyncio.Queue[tuple[Batch, int]]  # prepared, with their sizes, in the order in which they are to be made
Changes = Callable[[Holder], AsyncGenerator[list[Change]]]  # which takes its long lines from there


class StreamCommitter:
    """Reads one watch after another to its end, and prepares the next commit while those before are under way.

    At most one prepared commit waits: a slow bus slows the reading. ``opened`` is when (monotonic) the last watch was
    open, and ``lines`` how many came from it.
    """

    def __init__(self, batcher: Batcher, recovery: Recovery, memory: Memory, progress: Progress) -> None:
        self.lines = 0
        self.opened = math.inf
        self._batcher = batcher
        self._recovery = recovery
        self._memory = memory
        self._progress = progress

    async def commit_changes(self, writer: CheckpointWriter, changes: Changes, until: str = "") -> bool:
        """Commit everything until the watch ends or has reached the version ``until``.

        Returns whether the server closed it as soon as it was open. Raises ApiError, Malformed and Silence, after
        committing what came before; CommitMismatch, LeadershipLost.
        """
        self.lines, self.opened = 0, math.inf
        commits: Commits = asyncio.Queue(maxsize=1)
        try:
            with self._memory.holder() as holder:
                committers = (commit_all(writer, commits, holder, self._progress) for _ in range(writer.under_way))
                await run_until_first(self._read(writer, changes, commits, holder, until), *committers)
        finally:
            self._progress.ended()
        return not self.lines and not self.stayed_open()

    def stayed_open(self) -> bool:
        """Whether the last watch was open for more than an instant."""
        return self.open_for() >= INSTANT_SECONDS

    def open_for(self) -> float:
        """Seconds since the last watch was open. Below zero if it never was."""
        return time.monotonic() - self.opened

    async def _read(
        self, writer: CheckpointWriter, changes: Changes, commits: Commits, holder: Holder, until: str
    ) -> None:
        try:
            async with aclosing(changes(holder)) as stream:
                async for chunk in stream:
                    self._came(chunk)
                    await self._prepare(writer, chunk, commits, holder)
                    if until and chunk and not older(chunk[-1].meta.resource_version, until):
                        break
                    del chunk  # the next may come in a long while
        except Exception:
            await commits.join()  # what came before the end of the stream is valid
            raise
        await commits.join()

    async def _prepare(
        self, writer: CheckpointWriter, chunk: Sequence[Change], commits: Commits, holder: Holder
    ) -> None:
        for some, size in chunks(chunk, BATCH):
            self._progress.came()  # before anything is waited for, so that what was read counts
            if writer.entry.keeps_objects:
                await commits.join()  # the next commit needs the bodies that the last one stores
            await holder.take(size)
            await commits.put((await self._batcher.prepare(writer, some), size))

    def _came(self, chunk: list[Change]) -> None:
        self.lines += len(chunk)
        if chunk:
            self._recovery.succeeded()
        else:  # the first one, however long it took
            self.opened = time.monotonic()
            self._recovery.resolve()
            self._progress.opened()


async def commit_all(writer: CheckpointWriter, commits: Commits, holder: Holder, progress: Progress) -> None:
    """Commit what is in the queue, in its order. Never returns; raises CommitMismatch, LeadershipLost."""
    while True:
        batch, size = await commits.get()
        await writer.commit_prepared(batch)
        del batch  # the next may come in a long while
        holder.release(size)
        progress.committed()
        commits.task_done()
