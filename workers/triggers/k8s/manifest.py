"""The ``k8s`` trigger as a manifest writes it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from kubecdc.manifest.fields import invalid
from kubecdc.workers.objects.manifest import ObjectConfig

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


class K8s(ObjectConfig):
    """Creates, changes or deletes an object."""

    operation: Literal["create", "update", "patch", "delete"] = "create"
    patch_strategy: PatchStrategy = MERGE_PATCH
    live_object: bool = False
    field_manager: str = Field("", max_length=128)
    force: bool = False
    owner_reference: bool = False

    @field_validator("field_manager")
    @classmethod
    def _printable(cls, value: str) -> str:
        if not value.isprintable():
            raise invalid("has characters that cannot be printed")
        return value
