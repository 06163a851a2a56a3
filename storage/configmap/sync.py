"""Keeps memory and ConfigMap in sync: when to write, and which one is right where they differ."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

import structlog

from kubecdc.backoff import Backoff
from kubecdc.errors import KubecdcError, Unavailable
from kubecdc.storage.configmap.config_map import ConfigMaps, Conflict
from kubecdc.storage.configmap.document import Found
from kubecdc.storage.configmap.record import CheckpointRecord
from kubecdc.storage.configmap.remote import Remote
from kubecdc.storage.configmap.size_budget import SizeBudget
from kubecdc.storage.contracts import EntryState

log = structlog.get_logger()
ATTEMPTS = 5  # writes, each after a conflict
RETRY = Backoff(duration=0.5, cap=5.0)


class ConfigMapSync:
    """``records`` is the memory, by key, and ``entries`` by name; ``epoch`` is the newest term, which fences all older
    ones. After a change, call `mark_changed` and await `flush_if_due`."""

    def __init__(
        self,
        api: ConfigMaps,
        budget: SizeBudget,
        *,
        window: float,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.records: dict[str, CheckpointRecord] = {}
        self.entries: dict[str, EntryState] = {}
        self.epoch = 0
        self._place = api.place
        self._budget = budget
        self._window = window
        self._now = now
        self._sleep = sleep
        self._remote = Remote(api)
        self._exchange = asyncio.Lock()  # one exchange with the server at a time
        self._synced: float | None = None  # when the ConfigMap was last read or written
        self._pending_since: float | None = None  # since when a change waits to be written
        self._timer: asyncio.Task[None] | None = None
        self._failure: KubecdcError | None = None  # of a write in the background

    @property
    def pending(self) -> bool:
        """A change is not written yet."""
        return self._pending_since is not None

    def fresh(self, seconds: float) -> bool:
        """Whether the ConfigMap was read or written in the last so many seconds."""
        return self._synced is not None and self._now() - self._synced < seconds

    def is_stored(self, key: str) -> bool:
        """Whether the ConfigMap has the checkpoint."""
        return key in self._remote.stamps

    async def refresh(self) -> None:
        """Read the ConfigMap and update memory. Raises Unavailable, Refused."""
        async with self._exchange:
            await self._reload()

    async def ensure_loaded(self) -> None:
        """Read the ConfigMap if it was not read before.

        Raises as `refresh`, and the error of a write in the background.
        """
        if self._failure:
            raise self._failure
        if self._synced is None:
            await self.refresh()

    def mark_changed(self) -> None:
        """A record has changed: write it within the window."""
        if self._pending_since is None:
            self._pending_since = self._now()
        if self._window and (self._timer is None or self._timer.done()):
            self._timer = asyncio.create_task(self._flush_later())

    async def flush_if_due(self, *, urgent: bool = False) -> None:
        """Write if a change has waited for the window, or if it is ``urgent``. Raises as `flush`."""
        await self._flush_if(lambda: urgent or self._due())

    async def flush_if_stale(self) -> None:
        """Write if the ConfigMap was neither read nor written within the window. Raises as `flush`."""
        await self._flush_if(lambda: not self.fresh(self._window))

    async def flush(self) -> None:
        """Write what is pending. Raises Unavailable, Refused."""
        await self._flush_if(lambda: True)

    def _due(self) -> bool:
        return self._pending_since is not None and self._now() - self._pending_since >= self._window

    async def _flush_if(self, wanted: Callable[[], bool]) -> None:
        """Write what is pending, if that is still ``wanted`` once no other call is writing."""
        if not wanted():
            return
        for _ in range(ATTEMPTS):
            async with self._exchange:
                if self._failure:
                    raise self._failure
                if self._pending_since is None or not wanted():
                    return
                since, self._pending_since = self._pending_since, None
                try:
                    await self._remote.write(await self._budget.pack(self.records, self.epoch, self.entries))
                    self._synced = self._now()
                    return  # what others have changed meanwhile, they write
                except Conflict:
                    self._pending_since = since
                    await self._reload()
                except BaseException:
                    self._pending_since = since
                    raise
        if self._pending_since is not None:
            raise Unavailable(
                f"another process keeps changing the ConfigMap {self._place}",
                hint="its managedFields say which one",
            )

    async def close(self) -> None:
        """Write what is pending. If that fails, those steps count as not made."""
        if self._timer:
            self._timer.cancel()
            with suppress(asyncio.CancelledError):
                await self._timer
        try:
            await self.flush()
        except KubecdcError as e:
            log.warning(
                "the checkpoint could not be written at the end", code="checkpoint-unwritten", error=str(e), hint=e.hint
            )

    async def _flush_later(self) -> None:
        """Write what is pending after the window, unless another call has done it."""
        failures = 0
        while self._pending_since is not None:
            left = self._pending_since + self._window - self._now()
            if left > 0:
                await self._sleep(left)
                continue
            try:
                await self._flush_if(self._due)
                failures = 0
            except Unavailable as e:
                failures += 1
                if failures == 1:
                    log.warning(
                        "the checkpoint cannot be written", code="checkpoint-failing", error=str(e), hint=e.hint
                    )
                await self._sleep(RETRY.delay(failures))
            except KubecdcError as e:
                self._failure = e
                return

    async def _reload(self) -> None:
        found = await self._remote.fetch()
        self._synced = self._now()
        if found is not None:
            if found.epoch > self.epoch:  # a newer leader: what was not written yet is void
                self.epoch, self.entries = found.epoch, {}
            for name, theirs in found.entries.items():
                self.entries[name] = latest(self.entries.get(name, theirs), theirs)
        keys = {*self.records, *(found.checkpoints if found else {})}
        kept = [key for key in keys if not self._reconcile(key, found)]
        self._remote.accept(found)
        if kept:
            what = "is gone" if found is None else "is older than it was"
            text = f"the ConfigMap {what}: this leader writes it again from memory"
            log.warning(text, code="checkpoint-restored", configmap=self._place)
            self.mark_changed()

    def _reconcile(self, key: str, found: Found | None) -> bool:
        """Update one record from the server, or keep it. False if the server must be updated from memory."""
        mine, theirs = self.records.get(key), found.checkpoints.get(key) if found else None
        written = self._remote.stamps.get(key)
        if mine is None or not mine.ours:
            if theirs is None:
                self.records.pop(key, None)
            else:
                self.records[key] = theirs
            return True
        # Another process has changed it, or a newer leader may not have acquired it yet: what memory has is not ours.
        if found is not None and (mine.lost or found.epoch > mine.stamp.term):
            if theirs is None:
                del self.records[key]
            else:
                self.records[key] = replace(theirs, ours=True, lost=True)
            return True
        if theirs is None:
            return written is None
        if theirs.stamp == written:
            return True
        if theirs.stamp.term == mine.stamp.term and theirs.stamp.number >= (written.number if written else 0):
            self.records[key] = replace(theirs, ours=True, lost=True)
            return True
        return False


def latest(mine: EntryState, theirs: EntryState) -> EntryState:
    """The earlier start and the later timeline of the two, in whatever order they were written."""
    started = min(mine.started, theirs.started, key=datetime.fromisoformat)
    return EntryState(started=started, timeline=max(mine.timeline, theirs.timeline))
