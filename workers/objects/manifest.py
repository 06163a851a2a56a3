"""What a manifest says to every trigger that works on objects in the cluster."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, field_validator

from kubecdc.manifest.fields import Items, WritePath
from kubecdc.manifest.model import Model
from kubecdc.workers.objects.sources.manifest import Source
from kubecdc.workers.sensor.parameter_manifest import PayloadParameter

DEFAULT_TIMEOUT = 60
_OLD = ("group", "version", "resource")


class ObjectParameter(PayloadParameter):
    """A value and where it goes in the object of the source: an sjson path."""

    dest: WritePath


class ObjectConfig(Model):
    """The object of the source, with what the ``parameters`` write into it. ``timeout`` is in seconds."""

    source: Source
    parameters: Items[ObjectParameter] = ()
    timeout: int = Field(DEFAULT_TIMEOUT, ge=0, le=3600)
    group: str = ""
    version: str = ""
    resource: str = ""

    @field_validator("timeout")
    @classmethod
    def _default(cls, value: int) -> int:
        return value or DEFAULT_TIMEOUT

    def old_fields(self) -> Iterator[str]:
        """The notice for fields of older manifests, if there are some."""
        if given := [name for name in _OLD if getattr(self, name)]:
            yield f"{', '.join(given)}: accepted, without effect: `apiVersion` and `kind` of the object count"
