"""Types of queues and of checkpoint stores: what a package provides under an entry point.

The name of the entry point is the name of the field in the EventBus manifest. The module of a type and the model of its
part of the manifest are imported for every command, so they import no SDK: `open` does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

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
    """What an EventBus says whatever its type is: its name, and the fields beside the type's own.

    ``ack_wait`` is how long a claim holds; ``retention`` and ``retention_bytes`` (of event bodies) bound the settled
    events that are kept for replays; ``max_pending`` is the backlog of a subscription at which commits are refused.
    """

    name: str
    ack_wait: timedelta = timedelta(seconds=30)
    retention: timedelta = timedelta(hours=24)
    retention_bytes: int = 1 << 30
    max_pending: int = 1_000_000


@dataclass(frozen=True)
class ClusterAccess:
    """The way to the Kubernetes cluster of this command. ``namespace`` is the pod's own, or ``default``.

    ``connect`` makes a `Cluster` that is still to be entered. Raises UsageError where no cluster is configured.
    """

    connect: Callable[[], Cluster]
    namespace: str = "default"


@dataclass(frozen=True)
class Opening:
    """Who opens a bus, and what for.

    ``holder`` names this process in logs. Without ``create``, what does not exist is a UsageError. ``mounts`` is where
    Secrets are mounted. ``lead`` is for an elector that has no rule of its own for how long a lead lasts.
    """

    holder: str
    cluster: ClusterAccess
    create: bool = True
    mounts: Mounts = field(default_factory=Mounts)
    lead: LeadTimes = field(default_factory=LeadTimes)


class Store(Protocol):
    """An open checkpoint store, and what else it can give to the bus."""

    @property
    def checkpoints(self) -> CheckpointStore: ...

    @property
    def state(self) -> StateStore | None:
        """Values that workers share; None if the store keeps none."""
        ...

    @property
    def elector(self) -> Elector | None:
        """Its own election; None if it has none, so that a Lease has to elect."""
        ...

    async def close(self) -> None:
        """Write what waits to be written, and give back what is open."""
        ...


def _require_model(found: type[QueueType[Any]] | type[StoreType[Any]]) -> None:
    """Raise TypeError for what would break every manifest, so that only those that name the type are refused."""
    model = getattr(found, "model", None)
    if not (isinstance(model, type) and issubclass(model, Model)):
        raise TypeError(f"its `model` is not a class that extends {Model.__module__}.{Model.__qualname__}")
    if not isinstance(getattr(found, "example", None), str):
        raise TypeError("it has no `example`")


class QueueType(ABC, Generic[M]):
    """A type of EventBus."""

    model: ClassVar[type[Model]]
    """Its part of the manifest."""
    example: ClassVar[str]
    """A value of its field, for hints: ``{path: ./kubecdc.db}``."""
    holds_checkpoint: ClassVar[bool] = False
    """Whether checkpoint, state and election are in the queue itself; then `open` returns a `Bus`.

    A queue that may come back older than it was has to: with the position elsewhere, the events that it lost would
    never be read again.
    """
    elects_alone: ClassVar[bool] = False
    """Whether its own election is enough by default. Else a Lease elects, unless an option says otherwise.

    Only for types with ``holds_checkpoint``.
    """
    default: ClassVar[Mapping[str, Any] | None] = None
    """Its part of the manifest where no EventBus is declared at all. One of the installed types has it."""

    def __init__(self) -> None:
        _require_model(type(self))

    @abstractmethod
    def place(self, spec: M) -> str:
        """Where the queue is, for people: an absolute path, or a URL without secrets."""

    def same_place(self, spec: M, store: Model) -> bool:
        """Whether a ``checkpoint`` of the manifest names this very queue. Only for types with ``holds_checkpoint``."""
        return False

    @abstractmethod
    async def open(self, spec: M, settings: BusSettings, opening: Opening) -> Queue:
        """Open the queue. Raises UsageError, Refused; Unavailable: try again later."""


class StoreType(ABC, Generic[M]):
    """A type of checkpoint store."""

    model: ClassVar[type[Model]]
    """Its part of the manifest. A field that only a store of its own needs is optional: see `incomplete`."""
    example: ClassVar[str]
    """A value of its field, for hints."""
    elsewhere: ClassVar[str]
    """What it is beside a bus that must hold its own checkpoint: "another file than the bus"."""
    default: ClassVar[bool] = False
    """Whether a bus that names no store gets this one. One of the installed types has it; its model has no required
    field."""
    elects_alone: ClassVar[bool] = False
    """As `QueueType.elects_alone`, for buses whose checkpoint is here."""

    def __init__(self) -> None:
        _require_model(type(self))

    def incomplete(self, spec: M) -> str:
        """The name of the field without which the store cannot be opened; "" if nothing is missing."""
        return ""

    @abstractmethod
    async def open(self, spec: M, bus: str, opening: Opening) -> Store:
        """Open the store for the bus of that name. Raises UsageError, Refused; Unavailable: try again later."""
