"""What the workers on a Redis bus export."""

from __future__ import annotations

from kubecdc.metrics import WORKERS, Gauge

PARTITIONS = Gauge(
    "kubecdc_partitions_held",
    "Partitions of the subscription that this worker has leased",
    ["subscription"],
    by=WORKERS,
)
