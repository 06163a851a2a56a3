"""The size of the checkpoints once compressed, and whether they fit into a ConfigMap."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import structlog

from kubecdc.counts import counted
from kubecdc.errors import Refused
from kubecdc.storage.configmap.config_map import alternatives
from kubecdc.storage.configmap.document import Packed, pack, row
from kubecdc.storage.configmap.record import CheckpointRecord, size
from kubecdc.storage.contracts import CheckpointDelta, EntryState

log = structlog.get_logger()
INLINE = 1000  # objects that are compressed in the event loop; more would delay all watches
NEARLY = 0.8  # of the limit
HINT = "watch fewer objects (`namespaces`, `filter.labels`), or remember less of each (`inventory`)"


class SizeBudget:
    """The size of one ConfigMap. What has not changed is not compressed again."""

    def __init__(self, place: str, limit: int) -> None:
        self._place = place
        self._limit = limit
        self._parts: dict[str, tuple[int, dict[str, bytes]]] = {}  # by key: revision and compressed values
        self._size = 0  # bytes when last packed
        self._grown = 0  # bytes that were added since, at most
        self._accepted = ""  # the token of a step that fits
        self._warned = False

    async def pack(
        self, records: Mapping[str, CheckpointRecord], epoch: int, entries: Mapping[str, EntryState]
    ) -> Packed:
        """Compress all checkpoints as they are now. Raises Refused if they do not fit."""
        grown = self._grown
        packed = replace(await self._packed(list(records.values())), epoch=epoch, entries=dict(entries))
        self._check(packed)
        self._size, self._grown = packed.size, self._grown - grown
        return packed

    async def require_room(
        self, records: Mapping[str, CheckpointRecord], one: CheckpointRecord, delta: CheckpointDelta
    ) -> None:
        """Raise Refused if the step would not fit. Nothing is compressed while it is certain that it fits."""
        more = size(delta)
        if delta.token == self._accepted or not more:
            return
        if self._size + self._grown + more <= self._limit:
            self._grown += more
        else:
            grown = self._grown
            inventory, bodies = {**one.inventory, **delta.upserts}, {**one.bodies, **delta.bodies}
            trial = replace(one, inventory=inventory, bodies=bodies, revision=0)
            packed = await self._packed([trial, *(other for other in records.values() if other.key != one.key)])
            self._check(packed)
            self._size, self._grown = packed.size, self._grown - grown
        self._accepted = delta.token

    def _check(self, packed: Packed) -> None:
        if packed.size > self._limit:
            raise Refused(
                f"the checkpoints of {counted(packed.objects, 'object')} take {packed.size >> 10} KiB, and the "
                f"ConfigMap {self._place} may take {self._limit >> 10} KiB; their events were not published",
                hint=_hint(),
            )
        if packed.size > NEARLY * self._limit and not self._warned:
            self._warned = True
            log.warning(
                "the checkpoints will soon not fit into their ConfigMap",
                code="configmap-nearly-full",
                configmap=self._place,
                objects=packed.objects,
                kib=packed.size >> 10,
                limit_kib=self._limit >> 10,
                hint=_hint(),
            )

    async def _packed(self, all_: list[CheckpointRecord]) -> Packed:
        rows = [row(record) for record in all_]
        parts: dict[str, bytes] = {}
        changed = []
        for record in all_:
            revision, known = self._parts.get(record.key, (None, {}))
            if revision == record.revision:
                parts |= known
            else:
                changed.append((record.key, record.revision, dict(record.inventory), dict(record.bodies)))

        def compress() -> list[tuple[str, int, dict[str, bytes]]]:
            return [(key, revision, pack(key, inventory, bodies)) for key, revision, inventory, bodies in changed]

        few = sum(len(inventory) for _, _, inventory, _ in changed) <= INLINE
        for key, revision, made in compress() if few else await asyncio.to_thread(compress):
            parts |= made
            if revision:
                self._parts[key] = revision, made
        for gone in self._parts.keys() - {record.key for record in all_}:
            del self._parts[gone]
        return Packed(rows, parts)


def _hint() -> str:
    return f"keep the `checkpoint` of the EventBus in {alternatives()}; or {HINT}"
