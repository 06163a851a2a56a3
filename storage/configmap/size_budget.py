"""Whether it fits: what is held, compressed, and how large that may become."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import structlog

from kubecdc.errors import Refused
from kubecdc.storage.configmap.config_map import alternatives
from kubecdc.storage.configmap.document import Packed, pack, row
from kubecdc.storage.configmap.record import Held, size
from kubecdc.storage.contracts import CheckpointDelta

log = structlog.get_logger()
INLINE = 1000  # objects that are compressed in the event loop; more would hold up every watch
NEARLY = 0.8  # of the limit
FIX = "watch fewer objects (`namespaces`, `filter.labels`), or remember less of each (`inventory`)"


class Room:
    """Of one ConfigMap. What has not changed is not compressed again."""

    def __init__(self, place: str, limit: int) -> None:
        self._place = place
        self._limit = limit
        self._parts: dict[str, tuple[int, dict[str, bytes]]] = {}  # of a revision
        self._size = 0  # bytes when last packed ...
        self._grown = 0  # ... and what came since, at most
        self._roomy = ""  # the token of a step that fits
        self._said = False

    async def pack(self, held: Mapping[str, Held]) -> Packed:
        """All of this moment. Raises Refused if it does not fit."""
        grown = self._grown
        packed = await self._packed(list(held.values()))
        self._check(packed)
        self._size, self._grown = packed.size, self._grown - grown
        return packed

    async def require(self, held: Mapping[str, Held], one: Held, delta: CheckpointDelta) -> None:
        """Raise Refused if the step would not fit. Only what might be too much is compressed to know."""
        more = size(delta)
        if delta.token == self._roomy or not more:
            return
        if self._size + self._grown + more <= self._limit:
            self._grown += more
        else:
            grown = self._grown
            inventory, bodies = {**one.inventory, **delta.upserts}, {**one.bodies, **delta.bodies}
            trial = replace(one, inventory=inventory, bodies=bodies, revision=0)
            packed = await self._packed([trial, *(other for other in held.values() if other.key != one.key)])
            self._check(packed)
            self._size, self._grown = packed.size, self._grown - grown
        self._roomy = delta.token

    def _check(self, packed: Packed) -> None:
        if packed.size > self._limit:
            raise Refused(
                f"the checkpoints of {packed.objects} objects take {packed.size >> 10} KiB, and the ConfigMap "
                f"{self._place} may take {self._limit >> 10} KiB; nothing was published that it does not know of",
                hint=_hint(),
            )
        if packed.size > NEARLY * self._limit and not self._said:
            self._said = True
            log.warning(
                "the checkpoints will soon not fit into their ConfigMap",
                configmap=self._place,
                objects=packed.objects,
                kib=packed.size >> 10,
                limit_kib=self._limit >> 10,
                fix=_hint(),
            )

    async def _packed(self, all_: list[Held]) -> Packed:
        rows = [row(held) for held in all_]
        parts: dict[str, bytes] = {}
        changed = []
        for held in all_:
            revision, known = self._parts.get(held.key, (None, {}))
            if revision == held.revision:
                parts |= known
            else:
                changed.append((held.key, held.revision, dict(held.inventory), dict(held.bodies)))

        def compress() -> list[tuple[str, int, dict[str, bytes]]]:
            return [(key, revision, pack(key, inventory, bodies)) for key, revision, inventory, bodies in changed]

        few = sum(len(inventory) for _, _, inventory, _ in changed) <= INLINE
        for key, revision, made in compress() if few else await asyncio.to_thread(compress):
            parts |= made
            if revision:
                self._parts[key] = revision, made
        return Packed(rows, parts)


def _hint() -> str:
    return f"keep the `checkpoint` of the EventBus in {alternatives()}; or {FIX}"
