"""What an event asks the ``function`` trigger to call."""

from __future__ import annotations

from dataclasses import dataclass

from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.triggers.function.manifest import Function


@dataclass(frozen=True)
class FunctionRequest:
    """A call. ``config`` has the ``parameters`` of the type applied."""

    request: TriggerRequest[Function]
    config: Function
