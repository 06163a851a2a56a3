"""The ``function`` trigger type."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set

from kubecdc.manifest.finding import Finding
from kubecdc.workers.sensor.policy import Policy
from kubecdc.workers.triggers.contract import Context, Trigger, TriggerType
from kubecdc.workers.triggers.function.handler import BadHandler, find, misfits
from kubecdc.workers.triggers.function.manifest import Function
from kubecdc.workers.triggers.function.request import FunctionRequest

_WRITTEN = re.compile(r"args\.([^\W\d]\w*)(?:\..*)?")


class FunctionType(TriggerType[Function]):
    """Calls a Python function for each event."""

    model = Function
    example = "{handler: 'my_package.handlers:on_failed'}"
    fixed = {"handler": "make a trigger of each handler"}  # noqa: RUF012 - declared as a ClassVar by the base

    def missing(self, config: Function, written: Set[str]) -> Iterator[Finding]:
        """A handler that cannot be imported, or not be called with the arguments of the manifest."""
        try:
            found = find(config.handler)
        except BadHandler as e:
            yield Finding(("handler",), str(e), e.hint)
            return
        matches = [_WRITTEN.fullmatch(dest) for dest in sorted(written)]
        yield from misfits(config.handler, found.call, {*config.args, *(match[1] for match in matches if match)})

    def build(self, config: Function, policy: Policy, context: Context) -> Trigger[FunctionRequest]:
        """The trigger. Raises BadHandler."""
        from kubecdc.workers.triggers.function.trigger import FunctionTrigger

        return FunctionTrigger(find(config.handler))
