"""The ``argoWorkflow`` trigger as a manifest writes it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from kubecdc.manifest.fields import Items, WritePath
from kubecdc.manifest.model import Model
from kubecdc.workers.objects.sources.manifest import Source
from kubecdc.workers.sensor.parameter_manifest import PayloadParameter

Operation = Literal["submit", "submit-from", "suspend", "resume", "stop", "terminate", "resubmit", "retry"]
DEFAULT_TIMEOUT = 60


class SourceParameter(PayloadParameter):
    """A value and where it goes in the object of the source: an sjson path."""

    dest: WritePath


class ArgoWorkflow(Model):
    """Submits a Workflow, or acts on one. ``args`` are those of Argo's command line. ``timeout`` is in seconds."""

    source: Source
    operation: Operation = "submit"
    args: Items[str] = ()
    parameters: Items[SourceParameter] = ()
    timeout: int = Field(DEFAULT_TIMEOUT, ge=0, le=3600)
    group: str = ""
    version: str = ""
    resource: str = ""

    @field_validator("timeout")
    @classmethod
    def _default(cls, value: int) -> int:
        return value or DEFAULT_TIMEOUT
