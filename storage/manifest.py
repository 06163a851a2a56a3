"""What all manifests share, and the EventBus.

The models are strict: an unknown field, or a number where text belongs, is an error. What is wrong is told by
`kubecdc.findings`, from the tables that each model carries: ``unsupported``, ``renamed``, ``hints``, ``ignored``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from storage import jsonpath, redis_url, units
from storage.backoff import Backoff

T = TypeVar("T")
API_VERSIONS = ("argoproj.io/v1alpha1", "kubecdc.io/v1alpha1")
ApiVersion = Literal["argoproj.io/v1alpha1", "kubecdc.io/v1alpha1"]
DEFAULT_BUS = "default"
NOT_YET = "is not supported yet"
_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(_LABEL)
_KEY = re.compile(r"(?!\.\.)[-._A-Za-z0-9]{1,253}")  # as Kubernetes checks the keys of Secrets and ConfigMaps
_DNS_SUBDOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


def invalid(message: str, hint: str = "") -> PydanticCustomError:
    """The error a validator raises: what is wrong, and the way out."""
    return PydanticCustomError("invalid", "{message}", {"message": message, "hint": hint})


class Model(BaseModel):
    """Base of every part of a manifest. Attributes are the snake_case of the manifest's camelCase fields.

    ``null`` is the same as leaving the field out, as in Kubernetes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=to_camel)

    unsupported: ClassVar[Mapping[str, str]] = {}  # known fields that are refused, and the sentence that says so
    renamed: ClassVar[Mapping[str, str]] = {}  # what a field is taken for, and the field
    hints: ClassVar[Mapping[str, str]] = {}  # fields that do not exist but are written, and what to write instead
    ignored: ClassVar[frozenset[str]] = frozenset()  # fields that are taken and have no effect

    @model_validator(mode="before")
    @classmethod
    def _leave_out(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        known = cls.field_types()
        return {k: v for k, v in raw.items() if k not in cls.ignored and not (v is None and k in known)}

    @classmethod
    def field_types(cls) -> dict[str, Any]:
        """The fields as a manifest spells them, each with its annotation."""
        return {field.alias or name: field.annotation for name, field in cls.model_fields.items()}


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise invalid("must be a duration in quotes or with a unit", "write it like 30s, 5m or 1h30m")
    try:
        return units.duration(value)
    except ValueError as e:
        raise invalid(str(e), "write it like 500ms, 30s, 5m or 1h30m") from e


def _quantity(value: object) -> object:
    try:
        return units.quantity(value) if isinstance(value, str) else value
    except ValueError as e:
        raise invalid(str(e), "write it like 500Mi, 1Gi or 1000000") from e


def _dns(value: str, pattern: re.Pattern[str], longest: int) -> str:
    if not pattern.fullmatch(value) or len(value) > longest:
        raise invalid(
            f"{value!r} is not a Kubernetes name",
            f"at most {longest} characters of a-z, 0-9 and -, with a letter or digit at both ends",
        )
    return value


def dns_label(value: str) -> str:
    """Check an RFC 1123 label: the name of a namespace or of a resource."""
    return _dns(value, _DNS_LABEL, 63)


def dns_subdomain(value: str) -> str:
    """Check an RFC 1123 subdomain: the name of most objects, and an API group."""
    return _dns(value, _DNS_SUBDOMAIN, 253)


def printable(value: str) -> str:
    """Check a name that is free in form: it ends up in log lines, subjects and keys."""
    if not value:
        raise invalid("must not be empty")
    if not value.isprintable() or value != value.strip():
        raise invalid(f"{value!r} has characters that cannot be printed, or spaces at an end")
    return value


def read_path(value: str) -> str:
    """Check a gjson path."""
    try:
        jsonpath.compile(value)
    except ValueError as e:
        raise invalid(str(e)) from e
    return value


def write_path(value: str) -> str:
    """Check an sjson path."""
    try:
        jsonpath.compile_target(value)
    except ValueError as e:
        raise invalid(str(e)) from e
    return value


def _key(key: str) -> str:
    if key == "." or not _KEY.fullmatch(key):
        raise invalid(f"{key!r} is not a key of a Secret or ConfigMap", "letters, digits, `-`, `_` and `.`")
    return key


def _bus_name(value: str) -> str:
    return dns_subdomain(value) if value else DEFAULT_BUS


Items = Annotated[tuple[T, ...], Strict(False)]  # a YAML sequence, though the models are strict otherwise
Duration = Annotated[timedelta, BeforeValidator(_duration)]
Quantity = Annotated[int, BeforeValidator(_quantity)]
DnsLabel = Annotated[str, AfterValidator(dns_label)]
DnsSubdomain = Annotated[str, AfterValidator(dns_subdomain)]
Printable = Annotated[str, AfterValidator(printable)]
ReadPath = Annotated[str, AfterValidator(read_path)]
WritePath = Annotated[str, AfterValidator(write_path)]
BusName = Annotated[str, AfterValidator(_bus_name)]


class KeyRef(Model):
    """A key of a Secret or ConfigMap; it is read from where that is mounted."""

    ignored: ClassVar[frozenset[str]] = frozenset({"optional"})  # as in Argo, what is named must be there

    name: DnsSubdomain
    key: Annotated[str, AfterValidator(_key)]


class Tls(Model):
    """How the server is verified, and the certificate that is shown to it.

    ``enabled`` alone asks for TLS with the system's authorities, which an https:// or rediss:// address has anyway.
    """

    ca_cert_secret: KeyRef | None = None
    client_cert_secret: KeyRef | None = None
    client_key_secret: KeyRef | None = None
    insecure_skip_verify: bool = False
    enabled: bool = False

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.client_cert_secret is None) != (self.client_key_secret is None):
            raise invalid("needs both `clientCertSecret` and `clientKeySecret`, or neither")
        if not (self.ca_cert_secret or self.client_cert_secret or self.insecure_skip_verify or self.enabled):
            raise invalid("says nothing", "leave it out: https:// is verified by the system's authorities")
        return self


