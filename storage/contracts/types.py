"""The base classes for types of queues and checkpoint stores, which packages provide as entry points.

The name of the entry point is the name of the field in the EventBus manifest. Every command imports the module of each
type and the model of its field, so these must not import an SDK. `open` may.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from kubecdc.cluster.access_rule import AccessRule
from kubecdc.cluster.keys import Keys
from kubecdc.cluster.shared import SharedCluster
from kubecdc.manifest.model import Model
from kubecdc.manifest.mounts import Mounts
from kubecdc.storage.contracts.bus import Queue
from kubecdc.storage.contracts.checkpoints import CheckpointStore
from kubecdc.storage.contracts.leadership import Elector, LeadTimes
from kubecdc.storage.contracts.state import StateStore

if TYPE_CHECKING:
    from kubecdc.cluster.connection import Cluster

QUEUES, STORES = "kubecdc.queues", "kubecdc.stores"  # the groups of entry points
M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class BusSettings:
    """The name of an EventBus, and the fields that all types share.

    ``ack_wait`` is how long a claim is valid. ``retention`` and ``retention_bytes`` (of event bodies) limit the settled
    events that are kept for replays. ``max_pending`` is the backlog of a subscription at which commits are refused.
    """

    name: str
    ack_wait: timedelta = timedelta(seconds=30)
    retention: timedelta = timedelta(hours=24)
    retention_bytes: int = 1 << 30
    max_pending: int = 1_000_000


@dataclass(frozen=True)
class ClusterAccess:
    """Access to the Kubernetes cluster. ``namespace`` is the pod's own, or ``default``; ``naming`` names another one.

    ``connect`` returns a `Cluster`, an asynchronous context manager that is not entered yet. It raises UsageError if no
    cluster is configured.
    """

    connect: Callable[[], Cluster]
    namespace: str = "default"
    naming: str = "POD_NAMESPACE"

    def shared(self) -> SharedCluster:
        """A connection for all who need one."""
        return SharedCluster(self.connect, self.namespace, self.naming)


@dataclass(frozen=True)
class Opening:
    """The settings of the process that opens a bus.

    ``holder`` names this process in logs. Without ``create``, a bus that does not exist is a UsageError. ``mounts`` is
    where Secrets are mounted; `opened` makes of it ``keys``, which reads them. ``lead`` has the durations for an
    elector that does not define its own.
    """

    holder: str
    cluster: ClusterAccess
    create: bool = True
    mounts: Mounts = field(default_factory=Mounts)
    keys: Keys = field(default_factory=Keys)
    lead: LeadTimes = field(default_factory=LeadTimes)


class Store(Protocol):
    """An open checkpoint store, and optionally the state and the election of the bus."""

    @property
    def checkpoints(self) -> CheckpointStore: ...

    @property
    def state(self) -> StateStore | None:
        """The state that triggers share between workers. None if the store does not support it."""
        ...

    @property
    def elector(self) -> Elector | None:
        """The store's own election. None if it has none: then a Lease is required."""
        ...

    async def close(self) -> None:
        """Write pending changes, and release all resources."""
        ...


def _require_model(found: type[QueueType[Any]] | type[StoreType[Any]]) -> None:
    """Raise TypeError for a type that would break every manifest, so that only manifests that use it are refused."""
    model = getattr(found, "model", None)
    if not (isinstance(model, type) and issubclass(model, Model)):
        raise TypeError(f"its `model` is not a class that extends {Model.__module__}.{Model.__qualname__}")
    if not isinstance(getattr(found, "example", None), str):
        raise TypeError("it has no `example`")


class QueueType(ABC, Generic[M]):
    """A type of EventBus."""

    model: ClassVar[type[Model]]
    """The model of its field in the manifest."""
    example: ClassVar[str]
    """An example value of its field, for hints: ``{path: ./kubecdc.db}``."""
    holds_checkpoint: ClassVar[bool] = False
    """Whether the queue itself has checkpoints, state and election. If so, `open` returns a `Bus`.

    Required for a queue that may be restored to an earlier state: with the position elsewhere, the events that the
    queue lost would never be read again.
    """
    elects_alone: ClassVar[bool] = False
    """Whether its own election is sufficient by default. If not, a Lease elects, unless an option disables it.

    Only for types with ``holds_checkpoint``.
    """
    uses_state: ClassVar[bool] = False
    """Whether its subscriptions keep counts in the state of the bus (`Queue.subscription`), so that workers need access
    to the checkpoint store."""
    most_deliveries: ClassVar[int | None] = None
    """The greatest ``maxDeliveries``, where the queue has a limit of its own for how often it hands a message out. That
    limit has to be far above: receptions are not attempts, and more frequent. None if there is no limit."""
    default: ClassVar[Mapping[str, Any] | None] = None
    """The value of its field if no EventBus is declared. Exactly one of the installed types has a default."""

    def __init__(self) -> None:
        _require_model(type(self))

    @abstractmethod
    def place(self, spec: M) -> str:
        """The location of the queue, for logs: an absolute path, or a URL without secrets."""

    def store(self, spec: M, bus: str) -> str:
        """What the bus of that name stores its data in. Manifests in which two buses have the same are refused.

        Override it where the name of the bus keeps buses apart in one place.
        """
        return self.place(spec)

    def same_place(self, spec: M, store: Model) -> bool:
        """Whether ``checkpoint`` in the manifest refers to this queue. Only for types with ``holds_checkpoint``."""
        return False

    @abstractmethod
    async def open(self, spec: M, settings: BusSettings, opening: Opening) -> Queue:
        """Open the queue. Raises UsageError, Refused, and Unavailable if a later attempt may succeed."""


class StoreType(ABC, Generic[M]):
    """A type of checkpoint store."""

    model: ClassVar[type[Model]]
    """The model of its field in the manifest. Fields only for a separate store are optional: see `incomplete`."""
    example: ClassVar[str]
    """An example value of its field, for hints."""
    elsewhere: ClassVar[str]
    """Its description in the error for a bus that must hold its own checkpoint: "another file than the bus"."""
    frequent: ClassVar[bool] = False
    """Whether its state takes a change for each event, as `StateStore.frequent`: `conditions` of triggers need that."""
    default: ClassVar[bool] = False
    """Whether it is used if the manifest names no store. Exactly one installed type is the default; its model has no
    required field."""
    elects_alone: ClassVar[bool] = False
    """As `QueueType.elects_alone`, for buses with their checkpoint in this store."""

    def __init__(self) -> None:
        _require_model(type(self))

    def incomplete(self, spec: M) -> str:
        """The name of a missing field that is required to open the store, or "" if none is missing."""
        return ""

    def store(self, spec: M, bus: str) -> str:
        """As `QueueType.store`; "" if it is always another one for each bus."""
        return ""

    def rules(self, spec: M, bus: str, namespace: str, *, state: bool) -> Sequence[AccessRule]:
        """The permissions in the cluster that are needed for the checkpoints of the bus, or else for its ``state``.

        ``namespace`` is that of the pod. `kubecdc validate --cluster` asks for them.
        """
        return ()

    @abstractmethod
    async def open(self, spec: M, bus: str, opening: Opening) -> Store:
        """Open the store for the bus named ``bus``.

        Raises UsageError, Refused, and Unavailable if a later attempt may succeed.
        """
