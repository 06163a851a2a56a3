"""The ConfigMap as an EventBus manifest writes it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from kubecdc.manifest.fields import DnsLabel, DnsSubdomain, invalid
from kubecdc.manifest.model import Model

STATE = "-state"  # what the name of the ConfigMap of the state has behind that of the checkpoints
LONGEST = 253 - len(STATE)


def _leaves_room(name: str) -> str:
    if len(name) > LONGEST:
        raise invalid(f"is longer than {LONGEST} characters", f"the state is in a ConfigMap with `{STATE}` behind it")
    return name


class ConfigMapCheckpoint(Model):
    """``name`` is ``kubecdc-checkpoint``, with ``-<bus>`` behind it for a bus that is not called ``default``;
    ``namespace`` is the pod's own, or ``default``. The state is in a second one, with ``-state`` behind its name."""

    name: Annotated[DnsSubdomain, AfterValidator(_leaves_room)] | None = None
    namespace: DnsLabel | None = None
