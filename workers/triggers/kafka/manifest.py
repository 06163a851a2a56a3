"""The ``kafka`` trigger as a manifest writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from kubecdc.manifest.fields import Items, invalid
from kubecdc.manifest.model import Model
from kubecdc.manifest.secrets import KeyRef, Tls, ValueFrom
from kubecdc.workers.sensor.parameter_manifest import Parameter, PayloadParameter

DEFAULT_TIMEOUT = 30
_TOPIC = re.compile(r"(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}")  # org.apache.kafka.common.internals.Topic
_BROKER = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
_VERSION = re.compile(r"\d+(?:\.\d+){1,3}")
_TOKENS = "it needs tokens that nothing here can get"


def _brokers(value: str) -> str:
    for broker in value.split(","):
        if not _BROKER.fullmatch(broker.strip()):
            raise invalid(f"{broker.strip()!r} is not a broker", "write it like kafka-0:9092,kafka-1:9092")
    return value


def _topic(value: str) -> str:
    if not _TOPIC.fullmatch(value):
        raise invalid(f"{value!r} is not a topic", "at most 249 letters, digits, `.`, `_` and `-`")
    return value


class Sasl(Model):
    """How the client says who it is."""

    mechanism: str = "PLAIN"
    user_secret: KeyRef
    password_secret: KeyRef

    @field_validator("mechanism")
    @classmethod
    def _known(cls, value: str) -> str:
        if value in ("OAUTHBEARER", "GSSAPI"):
            raise invalid(f"{value} is not supported: {_TOKENS}", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
        if value not in ("", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            raise invalid(f"{value!r} is not a mechanism", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
        return value or "PLAIN"


def _registry(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
        raise invalid("is not the address of a schema registry", "write it like https://registry:8081")
    if url.username is not None:
        raise invalid("has a user", "put user and password into Secrets, and name them in `auth`")
    return value.rstrip("/")


class RegistryAuth(Model):
    """User and password for HTTP basic authentication."""

    username: KeyRef | None = None
    password: KeyRef | None = None

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise invalid("needs both `username` and `password`")
        return self


class SchemaRegistry(Model):
    """A schema in a registry with the API of Confluent's: the value is written in Avro."""

    private: ClassVar[bool] = True

    url: Annotated[str, AfterValidator(_registry)]
    schema_id: int = Field(ge=1, le=2**31 - 1)
    auth: RegistryAuth = RegistryAuth()
    tls: Tls | None = None


class SecureHeader(Model):
    """A header whose value comes from a Secret or ConfigMap."""

    name: str = Field(min_length=1)
    value_from: ValueFrom


class Kafka(Model):
    """Sends a message. Without ``payload`` it is the event's data. ``timeout`` is in seconds.

    ``partition``, ``version`` and ``required_acks`` are without effect: the key decides, the client asks the brokers,
    and each message waits for all replicas in sync.
    """

    renamed: ClassVar[Mapping[str, str]] = {"brokers": "url", "bootstrapServers": "url"}

    url: Annotated[str, AfterValidator(_brokers)]
    topic: Annotated[str, AfterValidator(_topic)]
    partitioning_key: str = ""
    payload: Items[PayloadParameter] = ()
    parameters: Items[Parameter] = ()
    headers: dict[str, str] = Field(default_factory=dict)
    secure_headers: Items[SecureHeader] = ()
    compress: bool = False
    flush_frequency: int = Field(0, ge=0, le=900_000)
    tls: Tls | None = None
    sasl: Sasl | None = None
    schema_registry: SchemaRegistry | None = None
    timeout: int = Field(DEFAULT_TIMEOUT, ge=0, le=3600)
    partition: int = 0
    required_acks: Literal[-1, 0, 1] = -1
    version: str = ""

    @field_validator("timeout")
    @classmethod
    def _default(cls, value: int) -> int:
        return value or DEFAULT_TIMEOUT

    @field_validator("version")
    @classmethod
    def _version(cls, value: str) -> str:
        if value and not _VERSION.fullmatch(value):
            raise invalid(f"{value!r} is not a version", "write it like 4.1.0, or leave it out")
        return value

    @field_validator("headers")
    @classmethod
    def _named(cls, value: dict[str, str]) -> dict[str, Any]:
        if "" in value:
            raise invalid("has a header without a name")
        return value
