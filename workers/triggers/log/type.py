"""The ``log`` trigger type."""

from __future__ import annotations

from kubecdc.workers.request import TriggerRequest
from kubecdc.workers.sensor.policy import Policy
from kubecdc.workers.triggers.contract import Context, Trigger, TriggerType
from kubecdc.workers.triggers.log.manifest import Log
from kubecdc.workers.triggers.log.trigger import LogTrigger


class LogType(TriggerType[Log]):
    """Writes a line to standard output for each event."""

    model = Log
    example = "{}"
    null_is_empty = True

    def build(self, config: Log, policy: Policy, context: Context) -> Trigger[TriggerRequest[Log]]:
        """The trigger."""
        return LogTrigger(fields=context.logging_fields, render=context.render)
