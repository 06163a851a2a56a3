"""The ``k8s`` trigger as a manifest writes it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from kubecdc.manifest.fields import Items, WritePath, invalid
from kubecdc.manifest.model import Model
from kubecdc.workers.objects.sources.manifest import Source
from kubecdc.workers.sensor.parameter_manifest import PayloadParameter

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
