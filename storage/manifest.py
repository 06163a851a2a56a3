"""The EventBus manifest.

Each installed type of queue has a field of its own, and each type of checkpoint store a field in ``checkpoint``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, create_model, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from kubecdc.manifest.fields import DEFAULT_BUS, Duration, Items, Printable, Quantity, invalid
from kubecdc.manifest.model import API_VERSIONS, Manifest, Model
from kubecdc.plugins import Plugins
from kubecdc.storage.contracts.types import QueueType, StoreType
from kubecdc.storage.encryption.manifest import Encryption
from kubecdc.storage.installed import queue_types, store_types
from kubecdc.storage.redelivery import Redelivery

MISSING = ("nats", "jetstream", "jetstreamExotic", "kafka")  # well-known, refused unless a package provides them


class BusSubscription(Model):
    """A subscription for a consumer that is not a trigger of a Sensor."""

    name: Printable
    event_source_name: str
    event_name: str


class _CheckpointPlace(Model):
    """Where the checkpoint is stored: exactly one of the fields, each of which is a type of store."""

    stores: ClassVar[Mapping[str, StoreType[Any]]]

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(_written(self, self.stores)) != 1:
            *some, last = [f"`{name}`" for name in self.stores]
            raise invalid(f"must name one of {', '.join(some)} and {last}")
        return self


class _EventBusSpec(Model):
    """The fields that all types of bus share. `EventBusSpec` adds a field for each type."""

    private = True
    hints: ClassVar[Mapping[str, str]]
    queues: ClassVar[Mapping[str, QueueType[Any]]]

    retention: Duration = timedelta(hours=24)
    retention_bytes: Quantity = Field(1 << 30, ge=0)
    max_pending: int = Field(1_000_000, ge=1)
    subscriptions: Items[BusSubscription] = ()
    encryption: Encryption | None = None

    @property
    def queue_name(self) -> str:
        """The name of the type of the bus, which is the name of its field."""
        return _written(self, self.queues)[0]

    @property
    def queue_type(self) -> QueueType[Any]:
        """The type of the bus."""
        return self.queues[self.queue_name]

    @property
    def queue(self) -> Model:
        """The value of the field of the type."""
        part: Model = getattr(self, _attribute(self.queue_name))
        return part

    @property
    def store_type(self) -> StoreType[Any]:
        """The type of the checkpoint store. Only for a bus that does not hold its own checkpoint."""
        return _store(self.checkpoint)[0]

    @property
    def store(self) -> Model:
        """The value of the field of the store type, or its defaults."""
        return _store(self.checkpoint)[1]

    @property
    def takes_frequent_state(self) -> bool:
        """Whether the bus keeps state that changes with each event."""
        return self.queue_type.holds_checkpoint or self.store_type.frequent

    @property
    def elects_alone(self) -> bool:
        """Whether the bus's own election is sufficient. If not, a Lease elects by default."""
        return self.queue_type.elects_alone if self.queue_type.holds_checkpoint else self.store_type.elects_alone

    if TYPE_CHECKING:
        redelivery: Redelivery = Redelivery()
        checkpoint: _CheckpointPlace | None = None

    @field_validator("checkpoint", mode="before", check_fields=False)
    @classmethod
    def _only_with_known_type(cls, value: object, info: ValidationInfo) -> object:
        return value if _kind(cls, info) else None  # an unknown type of bus is the only problem to report

    @field_validator("checkpoint", check_fields=False)
    @classmethod
    def _allowed_place(cls, value: _CheckpointPlace | None, info: ValidationInfo) -> _CheckpointPlace | None:
        kind = _kind(cls, info)
        if kind is None:
            return value
        queue_type, queue = cls.queues[kind], info.data[_attribute(kind)]
        store_type, store = _store(value)
        if not queue_type.holds_checkpoint:
            if field := store_type.incomplete(store):
                raise invalid(f"needs `{field}`", f"write {store_type.example}")
        elif value is not None and not queue_type.same_place(queue, store):
            raise invalid(
                f"names {store_type.elsewhere}: a bus of type {kind} holds its own checkpoint, because events would be "
                "lost if only the bus were restored to an earlier state",
                "leave `checkpoint` out",
            )
        return value

    @field_validator("redelivery", check_fields=False)
    @classmethod
    def _below_the_limit(cls, value: Redelivery, info: ValidationInfo) -> Redelivery:
        kind = _kind(cls, info)
        most = cls.queues[kind].most_deliveries if kind else None
        if most is not None and value.max_deliveries == 0:
            raise invalid(
                f"has a `maxDeliveries` of 0, which means to never give up; a bus of type {kind} cannot promise that, "
                "because the service gives up by itself after a number of receptions",
                f"set it to {most} at most",
            )
        if most is not None and value.max_deliveries > most:
            raise invalid(
                f"has a `maxDeliveries` of {value.max_deliveries}; a bus of type {kind} allows {most}, because the "
                "service gives up by itself after a number of receptions, which are more than attempts",
                "lower it, or use a longer `backoff`",
            )
        return value

    @field_validator("retention")
    @classmethod
    def _bound(cls, value: timedelta) -> timedelta:
        if value < timedelta():
            raise invalid("must not be below 0")
        return value

    @model_validator(mode="after")
    def _one_type(self) -> Self:
        written = _written(self, self.queues)
        if not written:
            name, queue_type = next(iter(self.queues.items()))
            raise invalid("names no type of bus", f"add `{name}: {queue_type.example}`")
        if len(written) > 1:
            *some, last = [f"`{name}`" for name in written]
            count = {2: "two", 3: "three"}.get(len(written), str(len(written)))
            raise invalid(f"names {count} types of bus, {', '.join(some)} and {last}", "leave one of them out")
        return self


