"""The EventSource: which changes of which resources become events. Argo Events' ``resource`` source, and extensions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal, Self

import re2
from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from kubecdc.manifest.fields import (
    DEFAULT_BUS,
    BusName,
    DnsLabel,
    Duration,
    Items,
    Printable,
    ReadPath,
    dns_label,
    dns_subdomain,
    invalid,
)
from kubecdc.manifest.model import Manifest, Model
from kubecdc.storage.contracts.event import Action

LabelOperation = Literal["=", "==", "!=", "in", "notin", "exists", "!", "gt", "lt"]
FieldOperation = Literal["=", "==", "!="]
_LABEL_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def _label_key(key: str) -> str:
    prefix, slash, name = key.rpartition("/")
    if slash:
        dns_subdomain(prefix)
    if not _LABEL_NAME.fullmatch(name):
        raise invalid(f"{key!r} is not a label key", "such as `app` or `app.kubernetes.io/name`")
    return key


def _label_value(value: str) -> str:
    if value and not _LABEL_NAME.fullmatch(value):
        raise invalid(f"{value!r} is not a label value")
    return value


def _time(value: object) -> object:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise invalid(f"{value!r} is not an RFC 3339 time", "write it like 2026-01-31T12:00:00Z")
    try:
        return datetime.fromisoformat(value)
    except ValueError as e:
        raise invalid(f"{value!r} is not a time: {e}") from e


def _off(value: object) -> object:
    return timedelta() if value == 0 and not isinstance(value, bool) else value


class LabelSelector(Model):
    """A condition on a label; the API server evaluates it."""

    key: Annotated[str, AfterValidator(_label_key)]
    operation: LabelOperation = "=="
    value: str = Field("", validate_default=True)

    @property
    def values(self) -> tuple[str, ...]:
        """The values of ``in`` and ``notin``: split at commas, not trimmed, as Argo does."""
        return tuple(self.value.split(","))

    @field_validator("value")
    @classmethod
    def _fits(cls, value: str, info: ValidationInfo) -> str:
        operation = info.data.get("operation", "==")
        if operation in ("exists", "!"):
            if value:
                raise invalid(f"must be empty with operation `{operation}`", "leave it out, or use == or !=")
            return value
        if operation in ("gt", "lt") and not _INTEGER.fullmatch(value):
            raise invalid(f"must be an integer with operation `{operation}`, not {value!r}")
        for part in value.split(",") if operation in ("in", "notin") else [value]:
            if part and not _LABEL_NAME.fullmatch(part):
                raise invalid(f"{part!r} is not a label value", _label_value_hint(part, operation))
        return value


def _label_value_hint(value: str, operation: str) -> str:
    if value != value.strip():
        return "values are split at commas and not trimmed: leave out the spaces"
    if "," in value and operation not in ("in", "notin"):
        return "several values need operation `in` or `notin`"
    return "at most 63 characters of a-z, A-Z, 0-9, -, _ and ., with a letter or digit at both ends"


class FieldSelector(Model):
    """A condition on a field of the object; the watcher evaluates it.

    ``key`` is a gjson path in the object; ``value`` an RE2 expression, not anchored.
    """

    key: ReadPath
    operation: FieldOperation = "=="
    value: str

    @field_validator("value")
    @classmethod
    def _compiles(cls, value: str) -> str:
        options = re2.Options()
        options.log_errors = False
        try:
            re2.compile(value, options)
        except re2.error as e:
            reason = e.args[0].decode() if isinstance(e.args[0], bytes) else e.args[0]
            raise invalid(
                f"{value!r} is not a regular expression: {reason}",
                "the syntax is RE2: no lookaround, no backreferences",
            ) from e
        return value


class Filter(Model):
    """What a change must pass, all of it, to become an event."""

    hints: ClassVar[Mapping[str, str]] = {"expression": "Argo has it for other sources only: use `fields`"}

    prefix: str = ""
    labels: Items[LabelSelector] = ()
    fields: Items[FieldSelector] = ()
    created_by: Annotated[datetime, BeforeValidator(_time)] | None = None
    after_start: bool = False


LabelKey = Annotated[str, AfterValidator(_label_key)]
LabelValue = Annotated[str, AfterValidator(_label_value)]


class NamespaceExpression(Model):
    """A condition on a label of a namespace, as in Kubernetes' own selectors."""

    key: LabelKey
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: Items[LabelValue] = Field((), validate_default=True)

    @field_validator("values")
    @classmethod
    def _fit(cls, values: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        operator = info.data.get("operator")
        if operator in ("In", "NotIn") and not values:
            raise invalid(f"must not be empty with operator `{operator}`")
        if operator in ("Exists", "DoesNotExist") and values:
            raise invalid(f"must be empty with operator `{operator}`", "leave it out, or use In or NotIn")
        return values

    @property
    def text(self) -> str:
        """As a part of a label selector in a request."""
        match self.operator:
            case "Exists":
                return self.key
            case "DoesNotExist":
                return f"!{self.key}"
            case _:
                return f"{self.key} {self.operator.lower()} ({','.join(self.values)})"


class NamespaceSelector(Model):
    """Which namespaces an entry is watched in, by their labels; all conditions must hold."""

    match_labels: dict[Annotated[str, AfterValidator(_label_key)], Annotated[str, AfterValidator(_label_value)]] = (
        Field(default_factory=dict)
    )
    match_expressions: Items[NamespaceExpression] = ()

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not (self.match_labels or self.match_expressions):
            raise invalid("selects nothing in particular", "leave it out for all namespaces")
        return self

    @property
    def text(self) -> str:
        """As the label selector of a request."""
        labels = [f"{key}={value}" for key, value in self.match_labels.items()]
        return ",".join(labels + [expression.text for expression in self.match_expressions])


class Entry(Model):
    """One watch: a resource, where, and which of its changes."""

    hints: ClassVar[Mapping[str, str]] = {
        "kind": "write `resource`, the plural in lower case, such as `workflows`",
        "cluster": "an entry watches the cluster of the kubeconfig: --kubeconfig, --context",
    }

    namespace: str = ""
    namespaces: Items[DnsLabel] = ()
    namespace_selector: NamespaceSelector | None = None
    group: str = ""
    version: str
    resource: str
    event_types: Items[Action]
    filter: Filter = Filter()
    metadata: dict[str, str] = Field(default_factory=dict)
    initial_list: Literal["emit", "skip"] = "emit"
    inventory: Literal["versions", "objects", "none"] = "versions"
    audit_interval: Annotated[Duration, BeforeValidator(_off)] = timedelta(hours=1)

    @field_validator("namespace")
    @classmethod
    def _one_or_all(cls, value: str) -> str:
        if "," in value:
            raise invalid("takes one namespace", "for several, write `namespaces: [a, b]`")
        if value == "*":
            raise invalid("'*' is not a namespace", "leave `namespace` out for all namespaces")
        return dns_label(value) if value else value

    @field_validator("namespaces")
    @classmethod
    def _several(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if info.data.get("namespace"):
            raise invalid("cannot be given together with `namespace`", "name them all in `namespaces`")
        if not value:
            raise invalid("must not be empty", "leave it out for all namespaces")
        if len(set(value)) < len(value):
            raise invalid("names a namespace twice")
        return value

    @field_validator("namespace_selector")
    @classmethod
    def _alone(cls, value: NamespaceSelector | None, info: ValidationInfo) -> NamespaceSelector | None:
        if value and (info.data.get("namespace") or info.data.get("namespaces")):
            raise invalid("cannot be given together with `namespace` or `namespaces`", "give one of them")
        return value

    @field_validator("group")
    @classmethod
    def _group(cls, value: str) -> str:
        if "/" in value:
            raise invalid(f"{value!r} is not an API group", "the version goes into `version`")
        return dns_subdomain(value) if value else value

    @field_validator("version")
    @classmethod
    def _version(cls, value: str) -> str:
        if "/" in value:
            raise invalid(f"{value!r} is not a version", "the group goes into `group`")
        return dns_label(value)

    @field_validator("resource")
    @classmethod
    def _plural(cls, value: str) -> str:
        if value != value.lower():
            raise invalid(f"{value!r} is not a resource", "write the plural in lower case, such as `workflows`")
        if "/" in value:
            raise invalid(f"{value!r} is a subresource, which cannot be watched")
        return dns_label(value)

    @field_validator("event_types")
    @classmethod
    def _some(cls, value: tuple[Action, ...]) -> tuple[Action, ...]:
        if not value:
            raise invalid("is empty: nothing would ever be sent", "name some of ADD, UPDATE and DELETE")
        return tuple(dict.fromkeys(value))

    @field_validator("audit_interval")
    @classmethod
    def _not_all_the_time(cls, value: timedelta) -> timedelta:
        if value < timedelta(seconds=1) and value != timedelta():
            raise invalid("must be at least 1s", "or 0 for no audits")
        return value


OTHER_TYPES = (
    "amqp", "azureEventsHub", "azureQueueStorage", "azureServiceBus", "bitbucket", "bitbucketserver",
    "calendar", "emitter", "file", "generic", "gerrit", "github", "gitlab", "hdfs", "kafka", "minio", "mns",
    "mqtt", "nats", "nsq", "pubSub", "pulsar", "redis", "redisStream", "sftp", "slack", "sns", "sqs",
    "storageGrid", "stripe", "webhook",
)  # fmt: skip


class EventSourceSpec(Model):
    """The entries by event name."""

    ignored: ClassVar[frozenset[str]] = frozenset({"template", "replicas", "service"})
    unsupported: ClassVar[Mapping[str, str]] = {
        name: f"EventSource type `{name}` is not supported" for name in OTHER_TYPES
    }
    hints: ClassVar[Mapping[str, str]] = {
        "type": "the type of an EventSource is the name of the field that holds its entries, as in `resource: {…}`"
    }

    resource: dict[Printable, Entry] = Field(default_factory=dict)
    event_bus_name: BusName = DEFAULT_BUS

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.resource:
            raise invalid("has no entries", "add some under `resource`")
        return self


class EventSource(Manifest):
    """Watches resources and publishes what happens to them."""

    kind: Literal["EventSource"]
    spec: EventSourceSpec
