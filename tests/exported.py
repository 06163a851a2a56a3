"""What is exported now, read by the library of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from kubecdc.metrics import defined


class _Defined(Collector):
    def collect(self) -> Iterator[Family]:
        for metric in list(defined.values()):
            family = Family(metric.name, metric.help, metric.kind)
            for values, numbers in metric.series():
                labels = dict(zip(metric.labels, values, strict=True))
                for (suffix, le), number in zip(metric.parts, numbers, strict=True):
                    family.add_sample(metric.name + suffix, {**labels, "le": le} if le else labels, number)
            if family.samples:
                yield family


REGISTRY = CollectorRegistry()
REGISTRY.register(_Defined())