class Metadata(Model):
    """What names the manifest. Fields that the API server adds are taken and ignored."""

    ignored: ClassVar[frozenset[str]] = frozenset({
        "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink", "ownerReferences",
        "finalizers", "deletionTimestamp", "deletionGracePeriodSeconds",
    })  # fmt: skip
    renamed: ClassVar[Mapping[str, str]] = {"generateName": "name"}

    name: DnsSubdomain
    namespace: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Manifest(Model):
    """The envelope of each kind."""

    ignored: ClassVar[frozenset[str]] = frozenset({"status"})

    api_version: ApiVersion
    metadata: Metadata

    @property
    def name(self) -> str:
        """``metadata.name``."""
        return self.metadata.name


class Sqlite(Model):
    """The embedded bus: one file, shared by the processes of one machine."""

    path: str = Field(min_length=1)


class Redis(Model):
    """A bus on Redis Streams, shared by any number of machines."""

    url: str
    username: str = ""
    password: KeyRef | None = None
    sentinel_username: str = ""
    sentinel_password: KeyRef | None = None
    tls: Tls | None = None
    partitions: int = Field(64, ge=1, le=1024)

    @field_validator("url")
    @classmethod
    def _readable(cls, value: str) -> str:
        try:
            redis_url.parse(value)
        except redis_url.BadUrl as e:
            raise invalid(str(e), e.hint) from None
        return value

    @model_validator(mode="after")
    def _meant(self) -> Self:
        url = redis_url.parse(self.url)
        for given, name, there in (
            (self.username, "username", url.username),
            (self.password, "password", url.password),
            (self.sentinel_username, "sentinelUsername", url.sentinel_username),
            (self.sentinel_password, "sentinelPassword", url.sentinel_password),
        ):
            if given and there:
                raise invalid(f"says the {name} twice", f"leave it out of `url`, or leave `{name}` out")
            if given and name.startswith("sentinel") and url.kind != "sentinel":
                raise invalid(f"has a `{name}`, and its `url` names no Sentinels", redis_url.EXAMPLES["sentinel"])
        if self.tls and url.tls is None:
            raise invalid("has `tls`, and its `url` does not ask for TLS", "write rediss instead of redis")
        return self


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
