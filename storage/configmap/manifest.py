"""The ConfigMap as an EventBus manifest writes it."""

from __future__ import annotations

from kubecdc.manifest.fields import DnsLabel, DnsSubdomain
from kubecdc.manifest.model import Model


class ConfigMapCheckpoint(Model):
    """``name`` is ``kubecdc-checkpoint``, with ``-<bus>`` behind it for a bus that is not called ``default``;
    ``namespace`` is the pod's own, or ``default``."""

    name: DnsSubdomain | None = None
    namespace: DnsLabel | None = None
