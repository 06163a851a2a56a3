"""What survives the server's process: objects, counter, kinds, ledger; and their file."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterable
from pathlib import Path

from tests.apiserver.bodies import Body
from tests.apiserver.changes import Change, Stored
from tests.apiserver.journal import Journal, Record, read_journal
from tests.apiserver.ledger import Ledger
from tests.apiserver.namespaces import FROM_THE_START, active, named, namespace
from tests.apiserver.objects import Registry, established
from tests.apiserver.resources import BUILT_IN, CRD, LEASE, NAMESPACE, Kinds, kind_of
from tests.apiserver.snapshot import Snapshot, put_back, take
from tests.apiserver.store import Store

_HOLDER = "apiserver-simulated"
"""The name of the server's own Lease."""


class State:
    """A cluster as etcd has it. ``definitions`` and ``namespaces`` exist from the start; ``uid`` is that of
    kube-system; ``data`` a file that keeps everything."""

    def __init__(
        self,
        store: Store,
        *,
        definitions: Iterable[Body],
        namespaces: Iterable[str],
        uid: str | None,
        data: Path | None,
        managed_fields: bool,
    ) -> None:
        self.store = store
        self.kinds = Kinds(BUILT_IN)
        self.ledger = Ledger()
        self.registry = Registry(store, managed_fields=managed_fields)
        self._definitions, self._namespaces = list(definitions), list(namespaces)
        self._journal: Journal | None = None
        store.applied += [self.ledger.add, self._definition_changed]
        for kind in BUILT_IN:
            store.collection(kind)
        if data:
            for record in read_journal(data):
                self._replay(record)
            self._journal = store.journal = Journal(data)
        if store.version == 1:
            self._populate(uid or str(uuid.uuid4()))
            store.forget_watches()
        else:
            self.started()

    @property
    def uid(self) -> str:
        """The uid of kube-system: the identity of the cluster."""
        stored = self.store.get(NAMESPACE, "kube-system")
        return stored.uid if stored else ""

    def started(self) -> None:
        """The server has been started on what is stored: it renews its Lease, and its watch caches begin then."""
        held = self.store.get(LEASE, f"kube-system/{_HOLDER}")
        metadata = {"name": _HOLDER, "namespace": "kube-system", **({"uid": held.uid} if held else {})}
        self.registry.put_as_is(
            LEASE,
            {
                "apiVersion": LEASE.api_version,
                "kind": LEASE.kind,
                "metadata": metadata,
                "spec": {"holderIdentity": f"{_HOLDER}_{uuid.uuid4()}", "leaseDurationSeconds": 3600},
            },
        )
        self.store.forget_watches()

    def close(self) -> None:
        if self._journal:
            self._journal.close()
            self._journal = self.store.journal = None

    def _replay(self, record: Record | Snapshot | int) -> None:
        store = self.store
        if isinstance(record, int):
            store.compacted_in_etcd = record
        elif isinstance(record, Snapshot):
            self.put_back(record)
        else:
            kind = self.kinds.find(*record.kind)
            if kind is None:
                raise ValueError(f"the data file has objects of an unknown kind: {record.kind}")
            metadata = record.object["metadata"]
            key = kind.key(metadata.get("namespace", ""), metadata["name"])
            stored = Stored(key, int(metadata["resourceVersion"]), record.object)
            store.apply(Change(kind, record.type, stored, store.get(kind, key), store.clock()))

    def _populate(self, uid: str) -> None:
        """What every cluster has, and the definitions."""
        for name in (*FROM_THE_START, *self._namespaces):
            body = namespace(name, **({"uid": uid} if name == "kube-system" else {}))
            named(body)
            active(body)
            self.registry.put_as_is(NAMESPACE, body)
        for crd in self._definitions:
            body = copy.deepcopy(crd)
            established(body)
            self.registry.put_as_is(CRD, body)

    def _definition_changed(self, change: Change) -> None:
        if change.kind != CRD:
            return
        kind = kind_of(change.current.body())
        if change.type == "DELETED":
            self.kinds.remove(kind)
            self.store.drop(kind)
        else:
            self.kinds.declare(kind)
            self.store.collection(kind)

    def take(self) -> Snapshot:
        """A backup."""
        return take(self.store)

    def put_back(self, snapshot: Snapshot) -> None:
        """Become what a backup says, the counter included. Watches must have been ended before."""
        if self._journal:
            self._journal.restore(snapshot)
        put_back(snapshot, self.store, self.kinds)
        self.ledger.timeline += 1

    def begin_anew(self, uid: str | None = None) -> None:
        """Become another cluster: empty, with a counter and an identity of its own."""
        self.put_back(Snapshot(1, 0, []))
        self._populate(uid or str(uuid.uuid4()))
