"""What the deliveries from brokers count."""

from __future__ import annotations

from kubecdc.metrics import WORKERS, Counter

STALE = Counter(
    "kubecdc_stale_deliveries",
    "Deliveries acked without a run, because a newer event of the object was settled before",
    ["subscription"],
    by=WORKERS,
)
