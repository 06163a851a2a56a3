"""The audit: compares the inventory with a fresh list. A difference that no event explains is a lost change.

The audit only reads. It lists while events go on, waits until the position has reached the list's version, and reports
what still differs then. Its caller repairs that as a gap.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

from kubecdc.cluster.list_watch import ListWatch
from kubecdc.cluster.objects import Meta
from kubecdc.cluster.versions import older, well_formed
from kubecdc.concurrency import Limit
from kubecdc.storage.contracts import Inventoried
from kubecdc.watcher.capture.memory import Memory
from kubecdc.watcher.capture.pages import pages
from kubecdc.watcher.capture.reasons import RanBackwards

Kind = Literal["not captured", "change not captured", "deletion not captured"]
Inventory = dict[str, Inventoried]


@dataclass(frozen=True)
class Difference:
    """An object that differs between inventory and cluster. A version is "" on the side that does not have it."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    inventory: str
    cluster: str


async def audit(
    list_watch: ListWatch,
    memory: Memory,
    inventory: Callable[[], Awaitable[Inventory]],
    wait_for_position: Callable[[str], Awaitable[None]],
) -> list[Difference]:
    """Compare the inventory with the cluster. `wait_for_position` returns once the position has reached a version.

    Raises RanBackwards if the cluster is older than the inventory, ApiError, Expired, Malformed.
    """
    known = await inventory()
    suspects: dict[str, Meta] = {}
    left_out: set[tuple[str, str]] = set()
    version = ""
    async with aclosing(pages(list_watch, memory)) as listed:
        async for page in listed:
            version = page.version
            left_out |= {(item.meta.namespace, item.meta.name) for item in page.left_out}
            for change in page.items:
                meta = change.meta
                before = known.pop(meta.uid, None)
                if before is None or before.resource_version != meta.resource_version:
                    suspects[meta.uid] = meta
                if before and older(meta.resource_version, before.resource_version):
                    raise RanBackwards
    known = {uid: k for uid, k in known.items() if (k.namespace, k.name) not in left_out}
    if not (suspects or known) or not well_formed(version):
        return []
    if any(older(version, left.resource_version) for left in known.values()):
        raise RanBackwards
    await wait_for_position(version)
    now = await inventory()
    found = [_deletion(uid, now[uid]) for uid in known if uid in now and not older(version, now[uid].resource_version)]
    unknown = [meta for uid, meta in suspects.items() if uid not in now]
    found += [_change(meta, now[uid]) for uid, meta in suspects.items() if uid in now and _behind(now[uid], meta)]

    async def still_selected(meta: Meta) -> bool:
        # An object that has left the selection since the list was read needs no event any more.
        current = await list_watch.find(meta.namespace, meta.name)
        return current is not None and current.uid == meta.uid

    selected = await Limit().map(still_selected, unknown)
    found += [_addition(meta) for meta, is_selected in zip(unknown, selected, strict=True) if is_selected]
    return sorted(found, key=lambda d: (d.namespace, d.name, d.uid))


def _behind(known: Inventoried, meta: Meta) -> bool:
    return older(known.resource_version, meta.resource_version)


def _addition(meta: Meta) -> Difference:
    return Difference("not captured", meta.namespace, meta.name, meta.uid, "", meta.resource_version)


def _change(meta: Meta, known: Inventoried) -> Difference:
    versions = known.resource_version, meta.resource_version
    return Difference("change not captured", meta.namespace, meta.name, meta.uid, *versions)


def _deletion(uid: str, known: Inventoried) -> Difference:
    return Difference("deletion not captured", known.namespace, known.name, uid, known.resource_version, "")