def _attribute(name: str) -> str:
    """The attribute for the field of a type. The prefix avoids conflicts with methods and other fields."""
    return f"type_{name}"


def _kind(spec: type[_EventBusSpec], info: ValidationInfo) -> str | None:
    """The type of a bus that is being validated; None if it has no valid one."""
    return next((name for name in spec.queues if info.data.get(_attribute(name))), None)


def _written(model: Model, types: Mapping[str, object]) -> list[str]:
    """The types whose fields a manifest has."""
    return [name for name in types if getattr(model, _attribute(name)) is not None]


def _store(place: _CheckpointPlace | None) -> tuple[StoreType[Any], Model]:
    if place is None:
        store_type = next(found for found in _CheckpointPlace.stores.values() if found.default)
        return store_type, store_type.model()
    (name,) = _written(place, place.stores)
    return place.stores[name], getattr(place, _attribute(name))


def _fields(types: Mapping[str, QueueType[Any]] | Mapping[str, StoreType[Any]]) -> dict[str, Any]:
    """An optional field for each type, as arguments of pydantic's `create_model`."""
    return {_attribute(name): (of.model | None, Field(None, alias=name)) for name, of in types.items()}


def _refused(plugins: Plugins[Any], what: str) -> dict[str, str]:
    return {name: f"{what} `{name}` cannot be loaded: {reason}" for name, reason in plugins.broken.items()}


def _models() -> tuple[type[_CheckpointPlace], type[_EventBusSpec]]:
    """The two models with the fields of all installed types."""
    queues, stores = queue_types(), store_types()
    own = {"checkpoint", "redelivery", *_EventBusSpec.field_types()}
    queues = Plugins({name: found for name, found in queues.types.items() if name not in own}, queues.broken)
    _CheckpointPlace.stores = stores.types
    _CheckpointPlace.type_fields = tuple(stores.types)
    _CheckpointPlace.unsupported = _refused(stores, "checkpoint store")
    place = create_model("CheckpointPlace", __base__=_CheckpointPlace, **_fields(stores.types))
    _EventBusSpec.queues = queues.types
    _EventBusSpec.type_fields = tuple(queues.types)
    (first, queue_type), *others = queues.types.items()
    example = f"`{first}: {queue_type.example}`"
    instead = f"write {example}, or {', '.join(f'`{other}`' for other, _ in others)} with its fields"
    missing = {
        name: f"EventBus type `{name}` is not supported: {instead}" for name in MISSING if name not in queues.types
    }
    _EventBusSpec.unsupported = missing | _refused(queues, "EventBus type")
    _EventBusSpec.hints = {"type": f"the type of a bus is the name of its field, as in {example}"}
    # These come last: their validators need the type of the bus, and pydantic validates in the order of fields.
    last: dict[str, Any] = {"redelivery": (Redelivery, Redelivery()), "checkpoint": (place | None, None)}
    fields = {**_fields(queues.types), **last}
    return place, create_model("EventBusSpec", __base__=_EventBusSpec, **fields)


if TYPE_CHECKING:
    CheckpointPlace = _CheckpointPlace
    EventBusSpec = _EventBusSpec
else:
    CheckpointPlace, EventBusSpec = _models()


class EventBus(Manifest):
    """The queue between EventSources and Sensors."""

    kind: Literal["EventBus"]
    spec: EventBusSpec

    @property
    def stores(self) -> Mapping[str, str]:
        """What the bus stores its data in, each with the field that says so."""
        spec = self.spec
        found = {spec.queue_type.store(spec.queue, self.name): spec.queue_name}
        if not spec.queue_type.holds_checkpoint and (store := spec.store_type.store(spec.store, self.name)):
            found.setdefault(store, "checkpoint")
        return found


def default_bus() -> EventBus:
    """The bus that is used if no manifest declares one."""
    name, queue_type = next((name, found) for name, found in queue_types().types.items() if found.default is not None)
    return EventBus.model_validate(
        {
            "apiVersion": API_VERSIONS[1],
            "kind": "EventBus",
            "metadata": {"name": DEFAULT_BUS},
            "spec": {name: queue_type.default},
        }
    )
