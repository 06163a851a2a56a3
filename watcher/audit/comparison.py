"""The audit: the inventory held against a fresh list. What no event explains was lost, and is repaired as a gap.

It only looks: the list is read while events go on, then the position is awaited to pass the list's version, and only
what is still unexplained then is a difference.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from kubecdc.cluster.list_watch import Api
from kubecdc.cluster.objects import Meta
from kubecdc.cluster.versions import older, well_formed
from kubecdc.storage.contracts import Inventoried
from kubecdc.watcher.capture.relist import RanBackwards, pages

Kind = Literal["not captured", "change not captured", "deletion not captured"]
Inventory = dict[str, Inventoried]
LOOKS = 16  # objects looked up at a time


@dataclass(frozen=True)
class Difference:
    """An object of which the inventory knows other than the cluster; a version is "" where it is not known at all."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    inventory: str
    cluster: str


async def audit(
    api: Api, inventory: Callable[[], Awaitable[Inventory]], passed: Callable[[str], Awaitable[None]]
) -> list[Difference]:
    """Compare the inventory with the cluster. `passed` returns once the position has reached a version.

    Raises RanBackwards if the cluster is older than the inventory, ApiError, Expired, Malformed.
    """
    known = await inventory()
    suspects: dict[str, Meta] = {}
    version = ""
    async for page in pages(api):
        version = page.version
        for change in page.items:
            meta = change.meta
            before = known.pop(meta.uid, None)
            if before is None or before.resource_version != meta.resource_version:
                suspects[meta.uid] = meta
            if before and older(meta.resource_version, before.resource_version):
                raise RanBackwards
    if not (suspects or known) or not well_formed(version):
        return []
    if any(older(version, left.resource_version) for left in known.values()):
        raise RanBackwards
    await passed(version)
    now = await inventory()
    found = [_deletion(uid, now[uid]) for uid in known if uid in now and not older(version, now[uid].resource_version)]
    unknown = [meta for uid, meta in suspects.items() if uid not in now]
    found += [_change(meta, now[uid]) for uid, meta in suspects.items() if uid in now and _behind(now[uid], meta)]
    limit = asyncio.Semaphore(LOOKS)
    there = await asyncio.gather(*(_still_selected(api, meta, limit) for meta in unknown))
    found += [_addition(meta) for meta, is_there in zip(unknown, there, strict=True) if is_there]
    return sorted(found, key=lambda d: (d.namespace, d.name, d.uid))


async def _still_selected(api: Api, meta: Meta, limit: asyncio.Semaphore) -> bool:
    """Whether the object is in the selection now: one that left since the list was read needs no event any more."""
    async with limit:
        found = await api.find(meta.namespace, meta.name)
    return found is not None and found.uid == meta.uid


def _behind(known: Inventoried, meta: Meta) -> bool:
    return older(known.resource_version, meta.resource_version)


def _addition(meta: Meta) -> Difference:
    return Difference("not captured", meta.namespace, meta.name, meta.uid, "", meta.resource_version)


def _change(meta: Meta, known: Inventoried) -> Difference:
    versions = known.resource_version, meta.resource_version
    return Difference("change not captured", meta.namespace, meta.name, meta.uid, *versions)


def _deletion(uid: str, known: Inventoried) -> Difference:
    return Difference("deletion not captured", known.namespace, known.name, uid, known.resource_version, "")
