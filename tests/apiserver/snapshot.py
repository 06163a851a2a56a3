"""What a cluster's etcd holds at a moment: a backup that can be put back."""

from __future__ import annotations

import msgspec

from tests.apiserver.changes import Stored
from tests.apiserver.resources import CRD, Kinds, kind_of
from tests.apiserver.store import Store


class Kept(msgspec.Struct, frozen=True):
    """One object, under the group, version and plural of its kind."""

    kind: tuple[str, str, str]
    object: msgspec.Raw


class Snapshot(msgspec.Struct, frozen=True):
    """The counter and every object. As JSON it goes to and comes from another process."""

    version: int
    compacted: int
    objects: list[Kept]


def take(store: Store) -> Snapshot:
    """The state of now; later changes do not touch it. Definitions come first: they make the kinds of the others."""
    collections = sorted(store.collections(), key=lambda c: c.kind != CRD)
    kept = [
        Kept((c.kind.group, c.kind.version, c.kind.plural), msgspec.Raw(stored.raw))
        for c in collections
        for stored in c.now()
    ]
    return Snapshot(store.version, store.compacted_in_etcd, kept)


def put_back(snapshot: Snapshot, store: Store, kinds: Kinds) -> None:
    """Make the store and the kinds what they were. Whoever watched the store must have been ended."""
    kinds.reset()
    store.reset(snapshot.version, snapshot.compacted)
    for kind in kinds.all():
        store.collection(kind)
    for kept in snapshot.objects:
        found = kinds.find(*kept.kind)
        if found is None:
            raise ValueError(f"an object of an unknown kind: {kept.kind}")
        body = msgspec.json.decode(kept.object)
        metadata = body["metadata"]
        key = found.key(metadata.get("namespace", ""), metadata["name"])
        store.collection(found).place(Stored(key, int(metadata["resourceVersion"]), body))
        if found == CRD:
            declared = kind_of(body)
            kinds.declare(declared)
            store.collection(declared)
