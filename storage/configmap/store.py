"""Checkpoints in one ConfigMap. The leader keeps them in memory, and writes them about once a second.

The ConfigMap always has a consistent state of the past. A crash loses the steps of the write window, as if they had not
been made; only changes of position and inventory may wait like that (`CheckpointRecord.is_urgent`). A write names the
version that it follows. If it is refused, the store reads the ConfigMap to find the cause: another leader, an operator,
a write of its own whose reply was lost, or a ConfigMap that was restored from a backup or deleted. In the last two
cases the leader writes what it has in memory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from kubecdc.errors import Unavailable
from kubecdc.storage.configmap.config_map import ConfigMaps
from kubecdc.storage.configmap.record import CheckpointRecord
from kubecdc.storage.configmap.size_budget import SizeBudget
from kubecdc.storage.configmap.sync import ATTEMPTS, ConfigMapSync
from kubecdc.storage.contracts import Checkpoint, CheckpointDelta, EntryState, Gap, Inventoried, Term
from kubecdc.storage.contracts.errors import CommitMismatch, LeadershipLost

REFRESH = 4  # write windows after which the leader reads whether another process has written


@dataclass(frozen=True)
class ConfigMapSettings:
    """``window`` is how long steps may wait to be written together, ``limit`` how many bytes all values may take.

    Kubernetes accepts 1 MiB.
    """

    window: timedelta = timedelta(seconds=1)
    limit: int = 900 << 10


class ConfigMapCheckpoints:
    """`storage.contracts.CheckpointStore`."""

    def __init__(
        self,
        api: ConfigMaps,
        settings: ConfigMapSettings,
        *,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._window = settings.window.total_seconds()
        self._budget = SizeBudget(api.place, settings.limit)
        self._sync = ConfigMapSync(api, self._budget, window=self._window, now=now, sleep=sleep)

    async def acquire(self, key: str, term: Term) -> Checkpoint:
        await self._sync.refresh()
        LeadershipLost.require(self._sync.epoch, term)
        record = self._sync.records.setdefault(key, CheckpointRecord(key))
        record.lost = False
        if not record.ours or record.stamp.term != term.number or not self._sync.is_stored(key):
            record.ours = True
            record.stamp = replace(record.stamp, term=term.number)
            self._sync.epoch = term.number
            self._sync.mark_changed()
            await self._sync.flush()
            LeadershipLost.require(self._sync.epoch, term)
            record = self._at(key)
            record.lost = False
        return record.checkpoint

    async def newest_term(self) -> int:
        await self._sync.refresh()
        return self._sync.epoch

    async def save(self, key: str, delta: CheckpointDelta, *, term: Term) -> None:
        await self._sync.ensure_loaded()
        LeadershipLost.require(self._sync.epoch, term)
        record = self._at(key)
        urgent = not record.ours
        if record.is_next(delta):
            await self._budget.require_room(self._sync.records, record, delta)
            record = self._next(key, delta, term)
            urgent = urgent or record.is_urgent(delta)
            record.apply(delta, term)
            self._changed(record)
        elif not self._sync.pending:
            await self._sync.refresh()
        await self._sync.flush_if_due(urgent=urgent)
        self._require_made(key, delta, term)

    async def intend(self, key: str, delta: CheckpointDelta, *, term: Term) -> bool:
        """Refuses what does not fit, before its events are published.

        If the ConfigMap was not read or written lately, it is written at once: a leader that was suspended finds out
        before it publishes.
        """
        await self._sync.flush_if_due()
        await self._sync.ensure_loaded()
        LeadershipLost.require(self._sync.epoch, term)
        record = self._at(key)
        if not record.is_next(delta):
            if not self._sync.pending:
                await self._sync.refresh()
            self._require_made(key, delta, term)
            return False
        await self._budget.require_room(self._sync.records, record, delta)
        record = self._next(key, delta, term)
        record.intend(delta)
        self._changed(record)
        await self._sync.flush_if_due(urgent=not record.ours)
        await self._sync.flush_if_stale()
        self._next(key, delta, term)
        return True

    async def entry(self, name: str) -> EntryState | None:
        await self._sync.refresh()
        return self._sync.entries.get(name)

    async def save_entry(self, name: str, state: EntryState, *, term: Term) -> None:
        await self._sync.ensure_loaded()
        LeadershipLost.require(self._sync.epoch, term)
        self._sync.epoch = term.number
        self._sync.entries[name] = state
        self._sync.mark_changed()
        await self._sync.flush()
        LeadershipLost.require(self._sync.epoch, term)

    async def flush(self) -> None:
        await self._sync.flush()

    async def inventory(self, key: str) -> dict[str, Inventoried]:
        return dict((await self._seen(key)).inventory)

    async def bodies(self, key: str, uids: Sequence[str]) -> dict[str, bytes]:
        bodies = (await self._seen(key)).bodies
        return {uid: bodies[uid] for uid in uids if uid in bodies}

    async def gaps(self, key: str) -> list[Gap]:
        """The last ten gaps."""
        return list((await self._seen(key)).gaps)

    async def checkpoint(self, key: str) -> Checkpoint | None:
        """The leader reads now and then whether another process has changed it."""
        if not (self._at(key).ours and self._sync.fresh(REFRESH * self._window)):
            await self._sync.refresh()
        record = self._sync.records.get(key)
        return record.checkpoint if record else None

    async def checkpoints(self) -> list[Checkpoint]:
        await self._sync.refresh()
        return [record.checkpoint for _, record in sorted(self._sync.records.items())]

    async def reset(self, key: str) -> bool:
        for _ in range(ATTEMPTS):
            await self._sync.refresh()
            record = self._sync.records.get(key)
            if record is None:
                return False
            found = record.reset()
            stamp = record.stamp
            self._sync.mark_changed()
            await self._sync.flush()
            if self._at(key).stamp == stamp:
                return found
        raise Unavailable(f"another process keeps changing checkpoint {key!r}", hint="stop its watcher first")

    async def remove(self, key: str, *, entry: str, term: Term) -> None:
        for _ in range(ATTEMPTS):
            await self._sync.refresh()
            LeadershipLost.require(self._sync.epoch, term)
            record = self._sync.records.pop(key, None)
            if record is None:
                return
            if record.gaps:
                self._sync.records.setdefault(entry, CheckpointRecord(entry)).inherit(record)
            self._sync.epoch = term.number
            self._sync.mark_changed()
            await self._sync.flush()
        if key in self._sync.records:
            raise Unavailable(f"another process keeps changing checkpoint {key!r}", hint="stop its watcher first")

    async def close(self) -> None:
        """Write what is pending. If that fails, those steps count as not made."""
        await self._sync.close()

    def _at(self, key: str) -> CheckpointRecord:
        return self._sync.records.get(key) or CheckpointRecord(key)

    async def _seen(self, key: str) -> CheckpointRecord:
        """The checkpoint: our own from memory, another one as it was last written."""
        if not self._at(key).ours:
            await self._sync.refresh()
        return self._at(key)

    def _next(self, key: str, delta: CheckpointDelta, term: Term) -> CheckpointRecord:
        """The checkpoint that the step follows, after waiting. Raises LeadershipLost, CommitMismatch."""
        LeadershipLost.require(self._sync.epoch, term)
        record = self._at(key)
        if not record.is_next(delta):
            raise CommitMismatch.changed(key, record.stamp.number)
        return record

    def _changed(self, record: CheckpointRecord) -> None:
        self._sync.records[record.key] = record
        self._sync.epoch = max(self._sync.epoch, record.stamp.term)
        self._sync.mark_changed()

    def _require_made(self, key: str, delta: CheckpointDelta, term: Term) -> None:
        """Raise LeadershipLost or CommitMismatch if the step is not the last one."""
        LeadershipLost.require(self._sync.epoch, term)
        record = self._at(key)
        if record.lost or (record.stamp.number, record.stamp.token) != (delta.follows + 1, delta.token):
            raise CommitMismatch.changed(key, record.stamp.number)
