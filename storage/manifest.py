"""The EventBus: what a bus of any type is told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from kubecdc.backoff import Backoff
from kubecdc.manifest.fields import DEFAULT_BUS, DnsLabel, DnsSubdomain, Duration, Items, Printable, Quantity, invalid
from kubecdc.manifest.model import API_VERSIONS, NOT_YET, Manifest, Model
from kubecdc.storage.redis.manifest import Redis
from kubecdc.storage.sqlite.manifest import Sqlite


class RedeliveryBackoff(Model):
    """The pause before the next delivery of what a trigger could not handle."""

    duration: Duration = timedelta(seconds=1)
    factor: float = Field(2.0, ge=1, allow_inf_nan=False)
    cap: Duration = timedelta(minutes=5)
    jitter: float = Field(0.2, ge=0, le=1)

    @field_validator("duration")
    @classmethod
    def _positive(cls, value: timedelta) -> timedelta:
        if value <= timedelta():
            raise invalid("must be above 0")
        return value

    @field_validator("cap")
    @classmethod
    def _above_duration(cls, value: timedelta, info: ValidationInfo) -> timedelta:
        if value < info.data.get("duration", value):
            raise invalid("must not be below `duration`")
        return value

    def schedule(self) -> Backoff:
        """The same as a value to compute with."""
        return Backoff(self.duration.total_seconds(), self.factor, self.cap.total_seconds(), self.jitter)


class Redelivery(Model):
    """When an event is delivered again: a claim lapses after ``ack_wait`` without a sign of life."""

    ack_wait: Duration = timedelta(seconds=30)
    max_deliveries: int = Field(20, ge=1)
    backoff: RedeliveryBackoff = RedeliveryBackoff()

    @field_validator("ack_wait")
    @classmethod
    def _bound(cls, value: timedelta) -> timedelta:
        if value < timedelta(seconds=1):
            raise invalid("must be at least 1s")
        return value


class BusSubscription(Model):
    """A consumer of your own, beside the Sensors' triggers."""

    name: Printable
    event_source_name: str
    event_name: str


class CheckpointSqlite(Model):
    path: str | None = None


class CheckpointRedis(Model):
    url: str | None = None


class CheckpointConfigMap(Model):
    name: DnsSubdomain = "kubecdc-checkpoint"
    namespace: DnsLabel | None = None


class CheckpointPlace(Model):
    """Where the checkpoint lives. A bus that can come back older than it was holds its own."""

    sqlite: CheckpointSqlite | None = None
    redis: CheckpointRedis | None = None
    config_map: CheckpointConfigMap | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if [self.sqlite, self.redis, self.config_map].count(None) != 2:
            raise invalid("must name one of `sqlite`, `redis` and `configMap`")
        return self


class EventBusSpec(Model):
    unsupported: ClassVar[Mapping[str, str]] = {
        **{kind: f"EventBus type `{kind}` {NOT_YET}" for kind in ("rq", "sqs", "pubsub")},
        **{
            kind: f"EventBus type `{kind}` is not supported"
            for kind in ("nats", "jetstream", "jetstreamExotic", "kafka")
        },
    }
    hints: ClassVar[Mapping[str, str]] = {
        "type": "the type of a bus is the name of its field, as in `sqlite: {path: …}`"
    }

    sqlite: Sqlite | None = None
    redis: Redis | None = None
    checkpoint: CheckpointPlace | None = None
    redelivery: Redelivery = Redelivery()
    retention: Duration = timedelta(hours=24)
    retention_bytes: Quantity = Field(1 << 30, ge=0)
    max_pending: int = Field(1_000_000, ge=1)
    subscriptions: Items[BusSubscription] = ()

    @field_validator("checkpoint", mode="before")
    @classmethod
    def _of_ours(cls, value: object, info: ValidationInfo) -> object:
        ours = info.data.get("sqlite") or info.data.get("redis")
        return value if ours else None  # another type of bus is refused for that alone

    @field_validator("checkpoint")
    @classmethod
    def _same_place(cls, value: CheckpointPlace | None, info: ValidationInfo) -> CheckpointPlace | None:
        sqlite, redis = info.data.get("sqlite"), info.data.get("redis")
        other = ""
        if value and value.sqlite and (not sqlite or value.sqlite.path not in {None, sqlite.path}):
            other = "another file than the bus"
        if value and value.redis and (not redis or value.redis.url not in {None, redis.url}):
            other = "another Redis than the bus"
        if value and value.config_map:
            other = "a ConfigMap"
        if other:
            kind = "sqlite" if sqlite else "redis"
            raise invalid(
                f"names {other}: a {kind} bus holds its own checkpoint, for it may come back older than it was, "
                "and with the position elsewhere the events it lacks would be lost unseen",
                "leave `checkpoint` out",
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
        if self.sqlite is None and self.redis is None:
            raise invalid("names no type of bus", "add `sqlite: {path: ./kubecdc.db}`")
        if self.sqlite is not None and self.redis is not None:
            raise invalid("names two types of bus, `sqlite` and `redis`", "leave one of them out")
        return self


class EventBus(Manifest):
    """The queue between EventSources and Sensors."""

    kind: Literal["EventBus"]
    spec: EventBusSpec


def default_bus() -> EventBus:
    """The bus when no manifest declares one: ``./kubecdc.db``."""
    return EventBus.model_validate(
        {
            "apiVersion": API_VERSIONS[1],
            "kind": "EventBus",
            "metadata": {"name": DEFAULT_BUS},
            "spec": {"sqlite": {"path": "./kubecdc.db"}},
        }
    )
