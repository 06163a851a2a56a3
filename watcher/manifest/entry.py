"""One entry of an EventSource: a resource, where it is watched, and which of its changes become events."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from kubecdc.manifest.fields import DnsLabel, Duration, Items, dns_label, dns_subdomain, invalid
from kubecdc.manifest.model import Model
from kubecdc.storage.contracts.event import Action
from kubecdc.watcher.manifest.projection import Projection
from kubecdc.watcher.manifest.selectors import FieldSelector, LabelSelector, NamespaceSelector

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def _time(value: object) -> object:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise invalid(f"{value!r} is not an RFC 3339 time", "write it like 2026-01-31T12:00:00Z")
    try:
        return datetime.fromisoformat(value)
    except ValueError as e:
        raise invalid(f"{value!r} is not a time: {e}") from e


def _off(value: object) -> object:
    return timedelta() if value == 0 and not isinstance(value, bool) else value


class Filter(Model):
    """What a change must pass, all of it, to become an event."""

    hints: ClassVar[Mapping[str, str]] = {"expression": "Argo has it for other sources only: use `fields`"}

    prefix: str = ""
    labels: Items[LabelSelector] = ()
    fields: Items[FieldSelector] = ()
    created_by: Annotated[datetime, BeforeValidator(_time)] | None = None
    after_start: bool = False


class Entry(Model):
    """One watch: a resource, where it is watched, and which of its changes become events."""

    hints: ClassVar[Mapping[str, str]] = {
        "kind": "write `resource`, the plural in lower case, such as `workflows`",
        "fieldSelector": "write `filter: {fields: [{key: status.phase, value: Running}]}`",
        "labelSelector": "write `filter: {labels: [{key: app, value: web}]}`",
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
    project: Projection | None = None
    audit_interval: Annotated[Duration, BeforeValidator(_off)] = timedelta(hours=1)

    @property
    def sends_secrets(self) -> bool:
        """Whether the values of Secrets go into the queue."""
        if self.group or self.resource != "secrets":
            return False
        return self.project is None or not self.project.hides_all("data")

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

    @model_validator(mode="after")
    def _filters_see_what_is_kept(self) -> Self:
        """The last bodies in the inventory are projected, and filtered once more when the object changes."""
        if self.project and self.inventory == "objects":
            for field in self.filter.fields:
                if self.project.hides(field.key):
                    raise invalid(
                        f"`project` removes {field.key}, which `filter.fields` needs with `inventory: objects`",
                        "keep it, or use `inventory: versions`",
                    )
        return self
