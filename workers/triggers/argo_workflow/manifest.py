"""The ``argoWorkflow`` trigger as a manifest writes it."""

from __future__ import annotations

from typing import Literal

from kubecdc.manifest.fields import Items
from kubecdc.workers.objects.manifest import ObjectConfig

Operation = Literal["submit", "submit-from", "suspend", "resume", "stop", "terminate", "resubmit", "retry"]


class ArgoWorkflow(ObjectConfig):
    """Submits a Workflow, or acts on one. ``args`` are those of Argo's command line."""

    operation: Operation = "submit"
    args: Items[str] = ()
