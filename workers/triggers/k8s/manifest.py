"""The ``k8s`` trigger as a manifest writes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from kubecdc.manifest.fields import Items, WritePath, invalid
from kubecdc.manifest.model import Model
from kubecdc.workers.sensor.parameter_manifest import PayloadParameter, not_yet

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH: Literal["application/merge-patch+json"] = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
PatchStrategy = Literal[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
]
DEFAULT_TIMEOUT = 60


class ObjectParameter(PayloadParameter):
    """A value and where it goes in the object: an sjson path."""

    dest: WritePath


class Source(Model):
    """Where the object comes from: exactly one place."""

    unsupported: ClassVar[Mapping[str, str]] = not_yet("file", "url", "configmap", "s3", "git")
    renamed: ClassVar[Mapping[str, str]] = {"configMap": "configmap"}

    resource: dict[str, Any] | None = None
    inline: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            has = f"has {len(given)} sources: {', '.join(given)}" if given else "has no source"
            raise invalid(has, "write exactly one, such as `resource: {apiVersion: …, kind: …}`")
        return self


class K8s(Model):
    """Creates, changes or deletes an object. ``timeout`` is in seconds."""

    source: Source
    operation: Literal["create", "update", "patch", "delete"] = "create"
    patch_strategy: PatchStrategy = MERGE_PATCH
    live_object: bool = False
    field_manager: str = Field("", max_length=128)
    force: bool = False
    owner_reference: bool = False
    parameters: Items[ObjectParameter] = ()
    timeout: int = Field(DEFAULT_TIMEOUT, ge=0, le=3600)
    group: str = ""
    version: str = ""
    resource: str = ""

    @field_validator("timeout")
    @classmethod
    def _default(cls, value: int) -> int:
        return value or DEFAULT_TIMEOUT

    @field_validator("field_manager")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not value.isprintable():
            raise invalid("has characters that cannot be printed")
        return value
