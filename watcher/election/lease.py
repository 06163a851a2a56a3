"""The Lease object (coordination.k8s.io/v1), and the client that reads and writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from kubecdc.cluster import named_object
from kubecdc.cluster.connection import Cluster
from kubecdc.cluster.errors import Malformed
from kubecdc.cluster.named_object import NamedObject
from kubecdc.cluster.objects import UNREADABLE
from kubecdc.cluster.resource import Resource

EPOCH = "kubecdc.io/epoch"
BUS = "kubecdc.io/bus"
VERBS = named_object.VERBS  # needed for leader election
ROLE = "kubecdc-leases"
_EPOCH = re.compile(r"[0-9]{1,18}", re.ASCII)


class _Meta(msgspec.Struct, rename="camel"):
    uid: str = ""
    annotations: dict[str, str] | None = None


class _Spec(msgspec.Struct, rename="camel", frozen=True):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class _Lease(msgspec.Struct):
    metadata: _Meta
    spec: _Spec = msgspec.field(default_factory=_Spec)


@dataclass(frozen=True)
class Lease:
    """A Lease as the server has it. ``document`` is all of it: unknown fields are written back unchanged."""

    document: Mapping[str, Any]
    record: object  # uid and what a holder writes: each renewal makes another, a change of metadata does not
    holder: str  # "" = nobody
    duration: int | None  # seconds
    acquired: str
    renewed: str
    transitions: int
    epoch: int  # 0 if there is none
    bus: str  # that it elects for; "" if none is named


def decode(text: bytes) -> Lease:
    """The Lease in a response. Raises Malformed."""
    try:
        document = msgspec.json.decode(text, type=dict[str, Any])
        lease = msgspec.convert(document, _Lease)
    except UNREADABLE as e:
        raise Malformed(f"the API server's answer is not a Lease: {e}") from e
    meta, spec = lease.metadata, lease.spec
    annotations = meta.annotations or {}
    epoch = annotations.get(EPOCH, "")
    return Lease(
        document,
        (meta.uid, spec),
        spec.holder_identity or "",
        spec.lease_duration_seconds,
        spec.acquire_time or "",
        spec.renew_time or "",
        spec.lease_transitions or 0,
        int(epoch) if _EPOCH.fullmatch(epoch) else 0,
        annotations.get(BUS, ""),
    )


def micro_time(time: datetime) -> str:
    """Kubernetes' MicroTime: ``2026-01-02T03:04:05.000000Z``."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True, kw_only=True)
class Holding:
    """What a candidate writes into a Lease. ``duration`` in seconds, times as MicroTime; ``holder`` "" = nobody.

    ``bus`` is what it elects for, for other installations to see; "" leaves what is written.
    """

    holder: str
    duration: int
    acquired: str
    renewed: str
    transitions: int
    epoch: int
    bus: str = ""

    def document(self, before: Lease | None) -> dict[str, Any]:
        """The document to write over ``before``, or to create. The spec is replaced whole, as client-go does."""
        metadata = dict(before.document["metadata"]) if before else {}
        named = {BUS: self.bus} if self.bus else {}
        metadata["annotations"] = {**(metadata.get("annotations") or {}), EPOCH: str(self.epoch), **named}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": self.holder,
                "leaseDurationSeconds": self.duration,
                "acquireTime": self.acquired,
                "renewTime": self.renewed,
                "leaseTransitions": self.transitions,
            },
        }


class LeaseClient(Protocol):
    """Reads and writes one Lease on a server with optimistic concurrency.

    No call takes longer than ``seconds``. All raise ApiError (409 if the Lease has changed since it was read) and
    Malformed.
    """

    async def get(self, *, seconds: float) -> Lease | None:
        """The Lease; None if there is none."""
        ...

    async def create(self, document: dict[str, Any], *, seconds: float) -> Lease: ...

    async def update(self, document: dict[str, Any], *, seconds: float) -> Lease:
        """Replace the Lease if its uid and resourceVersion are still those of the document; 404 or 409 if not."""
        ...


class ClusterLeaseClient:
    """One Lease of a Kubernetes cluster."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._object = NamedObject(
            cluster,
            resource(namespace),
            name,
            what="Lease",
            role=ROLE,
            elsewhere="name another one with --lease-namespace",
        )

    async def get(self, *, seconds: float) -> Lease | None:
        text = await self._object.get(seconds=seconds)
        return None if text is None else decode(text)

    async def create(self, document: dict[str, Any], *, seconds: float) -> Lease:
        return decode(await self._object.create(document, seconds=seconds))

    async def update(self, document: dict[str, Any], *, seconds: float) -> Lease:
        return decode(await self._object.replace(document, seconds=seconds))


def resource(namespace: str) -> Resource:
    """The Leases of a namespace."""
    return Resource("coordination.k8s.io", "v1", "leases", namespace)


def grant(namespace: str) -> str:
    """The kubectl commands that grant leader election to a service account."""
    return named_object.grant(resource(namespace), ROLE)
