"""What a manifest says to every trigger that works on objects in the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, field_validator

from kubecdc.manifest.fields import Items, WritePath
from kubecdc.manifest.model import Model
from kubecdc.workers.objects.sources.manifest import Source
from kubecdc.workers.sensor.parameter_manifest import PayloadParameter

DEFAULT_TIMEOUT = 60
_KIND = "`apiVersion` and `kind` of the object count"
_METADATA = "`metadata` of the object counts"


class ObjectParameter(PayloadParameter):
    """A value and where it goes in the object of the source: an sjson path."""

    dest: WritePath


class ObjectConfig(Model):
    """The object of the source, with what the ``parameters`` write into it. ``timeout`` is in seconds."""

    without_effect: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("group", "version", "resource", "apiVersion", "kind"), _KIND),
        **dict.fromkeys(("metadata", "namespace", "labels", "generateName"), _METADATA),
    }

    source: Source
    parameters: Items[ObjectParameter] = ()
    timeout: int = Field(DEFAULT_TIMEOUT, ge=0, le=3600)

    @field_validator("timeout")
    @classmethod
    def _default(cls, value: int) -> int:
        return value or DEFAULT_TIMEOUT
